"""Whether a method and a profile go together with a served model, told before anything slow begins."""

from collections.abc import Sequence

from schemas.errors import BadInput
from schemas.profile import Profile, Servers
from tasks.filters import FILTERS, Filter
from tasks.methods import METHODS, Method
from tasks.methods.critic import Critic


def require_generator(
    place: Profile,
    method: Method,
    served_model: str,
    critic: Critic | None = None,
    filters: Sequence[Filter] = (),
) -> None:
    """Refuse a generator that cannot be.

    Raises:
        BadInput: The profile's servers need the name of a model, the method cannot use one, its own generator, which
            only continues documents, would have to judge, or a critic would write the anchors anew.
    """
    fitting = ", ".join(sorted(kind for kind, known in METHODS.items() if not getattr(known, "tunes_generator", False)))
    if served_model and method.tunes_generator:
        raise BadInput(
            f"generating by {method.kind} with the served model {served_model!r}: {method.kind} tunes a generator of "
            f"its own from start; methods that a served model can write for are {fitting}. Set method.kind to one of "
            "them, or leave served_model empty."
        )
    asking = [*(["critic"] if critic else []), *(one.kind for one in filters if one.max_requests)]
    if method.tunes_generator and asking:
        silent = ", ".join(sorted(kind for kind, known in FILTERS.items() if not getattr(known(), "max_requests", 0)))
        raise BadInput(
            f"generating by {method.kind} with {', '.join(asking)}: the generator that {method.kind} tunes continues "
            f"documents and follows no instruction, so it is no judge; filters that ask nothing are {silent}, methods "
            f"with a generator that can judge {fitting}. Leave {' and '.join(asking)} out, or set method.kind to one."
        )
    if method.holds_anchor and critic:
        raise BadInput(
            f"generating by {method.kind} with critic: the records of {method.kind} hold the anchor as it is, and a "
            "critic would write it anew; filters, which only keep or drop, are allowed. Leave critic out, or set "
            "method.kind to another method."
        )
    if isinstance(place.serving, Servers) and not served_model:
        raise BadInput(
            f"generating on profile {place.name!r}: its servers are running already and served_model is empty; the "
            f"name of a model that they have is needed, and a method that it can write for: {fitting}. Set "
            "served_model and method.kind, or use a profile whose serving.kind is embedded or vllm."
        )
