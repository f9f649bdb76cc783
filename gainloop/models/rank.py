"""One process of a training: ``python -m torch.distributed.run ... -m gainloop.models.rank FOLDER``; see ``ranks``."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from gainloop.solutions.namespaces import die_with_parent


def main(place: Path) -> None:
    """Do this process's share of the training that is written down in a folder.

    It is ended with the process that started it: torchrun puts each into a group of its own, which outlives it.
    """
    die_with_parent()
    from gainloop.models.ranks import tell_failure
    from gainloop.store.files import disk_errors
    from schemas.errors import is_failure

    process = int(os.environ["RANK"])
    try:
        with disk_errors(f"training in {place.parent}"):
            _train(place, process)
    except BaseException as error:
        if is_failure(error):
            tell_failure(place, process, error)
        raise


def _train(place: Path, process: int) -> None:
    import numpy as np
    import torch
    from transformers.utils import logging

    from gainloop.models.loading import load_model, load_tokenizer
    from gainloop.models.online import Online
    from gainloop.models.ranks import METRICS, ONLINE, START, STEPS, read_job
    from gainloop.models.trainer import train_here

    logging.disable_progress_bar()
    job, about = read_job(place)
    if job.training.device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    model, tokenizer = load_model(str(place / START)), load_tokenizer(str(place / START))
    for name, weights in model.named_parameters():
        weights.requires_grad_(name in about["trained"])
    online = None if about["wanted"] is None else Online(about["wanted"])
    if online:
        online.open(job.folder, is_new=job.state is None)
    with (place / STEPS).open("a", buffering=1) as steps:
        told = train_here(model, tokenizer, job, _writer(steps) if process == 0 else _silent, online, process)
    if process == 0:
        if online:
            np.save(place / ONLINE, online.nats)
        (place / METRICS).write_text(json.dumps(told))
    torch.distributed.destroy_process_group()


def _writer(steps: Any) -> Any:
    return lambda step, of: steps.write(f"{step} {of}\n")


def _silent(_step: int, _steps: int) -> None:
    """Leave it to the first process to tell of a step."""


if __name__ == "__main__":
    main(Path(sys.argv[1]))
