"""The store: DuckDB for what is small or queried, Parquet files beside it for what is large."""

from pathlib import Path

from gainloop.store.duck import Store
from schemas.errors import BadInput
from schemas.profile import Profile, load_profile

__all__ = ["Store", "open_store"]


def open_store(profile: Profile | str) -> Store:
    """Return the store of a profile, or that of a DuckDB file whose replies and checkpoints lie beside it.

    Args:
        profile: A profile, the name of one in profiles/, a profile's YAML file, or a store's .duckdb file.

    Raises:
        BadInput: There is no such profile or file, or the profile's store.url is not a path.
    """
    if isinstance(profile, str) and profile.endswith(".duckdb"):
        return _open_file(Path(profile))
    if isinstance(profile, str):
        profile = load_profile(profile)
    url = profile.store.url
    if ":" in url and not url.startswith("/"):
        scheme = url.split(":", 1)[0]
        raise BadInput(
            f"opening the store {url!r} of profile {profile.name!r}: the scheme {scheme!r} is not spoken; "
            "a path of a DuckDB file is. Set store.url to a path."
        )
    return Store(url, profile.folder, profile.store.lock_seconds)


def _open_file(path: Path) -> Store:
    if not path.is_file():
        raise BadInput(
            f"opening the store {path}: there is no such file; a store that a run has made is needed. "
            "Correct the path, or name the profile of the run."
        )
    return Store(str(path), str(path.parent))
