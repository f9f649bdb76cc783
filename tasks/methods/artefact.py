"""Artefacts that someone made for a purpose, code, a table or a passage: which one a text is, and how like two are."""

import ast
import re
import warnings
from collections import Counter
from collections.abc import Hashable, Iterable
from itertools import pairwise
from types import CodeType
from typing import Literal

Kind = Literal["code", "table", "passage"]

_CODE_LINE = re.compile(
    r"^\s*(?:[@#}]|//|/\*|(?:def|class|import|from|return|if|for|while|elif|else|try|fn|func|function|let|const|var|"
    r"public|private|static|void|int|use|package)\b)|[{}]\s*$|[=()\[\]<>+*][^=()\[\]<>+*]*;\s*$"
)
_CELLS = re.compile(r"\s*[|\t]\s*")
_RULE = re.compile(r"[\s|:+=-]*")
_FENCED = re.compile(r"```[^\n`]*\n(.*?)\n?[ \t]*```", re.DOTALL)
_TOKEN = re.compile(r"\w+|[^\w\s]")


def kind_of(text: str) -> Kind:
    """Return what kind of artefact a text is, by simple rules: it is easily named outright where they fail.

    Code: Python that parses and does more than name things, or three lines and more of which 60 % look like code. A
    table: three lines and more of which 80 % have cells, parted by bars or tabs.

    >>> kind_of("import math\\nprint(math.pi)"), kind_of("int f(int a) {\\n  return a;\\n}")
    ('code', 'code')
    >>> kind_of("| a | b |\\n|---|---|\\n| 1 | 2 |"), kind_of("The mill grinds rye."), kind_of("Rye")
    ('table', 'passage', 'passage')
    """
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) >= 3 and sum(len(_CELLS.split(line)) >= 2 for line in lines) >= 0.8 * len(lines):
        return "table"
    if (tree := _parsed(text)) and any(not isinstance(one, ast.Expr) or _calls(one) for one in tree.body):
        return "code"
    like_code = sum(bool(_CODE_LINE.search(line)) for line in lines)
    return "code" if len(lines) >= 3 and like_code >= 0.6 * len(lines) else "passage"


def unfenced(reply: str) -> str:
    """Return the one fenced block of a reply, or all of it if it has none or several.

    >>> unfenced("Here it is:\\n```python\\nx = 1\\n```\\nDone."), unfenced(" x = 1 ")
    ('x = 1', 'x = 1')
    """
    blocks = _FENCED.findall(reply)
    return blocks[0] if len(blocks) == 1 else reply.strip()


def code_likeness(one: str, other: str) -> float:
    """Return how like a program another is, from 0 to 1: whether it was written again, not whether it is right.

    Of Python it is 1 if both compile to the same but for docstrings, annotations of functions and names of local
    variables, else 0; so it is 0 for a right program of another form. Of other languages it is the share of
    neighbouring tokens in common, which one wrong sign in a long program hardly lowers.

    >>> code_likeness("def f(x):\\n    y = x+1\\n    return y", "def f(x: int):\\n  'Add.'\\n  z = (x+1)\\n  return z")
    1.0
    >>> code_likeness("def f(x):\\n    return x+1", "def f(x):\\n    return x-1")
    0.0
    >>> round(code_likeness("int f(int a) { return a; }", "int f(int b) { return b; }"), 2)
    0.6
    """
    if compiled := _compiled(one):
        return float(compiled == _compiled(other))
    return _common(pairwise(_TOKEN.findall(one)), pairwise(_TOKEN.findall(other)))


def table_likeness(one: str, other: str) -> float:
    """Return the share of rows that two tables have in common, whatever their layout and order.

    >>> table_likeness("| Town | Mills |\\n|---|---|\\n| Ulm | 7 |", "ulm\\t7.0\\ntown\\tmills")
    1.0
    >>> table_likeness("a | b\\n1 | 2", "a | b\\n1 | 3")
    0.5
    """
    return _common(_rows(one), _rows(other))


def _rows(table: str) -> list[tuple[str, ...]]:
    lines = [line.strip().strip("|").strip() for line in table.splitlines() if not _RULE.fullmatch(line)]
    return [tuple(map(_cell, _CELLS.split(line))) for line in lines]


def _cell(text: str) -> str:
    text = " ".join(text.casefold().split())
    try:
        return repr(float(text.replace(",", "")))
    except ValueError:
        return text


def _common(ones: Iterable[Hashable], others: Iterable[Hashable]) -> float:
    """Return twice what two collections share, over what both hold."""
    one, other = Counter(ones), Counter(others)
    total = one.total() + other.total()
    return 2 * (one & other).total() / total if total else 0.0


def _parsed(text: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings(action="ignore"):  # of escapes that the text should not have
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _calls(expression: ast.Expr) -> bool:
    return isinstance(expression.value, ast.Call)


def _compiled(text: str) -> CodeType | None:
    """Return what equal Python modules compile to alike; None for what does not compile or does nothing."""
    tree = _parsed(text)
    if tree is None or all(map(_says_only, tree.body)):
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [one for one in node.body if not _says_only(one)] or [ast.copy_location(ast.Pass(), node)]
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
    try:
        with warnings.catch_warnings(action="ignore"):
            return _with_locals_numbered(compile(tree, "", "exec", dont_inherit=True))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _with_locals_numbered(code: CodeType) -> CodeType:
    """Return code without lines, columns and its locals' names. Parameters keep theirs, which callers may use, but for
    those of a lambda: nobody names them."""
    # Variables that functions share are sorted by name: they count as the same only if their order is.
    num_parameters = code.co_argcount + code.co_kwonlyargcount
    kept = () if code.co_name == "<lambda>" else code.co_varnames[:num_parameters]
    names = dict.fromkeys(code.co_varnames + code.co_cellvars + code.co_freevars)
    new = {name: name if name in kept else str(number) for number, name in enumerate(names)}
    return code.replace(
        co_name="",
        co_qualname="",
        co_firstlineno=0,
        co_linetable=b"",
        co_varnames=tuple(map(new.__getitem__, code.co_varnames)),
        co_cellvars=tuple(map(new.__getitem__, code.co_cellvars)),
        co_freevars=tuple(map(new.__getitem__, code.co_freevars)),
        co_consts=tuple(_with_locals_numbered(one) if isinstance(one, CodeType) else one for one in code.co_consts),
    )


def _says_only(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
