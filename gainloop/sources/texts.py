"""Bytes as text: compression, limits, encodings. Nothing here believes what a file says of itself.

A whole text, a line and a cell may have ``MAX_TEXT_BYTES``. What is compressed may grow to ``MAX_GROWTH`` times its
size, and ``FREE_BYTES`` beyond that: text grows tenfold, an archive that is made to fill a memory a thousandfold.
"""

import codecs
import io
import logging
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO

import pyarrow as pa
from charset_normalizer import from_bytes

from gainloop.sources.names import readable
from schemas.errors import BadInput

logger = logging.getLogger("gainloop.sources")

MAX_TEXT_BYTES = 128 * 2**20
MAX_GROWTH = 100
FREE_BYTES = 64 * 2**20

_SAMPLE_BYTES = 2**18
_STEP_BYTES = 2**20

# Those that text files are found in. More of them would make a guess worse: many differ in a few signs.
_ENCODINGS = (
    *("cp1252", "cp1250", "iso8859_2", "cp1251", "koi8_r", "cp1253", "cp1254", "cp1255", "cp1256", "cp874"),
    *("cp932", "euc_jp", "gb18030", "big5", "cp949"),
)
_WIDE = (
    *((mark, "utf-32") for mark in (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)),
    *((mark, "utf-16") for mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)),
)


class Growing(io.RawIOBase):
    """A file's content without its compression; refused as soon as it grows beyond what texts do."""

    def __init__(self, file: IO[bytes], compression: str | None, stored_bytes: int | None, where: str) -> None:
        super().__init__()
        packed = pa.CompressedInputStream(pa.PythonFile(file, mode="r"), compression) if compression else file
        self._file, self._where, self._num_bytes = packed, where, 0
        self._most = FREE_BYTES + MAX_GROWTH * (MAX_TEXT_BYTES if stored_bytes is None else stored_bytes)

    def buffered(self) -> io.BufferedReader:
        return io.BufferedReader(self, 2**17)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        try:
            found = self._file.read(min(len(buffer), _STEP_BYTES))
        except OSError as error:
            if error.errno is not None:
                raise
            raise _damaged(self._where, error) from error
        except (EOFError, RuntimeError, tarfile.TarError, zipfile.BadZipFile, zlib.error) as error:
            raise _damaged(self._where, error) from error
        self._num_bytes += len(found)
        if self._num_bytes > self._most:
            raise _bad(
                self._where,
                f"it grows to more than {self._num_bytes:,} bytes; {MAX_GROWTH} times its size and "
                f"{FREE_BYTES:,} bytes beyond that are allowed",
                "Unpack it, and look whether it is what it should be",
            )
        buffer[: len(found)] = found
        return len(found)


def require_size(num_bytes: int, what: str, where: str) -> None:
    """Refuse what is too long to be one text.

    Raises:
        BadInput: It has more than ``MAX_TEXT_BYTES``.
    """
    if num_bytes > MAX_TEXT_BYTES:
        raise _bad(
            where,
            f"{what} of more than {MAX_TEXT_BYTES:,} bytes; texts, lines and cells up to that are read",
            "Split it, or leave the file out",
        )


def read_bytes(file: IO[bytes], where: str) -> bytes:
    """Return a whole file, within the limit of a text."""
    content = file.read(MAX_TEXT_BYTES + 1)
    require_size(len(content), "a text", where)
    return content


def read_text(file: IO[bytes], where: str, encoding: str = "") -> str:
    """Return a whole file as text."""
    return decoded(read_bytes(file, where), where, encoding)


def decoded(content: bytes, where: str, encoding: str = "") -> str:
    """Return bytes as text: UTF-8, else what their mark says, else ``encoding``, else what they look like.

    Raises:
        BadInput: A byte fits none of them; the message says which.
    """
    if wide := _wide(content):
        return _decoded_as(content, wide, where)
    try:
        return content.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        return _decoded_as(content, encoding or _guess(content, where, error.start), where)


