"""Whether a method and a profile go together with a served model, told before anything slow begins."""

from schemas.errors import BadInput
from schemas.profile import Profile, Servers
from tasks.methods import METHODS, Method


def require_generator(place: Profile, method: Method, served_model: str) -> None:
    """Refuse a generator that cannot be.

    Raises:
        BadInput: The profile's servers need the name of a model, or the method cannot use one.
    """
    fitting = ", ".join(sorted(kind for kind, known in METHODS.items() if not getattr(known, "tunes_generator", False)))
    if served_model and method.tunes_generator:
        raise BadInput(
            f"generating by {method.kind} with the served model {served_model!r}: {method.kind} tunes a generator of "
            f"its own from start; methods that a served model can write for are {fitting}. Set method.kind to one of "
            "them, or leave served_model empty."
        )
    if isinstance(place.serving, Servers) and not served_model:
        raise BadInput(
            f"generating on profile {place.name!r}: its servers are running already and served_model is empty; the "
            f"name of a model that they have is needed, and a method that it can write for: {fitting}. Set "
            "served_model and method.kind, or use a profile whose serving.kind is embedded or vllm."
        )
