"""The store: DuckDB for what is small or queried, Parquet files beside it for what is large."""

from gainloop.store.duck import Store
from schemas.errors import BadInput
from schemas.profile import Profile

__all__ = ["Store", "open_store"]


def open_store(profile: Profile) -> Store:
    """Return the store of a profile.

    Raises:
        BadInput: The url's scheme is not one that the store speaks.
    """
    url = profile.store.url
    if ":" in url and not url.startswith("/"):
        scheme = url.split(":", 1)[0]
        raise BadInput(
            f"opening the store {url!r} of profile {profile.name!r}: the scheme {scheme!r} is not spoken; "
            "a path of a DuckDB file is. Set store.url to a path."
        )
    return Store(url, profile.folder, profile.store.lock_seconds)