def read_lines(file: IO[bytes], where: str, encoding: str = "") -> Iterator[str]:
    """Yield lines with their ends. What comes before the first byte that is not UTF-8 decides nothing if it is ASCII.

    Raises:
        BadInput: A byte fits no encoding, or a line is too long; the message says which.
    """
    source = file if isinstance(file, io.BufferedReader) else io.BufferedReader(file)  # type: ignore[type-var]
    if wide := _wide(source.peek(4)):
        yield from _wide_lines(source, wide, where)
        return
    offset, used, is_ascii = 0, "", True
    for line in _byte_lines(source, where):
        try:
            text = line.decode(used or "utf-8")
        except UnicodeDecodeError as error:
            if used or not is_ascii:
                raise _no_encoding(where, offset + error.start, used or "UTF-8") from error
            used = encoding or _guess(line + source.peek(), where, error.start, offset)
            text = _decoded_as(line, used, where, offset)
        is_ascii = is_ascii and line.isascii()
        yield text if offset else text.removeprefix("\ufeff")
        offset += len(line)


def _byte_lines(file: IO[bytes], where: str) -> Iterator[bytes]:
    while line := file.readline(MAX_TEXT_BYTES + 1):
        require_size(len(line), "a line", where)
        yield line


def _wide_lines(file: IO[bytes], encoding: str, where: str) -> Iterator[str]:
    text, number = io.TextIOWrapper(file, encoding=encoding, newline="\n"), 0
    try:
        while line := text.readline(MAX_TEXT_BYTES + 1):
            require_size(len(line), "a line", where)
            number += 1
            yield line
    except UnicodeError as error:
        raise _bad(where, f"line {number + 1} is not {encoding}, as its first bytes say; {error}", _ADVICE) from error


def _wide(head: bytes) -> str:
    return next((encoding for bom, encoding in _WIDE if head.startswith(bom)), "")


def _guess(content: bytes, where: str, first: int, offset: int = 0) -> str:
    """Return the encoding that bytes look like, which are not UTF-8.

    UTF-8 with a few damaged bytes looks like some encoding too: it is refused, since all else would be spoilt. Where
    several fit equally, it is the one that Western Windows writes.
    """
    sample = _cut(content[max(0, first - _SAMPLE_BYTES // 4) :][:_SAMPLE_BYTES])
    shown = sample.decode(errors="replace")
    num_damaged, num_whole = shown.count("\ufffd"), sum(sign > "\x7f" and sign != "\ufffd" for sign in shown)
    found = [] if num_whole > num_damaged else list(from_bytes(sample, cp_isolation=list(_ENCODINGS)))
    if not found:
        raise _no_encoding(where, offset + first, "UTF-8")
    fit = [one for one in found if (one.chaos, one.coherence) == (found[0].chaos, found[0].coherence)]
    names = [name for one in fit for name in one.could_be_from_charset]
    used = "cp1252" if "cp1252" in names else found[0].encoding
    logger.warning(
        "%s is not UTF-8: it is read as %s, which it looks like. Convert it, or set encoding, if that is wrong.",
        *(readable(where), used),
    )
    return used


def _cut(sample: bytes) -> bytes:
    """Return a sample without the line that its end cuts, which may cut a character."""
    end = sample.rfind(b"\n")
    return sample[: end + 1] if len(sample) == _SAMPLE_BYTES and end > 0 else sample


def _decoded_as(content: bytes, encoding: str, where: str, offset: int = 0) -> str:
    try:
        return content.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise _no_encoding(where, offset + error.start, encoding) from error


_ADVICE = "Convert the file, for example with iconv -f latin1 -t utf-8, or leave it out"


def _no_encoding(where: str, offset: int, encoding: str) -> BadInput:
    return _bad(
        where,
        f"byte {offset} is not {encoding}, and no other encoding fits all of it; UTF-8 is read, and any other that all "
        "of a file is in",
        "Set encoding if you know it; or convert the file, for example with iconv -f latin1 -t utf-8, or leave it out",
    )


def _damaged(where: str, error: Exception) -> BadInput:
    return _bad(where, f"{readable(str(error))}; a file that is whole and not locked is read", "Fetch or pack it again")


def _bad(where: str, found_and_allowed: str, advice: str) -> BadInput:
    return BadInput(f"reading {readable(where)}: {found_and_allowed}. {advice}.")
