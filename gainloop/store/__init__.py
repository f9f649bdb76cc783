"""The store: rows in DuckDB for what is small or queried, Parquet files beside them for what is large."""

from pathlib import Path

from gainloop.store.duck import Store
from gainloop.store.place import Place
from schemas.errors import BadInput
from schemas.profile import DUCKLAKE, QUACK, Profile, load_profile

__all__ = ["Store", "open_store"]


def open_store(profile: Profile | str) -> Store:
    """Return the store of a profile, or that of a DuckDB file whose replies and checkpoints lie beside it.

    Args:
        profile: A profile, the name of one in profiles/, a profile's YAML file, or a store's .duckdb file.

    Raises:
        BadInput: There is no such profile or file, or the profile's store.url is no place that is known.
    """
    if isinstance(profile, str) and profile.endswith(".duckdb"):
        return _open_file(Path(profile))
    name = profile if isinstance(profile, str) else profile.name
    if isinstance(profile, str):
        profile = load_profile(profile)
    url, seconds = profile.store.url, profile.store.lock_seconds
    place = _open_place(profile)
    return Store(url, profile.folder, seconds, place, name) if place else Store(url, profile.folder, seconds)


def _open_place(profile: Profile) -> Place | None:
    """Return the place of a profile's store; None if that is a file."""
    at = profile.store
    if at.url.startswith(QUACK):
        from gainloop.store.quack import Quack

        return Quack(at.url, at.token_variable, at.lock_seconds)
    if at.url.startswith(DUCKLAKE):
        from gainloop.store.ducklake import Lake

        if not at.data_path:
            raise BadInput(
                f"opening the store {at.url} of profile {profile.name!r}: store.data_path is not set; a DuckLake needs "
                "a folder for its Parquet files that every worker has. Set store.data_path in the profile."
            )
        if Path(profile.folder).resolve().is_relative_to(Path(at.data_path).resolve()):
            raise BadInput(
                f"opening the store {at.url} of profile {profile.name!r}: store.data_path {at.data_path} holds the "
                f"folder {profile.folder}, whose Parquet files upkeep would take for leavings of the store; a folder "
                f"of its own is needed. Set store.data_path to one, such as {profile.folder}/lake."
            )
        return Lake(at.url, at.data_path, at.password_variable, at.lock_seconds)
    if ":" in at.url and not at.url.startswith("/"):
        scheme = at.url.split(":", 1)[0]
        raise BadInput(
            f"opening the store {at.url!r} of profile {profile.name!r}: the scheme {scheme!r} is not spoken; "
            f"a path of a DuckDB file, {QUACK}host:port and {DUCKLAKE}dbname=... are. Set store.url to one of them."
        )
    return None


def _open_file(path: Path) -> Store:
    if not path.is_file():
        raise BadInput(
            f"opening the store {path}: there is no such file; a store that a run has made is needed. "
            "Correct the path, or name the profile of the run."
        )
    return Store(str(path), str(path.parent))
