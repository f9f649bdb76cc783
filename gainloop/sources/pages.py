"""Files that are one document each: plain text, Markdown, HTML, PDF and Word. Nothing is fetched, no script runs.

A reader takes the file's bytes, its name for messages and the encoding of text that is not UTF-8, if known. Libraries
do the parsing; what they raise on a damaged file is told as what it is: a file that cannot be read.
"""

import codecs
import io
import re
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any

import yaml

from gainloop.sources.names import readable
from gainloop.sources.texts import FREE_BYTES, MAX_GROWTH, decoded, require_size
from schemas.errors import BadInput

MAX_MATTER_CHARS = 2**16
MAX_WORD_BYTES = 32 * 2**20
MAX_PAGES = 20_000


@dataclass(frozen=True, slots=True)
class Page:
    """One document as its file gives it; what the file does not say is empty."""

    text: str
    title: str = ""
    licence: str = ""


def read_plain(content: bytes, where: str, encoding: str = "") -> Page:
    return Page(decoded(content, where, encoding))


def read_markdown(content: bytes, where: str, encoding: str = "") -> Page:
    """Return Markdown without its front matter, whose title and licence are the document's."""
    matter, text = split_matter(decoded(content, where, encoding))
    title, licence = (
        next((str(matter[name]) for name in names if isinstance(matter.get(name), str | int | float)), "")
        for names in (("title",), ("licence", "license"))
    )
    return Page(text, title, licence)


class _Plain(yaml.SafeLoader):
    """YAML without aliases: a few lines of them can fill a memory."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias")
        return super().compose_node(parent, index)


_MATTER = re.compile(r"(---|\+\+\+)[ \t]*\r?\n")


def split_matter(text: str) -> tuple[dict[str, Any], str]:
    r"""Return the front matter of a text, in YAML or TOML, and the rest; a text that only looks so is left as it is.

    >>> split_matter("---\ntitle: Pumps\n---\n# Pumps"), split_matter("+++\ntitle = 'A'\n+++\nB")
    (({'title': 'Pumps'}, '# Pumps'), ({'title': 'A'}, 'B'))
    >>> split_matter("---\nA line between rules.\n---")
    ({}, '---\nA line between rules.\n---')
    """
    opened = _MATTER.match(text)
    end = re.compile(rf"^{re.escape(opened[1])}[ \t]*$", re.MULTILINE) if opened else None
    closed = end.search(text, opened.end(), MAX_MATTER_CHARS) if end and opened else None
    if not opened or not closed:
        return {}, text
    inside = text[opened.end() : closed.start()]
    try:
        matter = yaml.load(inside, _Plain) if opened[1] == "---" else tomllib.loads(inside)  # noqa: S506
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}, text
    return (matter, text[closed.end() :].lstrip("\r\n")) if isinstance(matter, dict) else ({}, text)


def read_html(content: bytes, where: str, encoding: str = "") -> Page:
    """Return the main part of a page as Markdown; navigation, scripts, headers and footers of the site are left out."""
    from bs4 import BeautifulSoup

    declared = re.search(rb"<meta[^>]{0,200}?charset=[\"']?([\w-]{1,40})", content[:2048], re.IGNORECASE)
    with parsing(where, "an HTML page"):
        page = BeautifulSoup(decoded(content, where, encoding or _known(declared)), "lxml")
        title = page.title.get_text() if page.title else ""
        articles = page.find_all("article")
        main = page.find("main") or (articles[0] if len(articles) == 1 else page.body or page)
        for one in main.find_all(_BESIDE):
            one.decompose()
        return Page(_as_markdown(main), title)


_BESIDE = ("script", "style", "noscript", "template", "nav", "aside", "footer", "iframe", "svg", "button")


def _known(declared: "re.Match[bytes] | None") -> str:
    """Return the encoding that a page declares, as browsers read it; none if it is UTF-8, or Python knows none."""
    try:
        name = codecs.lookup(declared[1].decode()).name if declared else ""
    except LookupError:
        return ""
    return {"utf-8": "", "ascii": "", "iso8859-1": "cp1252"}.get(name, name)


def _as_markdown(soup: Any) -> str:
    from markdownify import MarkdownConverter

    converter = MarkdownConverter(
        heading_style="ATX", bullets="-", strip=["a", "img"], escape_asterisks=False, escape_underscores=False
    )
    return str(converter.convert_soup(soup)).strip()


_PDFIUM = Lock()  # the library works for one thread at a time


def read_pdf(content: bytes, where: str, encoding: str = "") -> Page:
    """Return the text of a PDF's pages; words that a line's end cuts are whole again."""
    import pypdfium2

    texts: list[str] = []
    with _PDFIUM, parsing(where, "a PDF"), pypdfium2.PdfDocument(content) as document:
        if len(document) > MAX_PAGES:
            raise _bad(where, f"{len(document):,} pages; {MAX_PAGES:,} are read", "Split it")
        num_chars = 0
        for page in document:
            texts.append(_CUT_WORD.sub("", page.get_textpage().get_text_bounded()).strip())
            page.close()
            num_chars += len(texts[-1])
            require_size(num_chars, "a text", where)
    text = "\n\n".join(filter(None, texts))
    if not text:
        raise _bad(where, "no text on its pages; a PDF of text is read", "Recognise the text of scanned pages first")
    return Page(text)


_CUT_WORD = re.compile("[\ufffe\x02](?:\r?\n)?")


def read_word(content: bytes, where: str, encoding: str = "") -> Page:
    """Return a Word document as Markdown; pictures are left out, and nothing outside of it is read."""
    import mammoth
    from bs4 import BeautifulSoup

    with parsing(where, "a Word document (.docx)"):
        _refuse_growth(content, where)
        no_picture = mammoth.images.img_element(lambda _: {})
        found = mammoth.convert_to_html(
            io.BytesIO(content), convert_image=no_picture, include_embedded_style_map=False, external_file_access=False
        )
        return Page(_as_markdown(BeautifulSoup(found.value, "lxml")))


def _refuse_growth(content: bytes, where: str) -> None:
    sizes = [one.file_size for one in zipfile.ZipFile(io.BytesIO(content)).infolist() if one.filename.endswith("ml")]
    most = min(MAX_WORD_BYTES, FREE_BYTES + MAX_GROWTH * len(content))
    if sum(sizes) > most:
        raise _bad(where, f"it grows to {sum(sizes):,} bytes of text and marks; {most:,} are allowed", "Split it")


@contextmanager
def parsing(where: str, what: str) -> Iterator[None]:
    """Raise whatever a library raises on damaged bytes as BadInput."""
    try:
        yield
    except (BadInput, MemoryError):
        raise
    except Exception as error:
        found = readable(f"{type(error).__name__}: {error}")[:300].rstrip(".")
        raise _bad(where, f"{found}; {what} that is whole and not locked is read", "Write it anew") from error


def _bad(where: str, found_and_allowed: str, advice: str) -> BadInput:
    return BadInput(f"reading {readable(where)}: {found_and_allowed}. {advice}, or leave the file out.")


PAGES: dict[str, Callable[[bytes, str, str], Page]] = {
    ".txt": read_plain,
    **dict.fromkeys((".md", ".markdown"), read_markdown),
    **dict.fromkeys((".html", ".htm"), read_html),
    ".pdf": read_pdf,
    ".docx": read_word,
}
"""The reader of each kind of file that is one document."""
