"""Make room: say what replies, weights and batches may be removed, and remove them if that is asked for."""

from typing import Annotated

from prefect import flow
from pydantic import Field

from gainloop.store.pruned import Kind
from schemas.decision import State
from schemas.profile import load_profile
from tasks.progress import ended
from tasks.prune import make_room


@flow(name="prune", flow_run_name="prune")
def prune(
    what: Annotated[tuple[Kind, ...], Field(min_length=1)] = ("replies",),
    older_than: Annotated[str, Field(pattern=r"^(\d+[hdw])?$")] = "",
    decision: tuple[State, ...] = (),
    yes: bool = False,
    profile: str = "embedded",
) -> str:
    """Return in words what was freed, or would be; of what both an age and a decision name, both must hold.

    Never removed: what a report that is kept needs, what a model that stays continues, the newest accepted model of a
    corpus, and what a run works on.

    Args:
        what: What is removed: the replies of batches, the weights of checkpoints, whole batches.
        older_than: Age from which on it is removed, in hours, days or weeks: 12h, 30d, 8w. Default: any, where a
            decision is given.
        decision: What the gate must have said last of it: held, released, undecided, rejected, accepted. Default: any,
            where an age is given.
        yes: True to remove it. Default: only say what would be freed.
        profile: Profile that says where to run: a name in profiles/, or a YAML file.
    """
    said = make_room(load_profile(profile), what, older_than, decision, yes)
    return ended(said, said)
