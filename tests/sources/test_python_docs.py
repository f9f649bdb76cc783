import inspect
import json
import sysconfig
from pathlib import Path

import pytest

from gainloop.sources.pieces import split_document
from gainloop.sources.python_docs import PythonDocs
from schemas.errors import BadInput, SourceChanged
from schemas.rows import Document

MODULE = '''"""About the module."""
class A:
    """About A."""
    if True:
        async def f(self):
            """About f,

            indented.
            """
            def inner():
                """Not documentation."""
try:
    pass
except ImportError:
    def g():
        "About g."
'''


@pytest.fixture(scope="module")
def found() -> dict[str, Document]:
    source = PythonDocs()
    return {document.uri.split("/", 1)[1]: document for part in source.parts() for document in source.read(part)}


def test_a_module_gives_its_docstrings_under_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pkg" / "tests").mkdir(parents=True)
    (tmp_path / "pkg" / "__init__.py").write_text(MODULE)
    (tmp_path / "pkg" / "tests" / "__init__.py").write_text(MODULE)
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    source = PythonDocs()
    (part,) = source.parts()

    assert [(document.title, document.text) for document in source.read(part)] == [
        ("pkg", "About the module."),
        ("pkg.A", "About A."),
        ("pkg.A.f", "About f,\n\nindented."),
        ("pkg.g", "About g."),
    ]


def test_a_changed_module_has_another_fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    (tmp_path / "a.py").write_text(MODULE)
    (before,) = PythonDocs().parts()
    (tmp_path / "a.py").write_text(MODULE + "\n")
    (after,) = PythonDocs().parts()

    assert (before.name, before.fingerprint) != (after.name, after.fingerprint)
    with pytest.raises(SourceChanged, match=r"a\.py: it was changed while it was read"):
        list(PythonDocs().read(before))


def test_a_module_that_does_not_parse_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    (tmp_path / "a.py").write_text("def (")
    (part,) = PythonDocs().parts()

    with pytest.raises(BadInput, match=r"a\.py: invalid syntax"):
        list(PythonDocs().read(part))


def test_the_standard_library_is_enough_to_learn_from(found: dict[str, Document]) -> None:
    texts = {piece.text for document in found.values() for piece in split_document(document, 1000, 100)}

    assert len(texts) >= 3000
    assert sum(len(text.encode()) for text in texts) >= 1_500_000


def test_documents_say_what_they_are_about_and_whose_they_are(found: dict[str, Document]) -> None:
    dumps, topic = found["json#dumps"], found["pydoc_data.topics#while"]

    assert (dumps.title, dumps.licence) == ("json.dumps", "PSF-2.0")
    assert dumps.text == inspect.getdoc(json.dumps)
    assert (topic.title, topic.text.split()[:2]) == ("while", ["The", '"while"'])


def test_no_test_and_no_installed_package_is_documentation(found: dict[str, Document]) -> None:
    assert not [uri for uri in found if uri.startswith(("test.", "unittest.test", "idlelib", "site-packages"))]
