"""Datasets on the hub: kept records and their card in one commit; private, unless it is said that all may read them."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx2
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # in __all__, loaded when asked for

from gainloop.reports.dataset import TITLE, Format, export_batches
from gainloop.store import Store
from schemas.errors import BadInput, ServerError
from schemas.masking import keep_secret

TOKEN_VARIABLE: Final = "HF_TOKEN"  # noqa: S105 - its name, not what it holds
"""Environment variable that holds the token; one that a login left on this machine is not used."""

PASSING: Final = (408, 425, 429)
"""Statuses below 500 after which the same may work later."""


def publish_batches(
    store: Store,
    batch_ids: Sequence[str],
    repo: str,
    form: Format = "jsonl",
    mixes_licences: bool = False,
    is_public: bool = False,
) -> str:
    """Write the kept records of batches into a dataset of the hub, with a card, and return its url.

    The repository is made if it is not there. Records and card come in one commit, or not at all.

    Args:
        repo: Repository: an account's or an organisation's name, a slash, a name.
        is_public: True if everybody may read it; a new repository is private otherwise.

    Raises:
        BadInput: As for ``export_batches``; or there is no token, the hub refuses it, or the repository is public, or
            has a card that no export wrote.
        ServerError: The hub cannot be reached, or cannot take it now.
    """
    attempt = f"exporting batches {', '.join(batch_ids)} to the hub's dataset {repo!r}"
    api = HfApi(token=_read_token(attempt, repo))
    with tempfile.TemporaryDirectory() as folder:
        export_batches(store, batch_ids, folder, form, mixes_licences)
        with _hub_errors(attempt):
            url = str(api.create_repo(repo, repo_type="dataset", private=not is_public, exist_ok=True))
            _commit(api, attempt, repo, Path(folder), is_public)
    return url


def _commit(api: HfApi, attempt: str, repo: str, folder: Path, is_public: bool) -> None:
    """Add the files of a folder to a repository, and take away an earlier export's of the other form.

    Raises:
        BadInput: The repository is somebody's own, or public where that was not said.
    """
    found = api.dataset_info(repo)
    if not found.private and not is_public:
        raise BadInput(
            f"{attempt}: everybody may read that repository; a private one, or one that is said to be public, is "
            "allowed. Make it private on the hub, or set --public true."
        )
    names = {one.rfilename for one in found.siblings or []}
    if "README.md" in names and TITLE not in _read_card(api, repo):
        raise BadInput(
            f"{attempt}: it has a README.md that no export wrote; a new repository, or one of an earlier export, is "
            "allowed. Set --repo to another."
        )
    added = [CommitOperationAdd(path.name, path) for path in sorted(folder.iterdir())]
    gone = {name for name in names if name.startswith("records.")} - {one.path_in_repo for one in added}
    removed = [CommitOperationDelete(name) for name in sorted(gone)]
    message = "Kept records, exported by gainloop"
    api.create_commit(repo, [*added, *removed], commit_message=message, repo_type="dataset", parent_commit=found.sha)


def _read_card(api: HfApi, repo: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = api.hf_hub_download(repo, "README.md", repo_type="dataset", local_dir=folder)
        return Path(path).read_text(errors="replace")


def _read_token(attempt: str, repo: str) -> str:
    """Return the token, once it is sure that a repository can have such a name.

    Raises:
        BadInput: There is none, or the name is none.
    """
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise BadInput(
            f"{attempt}: {error} An account's name, a slash and a name are allowed. Correct --repo."
        ) from None
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    if "/" not in repo or not token:
        missing = f"{TOKEN_VARIABLE} is not set" if not token else "it names no account"
        raise BadInput(
            f"{attempt}: {missing}; a token that may write and a repository as account/name are needed. Make one in "
            f"the hub's settings, and set {TOKEN_VARIABLE} to it."
        )
    keep_secret(token)
    return token


@contextmanager
def _hub_errors(attempt: str) -> Iterator[None]:
    """Turn the hub's errors into those that say what to do."""
    try:
        yield
    except OfflineModeIsEnabled:
        raise ServerError(
            f"{attempt}: HF_HUB_OFFLINE is set; the hub must be within reach. Unset it, or export into a folder."
        ) from None
    except HfHubHTTPError as error:
        raise _refused(attempt, error) from None
    except httpx2.HTTPError as error:
        raise ServerError(
            f"{attempt}: {type(error).__name__} ({error}); the hub must be within reach: HF_ENDPOINT, or else "
            "huggingface.co. Run the same again when it is, or export into a folder."
        ) from None


def _refused(attempt: str, error: HfHubHTTPError) -> BadInput | ServerError:
    """Return what an answer of the hub means."""
    status = error.response.status_code
    said = " ".join((error.server_message or "").split())[:200]
    found = f"the hub answers {status}{f' ({said})' if said else ''}"
    if status >= 500 or status in PASSING:
        return ServerError(
            f"{attempt}: {found}; it must take the files. Run the same again later: nothing of them is there yet."
        )
    if status in (401, 403, 404):
        return BadInput(
            f"{attempt}: {found}; the token in {TOKEN_VARIABLE} must be valid and may write there. Make one with the "
            "right to write for that account, or set --repo to one of your own."
        )
    return BadInput(f"{attempt}: {found}; a commit that the hub takes is needed. Do what it says, then run it again.")
