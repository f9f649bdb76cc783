"""What was pruned: the rows that tell what is gone on purpose, so that what needs it says so."""

from typing import Literal

from gainloop.store.duck import Store
from schemas.errors import BadInput

Kind = Literal["replies", "weights", "batches"]


def pruned_on(store: Store, kind: Kind, name: str) -> str:
    """Return the day on which replies or weights were pruned last, or a whole batch; empty if they never were.

    Args:
        name: Id of the batch or of the checkpoint.
    """
    rows = store.query(
        "select strftime(pruned_at, '%Y-%m-%d') as day from pruned where kind = ? and name = ? order by rowid desc",
        *(kind, name),
    )
    return "" if rows.is_empty() else str(rows["day"][0])


def require_replies(store: Store, batch_id: str, are_there: bool, needed_by: str) -> None:
    """Refuse what needs a batch's replies after they were pruned.

    Args:
        are_there: Whether any of them is on disk.
        needed_by: What needs them, as the message says it.

    Raises:
        BadInput: They were pruned, and not generated again.
    """
    if not are_there and (day := pruned_on(store, "replies", batch_id)):
        raise BadInput(
            f"reading the replies of batch {batch_id}: they were pruned on {day}; {needed_by} needs them. If no "
            "model was trained on the batch, run the flow generate with the same recipe and --ask-again; otherwise go "
            "on with what was measured, or generate with another seed."
        )


def require_weights(store: Store, checkpoint_id: str, are_there: bool) -> None:
    """Refuse what needs a checkpoint's weights after they were pruned.

    Raises:
        BadInput: They were pruned, and not made again.
    """
    if not are_there and (day := pruned_on(store, "weights", checkpoint_id)):
        raise BadInput(
            f"opening checkpoint {checkpoint_id}: its weights were pruned on {day}; weights that are there are needed. "
            "Name another checkpoint, or train by another plan, such as one with another seed; a start is made anew by "
            "the run that needs it."
        )
