"""The documentation that every Python carries: docstrings of the standard library and the help topics."""

import ast
import hashlib
import inspect
import os
import platform
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from gainloop.sources.places import changed
from gainloop.sources.source import MaxChars, Part, Source
from schemas.errors import BadInput
from schemas.rows import Document

# Not documentation of the library, or not part of it.
_SKIPPED = {"dist-packages", "ensurepip", "idlelib", "lib2to3", "site-packages", "test", "tests", "turtledemo"}
_TOPICS = "pydoc_data.topics"
_LICENCE = "PSF-2.0"

Definition = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class PythonDocs(Source):
    """The help topics and docstrings of the Python that runs this; no download.

    Modules are parsed, never imported. A part is a module.
    """

    kind: Literal["python_docs"] = "python_docs"
    # Shorter than of other sources: two pieces side by side fit the context of the small model that is made of them.
    max_chars: MaxChars = 1000

    def parts(self) -> Iterator[Part]:
        root = Path(sysconfig.get_path("stdlib"))
        for path in sorted(_modules(root)):
            name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
            yield Part(name, _fingerprint(path.read_bytes()), str(path))

    def read(self, part: Part) -> Iterator[Document]:
        content = Path(part.url).read_bytes()
        if _fingerprint(content) != part.fingerprint:
            raise changed(part.url)
        try:
            tree = ast.parse(content)
        except (SyntaxError, ValueError, RecursionError) as error:
            raise BadInput(
                f"reading {part.url}: {error}; a module of this Python is read. Mend it, or leave it to max_bad_share."
            ) from error
        texts = _topics(tree) if part.name == _TOPICS else _docstrings(tree, "")
        for name, text in texts:
            title = name if part.name == _TOPICS else f"{part.name}.{name}".rstrip(".")
            yield Document(text, title, f"python:{platform.python_version()}/{part.name}#{name}".rstrip("#"), _LICENCE)


def _fingerprint(content: bytes) -> str:
    return f"{platform.python_version()}-{hashlib.sha256(content).hexdigest()[:16]}"


def _modules(root: Path) -> Iterator[Path]:
    for folder, below, files in os.walk(root):
        below[:] = [name for name in below if name not in _SKIPPED]
        yield from (Path(folder, name) for name in files if name.endswith(".py"))


def _docstrings(node: ast.AST, name: str) -> Iterator[tuple[str, str]]:
    """Yield the docstrings of a module, its classes and their methods, under their names within the module.

    >>> list(_docstrings(ast.parse("class A:\\n  if True:\\n    def f(self): 'Do.'"), ""))
    [('A.f', 'Do.')]
    """
    if isinstance(node, Definition) and (text := ast.get_docstring(node, clean=False)):
        yield name, inspect.cleandoc(text)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return  # what a function defines within itself is not documentation
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _docstrings(child, f"{name}.{child.name}".lstrip("."))
        elif isinstance(child, ast.stmt | ast.ExceptHandler):
            yield from _docstrings(child, name)


def _topics(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield the texts of the module's one dictionary."""
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Dict):
            yield from ast.literal_eval(statement.value).items()
