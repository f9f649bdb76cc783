"""What the processes of one training tell each other; a process that trains alone asks nobody."""

import numpy as np
import torch
import torch.distributed as dist

from gainloop.measures.estimate import Floats


def are_several() -> bool:
    """Tell whether this process trains together with others."""
    return dist.is_available() and dist.is_initialized()


def first_says(wanted: bool) -> bool:
    """Return what the first process wants: their clocks differ, and what one does all must do."""
    if not are_several():
        return wanted
    said = torch.tensor(int(wanted), device=_device())
    dist.broadcast(said, src=0)
    return bool(said)


def unite(values: Floats) -> Floats:
    """Return the values that any of the processes has; NaN stands where a process has none, and where none has."""
    if not are_several():
        return values
    held = torch.from_numpy(np.nan_to_num(values, nan=-np.inf)).to(_device())
    dist.all_reduce(held, op=dist.ReduceOp.MAX)
    united: Floats = held.cpu().numpy()
    united[np.isneginf(united)] = np.nan
    return united


def wait_for_all() -> None:
    """Return when every process is here."""
    if are_several():
        dist.barrier()


def _device() -> str:
    return "cuda" if dist.get_backend() == "nccl" else "cpu"
