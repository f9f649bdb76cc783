import io
import zipfile

import pytest

from gainloop.sources.pages import PAGES, Page
from schemas.errors import BadInput

HTML = """<html><head><meta charset="iso-8859-1"><title>Pumps &amp; valves</title><script>alert(1)</script></head>
<body><nav><a href="/">Home</a></nav><main><h1>Café</h1><p>Run <a href="http://example.org">hand_crank</a> first.</p>
<ul><li>one</li><li>two</li></ul><table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>
<pre><code>x = 1
  y</code></pre><img src="http://example.org/x.png"></main><footer>Imprint</footer></body></html>"""

MARKDOWN = """# Café

Run hand_crank first.

- one
- two

| a | b |
| --- | --- |
| 1 | 2 |

```
x = 1
  y
```"""

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
BODY = (
    '<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>Pumps</w:t></w:r></w:p>'
    "<w:p><w:r><w:t>Started by hand.</w:t></w:r></w:p>"
    "<w:tbl><w:tr><w:tc><w:p><w:r><w:t>cell</w:t></w:r></w:p></w:tc></w:tr></w:tbl>"
)


def word(body: str = BODY, padding: int = 0) -> bytes:
    """Return the smallest document that Word opens."""
    types = "http://schemas.openxmlformats.org/package/2006/content-types"
    relations = "http://schemas.openxmlformats.org/package/2006/relationships"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
    main = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{types}"><Override PartName="/word/document.xml" ContentType="{main}"/>'
        "</Types>",
        "_rels/.rels": f'<Relationships xmlns="{relations}"><Relationship Id="r1" Type="{office}" '
        'Target="word/document.xml"/></Relationships>',
        "word/document.xml": f'<w:document xmlns:w="{W}"><w:body>{body}</w:body></w:document>' + " " * padding,
    }
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return file.getvalue()


def pdf(text: str = "Started by hand.") -> bytes:
    """Return a PDF of one page; a reader finds its objects without a table of them."""
    drawn = f"BT /F1 12 Tf 72 700 Td ({text}) Tj ET" if text else ""
    objects = (
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
        "/Resources << /Font << /F1 5 0 R >> >> >>",
        f"<< /Length {len(drawn)} >>\nstream\n{drawn}\nendstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    )
    body = "".join(f"{number} 0 obj\n{content}\nendobj\n" for number, content in enumerate(objects, 1))
    return f"%PDF-1.4\n{body}trailer << /Root 1 0 R /Size 6 >>\n%%EOF".encode()


def read(suffix: str, content: bytes) -> Page:
    return PAGES[suffix](content, f"a{suffix}", "")


def test_a_page_is_its_main_part_as_markdown() -> None:
    assert read(".html", HTML.encode("latin-1")) == Page(MARKDOWN, "Pumps & valves")


def test_a_page_that_declares_another_encoding_than_it_has_is_read() -> None:
    page = "<meta charset=utf-8><p>Die Straße führt über die Brücke zur Mühle."

    assert read(".html", page.encode("latin-1")).text == "Die Straße führt über die Brücke zur Mühle."


def test_a_page_without_marks_is_read_whole() -> None:
    assert read(".htm", b"<p>One.<p>Two.").text == "One.\n\nTwo."


def test_a_word_document_is_markdown() -> None:
    assert read(".docx", word()).text.startswith("# Pumps\n\nStarted by hand.\n\n|")


def test_a_pdf_is_the_text_of_its_pages() -> None:
    assert read(".pdf", pdf()).text == "Started by hand."


def test_front_matter_becomes_title_and_licence() -> None:
    assert read(".md", b"---\ntitle: The mill\nlicense: CC0-1.0\ntags: [a, b]\n---\n\n# Body\n") == Page(
        "# Body\n", "The mill", "CC0-1.0"
    )
    assert read(".md", b"+++\ntitle = 'The mill'\n+++\nBody") == Page("Body", "The mill")


@pytest.mark.parametrize(
    "text",
    ["---\nNo matter.\n---\nx", "---\na: &a [1]\nb: *a\n---\nx", "---\na: [\n---\nx", "+++\n?\n+++"],
)
def test_what_is_no_front_matter_stays_in_the_text(text: str) -> None:
    assert read(".md", text.encode()) == Page(text)


@pytest.mark.parametrize(
    ("suffix", "content", "expected"),
    [
        (".pdf", b"%PDF-1.4 no", "a PDF that is whole and not locked is read"),
        (".pdf", pdf(""), "no text on its pages"),
        (".docx", b"PK no", "a Word document (.docx) that is whole and not locked is read"),
        (".docx", word("<w:p>"), "a Word document (.docx) that is whole and not locked is read"),
        (".docx", word(padding=40_000_000), "bytes of text and marks; 33,554,432 are allowed"),
        (".docx", word("<w:p><w:r><w:t>&a;</w:t></w:r></w:p>"), "a Word document (.docx) that is whole"),
    ],
)
def test_what_cannot_be_read_is_told(suffix: str, content: bytes, expected: str) -> None:
    with pytest.raises(BadInput) as caught:
        read(suffix, content)

    assert f"reading a{suffix}: " in str(caught.value)
    assert expected in str(caught.value)
