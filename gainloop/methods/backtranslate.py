"""From an artefact to the task that it solves; kept if the task alone leads the generator back to the artefact."""

import ast
import re
import warnings
from collections import Counter
from collections.abc import Hashable, Iterable
from itertools import pairwise
from random import Random
from types import CodeType
from typing import Annotated, ClassVar, Literal

import regex
from pydantic import Field

from gainloop.asking.chunks import estimate_tokens
from gainloop.asking.conversation import Conversation, Read, after, alone, ask, beside, own_draw, side_by_side
from gainloop.asking.structured import object_of, one_of, read_object, read_passage, text_of
from gainloop.measures.ngrams import copied_share
from gainloop.methods.method import Method
from schemas.rows import Anchor, Drop, Outcome, Record, Request, Rounds
from schemas.suites import Suite, at_least, at_most

Kind = Literal["code", "table", "passage"]

_CODE_LINE = re.compile(
    r"^\s*(?:[@#}]|//|/\*|(?:def|class|import|from|return|if|for|while|elif|else|try|fn|func|function|let|const|var|"
    r"public|private|static|void|int|use|package)\b)|[{}]\s*$|[=()\[\]<>+*][^=()\[\]<>+*]*;\s*$"
)
_CELLS = re.compile(r"[|\t]")
_RULE = re.compile(r"[\s|:+=-]*")
_FENCED = re.compile(r"```[^\n`]*\n(.*?)```", re.DOTALL)
_TOKEN = regex.compile(r"\w++|\S")

INSTRUCT: dict[Kind, str] = {
    "code": "The document is a program. Write the task that it solves, for a skilled programmer who has not seen it: "
    "what goes in, what comes out, which names its callers use, and every rule and special case that it keeps.",
    "table": "The document is a table. Write the task that it answers, for someone who has not seen it: what it is "
    "about, which columns and rows it has, in which units, and what its values follow from.",
    "passage": "The document is a passage. Write the task that it answers, for an expert who has not seen it: a "
    "demanding question or assignment, so exact that a good answer has to say what the passage says.",
}
UNAIDED = (
    " The task can be understood by itself, has 150 words at most, and must not quote the solution. Answer as JSON "
    "with the task."
)
SOLVE: dict[Kind, str] = {
    "code": "Answer with the finished program alone, in one code block, without a word before or after it.",
    "table": "Answer with the finished table alone, as Markdown, without a word before or after it.",
    "passage": "Answer with the finished text alone, without a word about the task before or after it.",
}
COMPARE = (
    'The draft is another answer to the task that the document answers. Compare what they say, not how: "same" if the '
    'draft says all that matters in the document and contradicts none of it, "partly" if something that matters is '
    'missing, "different" if it contradicts the document or is about something else.\n'
    "Answer as JSON: first the reason in one sentence, then the verdict."
)
MOST_QUOTED = 0.2
"""Share of an artefact's words, in runs of eight, that its task may hold; above it the answer is a copy."""


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
    return blocks[0].rstrip(" \t").removesuffix("\n") if len(blocks) == 1 else reply.strip()


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
    """Return the items that two collections share, doubled, over all items of both."""
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
    """Return a Python module as code without docstrings, annotations and local names; None if it does not compile or
    does nothing."""
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


class Backtranslate(Method):
    """The task that a program, a table or a passage solves, with it as the answer.

    The generator reads the anchor and writes a hard task; then it solves the task alone, without the document; if it
    comes back to the artefact, task and artefact are a record. The record's answer is the real text, so nothing in it
    is invented but the question.

    Asks: for ``draws`` tasks as JSON; of each that does not quote its solution, for an answer, until one of
    ``attempts`` passes. ``artefact`` says what anchors are; ``auto`` tells each by simple rules.
    Passes: Python that compiles to the same but for docstrings, annotations of functions and names of local variables;
    a program in another language with 90 % of neighbouring tokens in common (``least``); a table with 90 % of its rows
    in common, whatever their order and layout; a passage of which the generator, as judge by its likeliest reply, says
    that the answer says the same. This tests whether the task leads back to the artefact, not whether the artefact is
    right: nothing is run. Right Python of another form does not pass; of other languages, a program with one wrong sign
    does.
    Costs: ``3 d`` prompt tokens, 3 requests without ``passage``.
    Counts: a record has two replies, the task and the answer that passed. An answer that does not pass is a drop,
    ``differs`` or ``unjudged``; the task of which none passes too, ``unsolved``; one that quotes a fifth of its
    solution is ``gives_away``.
    Measured: records copy their anchors by intent, so validation does not refuse them for it. The filter ``novelty``
    would: leave it out. A critic would rewrite the real text, and is refused. Delta I has the task given the document
    and the answer given the task.
    Source: instruction reversal of phi-4, Abdin et al. 2024, arXiv:2412.08905.
    Differs: the paper does it for code, and prints neither prompts nor the measure of likeness. A passage that the
    generator can write unaided was known to it: of passages this makes practice in answering, not new knowledge.
    """

    kind: Literal["backtranslate"] = "backtranslate"
    holds_anchor: ClassVar[bool] = True
    wishes: ClassVar[tuple[str, ...]] = (*INSTRUCT.values(), UNAIDED, *SOLVE.values())
    expectations: ClassVar[Suite] = (
        at_most("copied_share", 1.0, "copies_anchor", mostly=0.5),  # the anchor is the answer, by intent
        at_least("letter_share", 0.15, "not_prose", mostly=0.5),
    )
    artefact: Annotated[
        Kind | Literal["auto"], Field(description="Artefact that anchors are; auto tells each by simple rules.")
    ] = "auto"
    draws: Annotated[
        int, Field(ge=1, le=16, description="Tasks sampled for each anchor; each that passes is a record.")
    ] = 1
    attempts: Annotated[int, Field(ge=1, le=16, description="Tries of a task until one answer passes.")] = 2
    least: Annotated[
        float, Field(gt=0, le=1, description="Likeness from which an answer passes, of tables and of code but Python.")
    ] = 0.9

    @property
    def max_requests(self) -> int:
        return self.draws * (1 + self.attempts * (1 if self.artefact in ("code", "table") else 2))

    @property
    def max_records(self) -> int:
        return self.draws

    def rounds(self, anchor: Anchor, rng: Random) -> Rounds:
        kind = kind_of(anchor.text) if self.artefact == "auto" else self.artefact
        replies = yield from side_by_side(
            [ask(anchor, ask_task(anchor, kind, draw), read_task) for draw in range(self.draws)]
        )
        tasks, drops = distinct_tasks(anchor, replies)
        tried = yield from side_by_side([self.solve(anchor, kind, number, task) for number, task in enumerate(tasks)])
        return Outcome(
            [record for outcome in tried for record in outcome.records],
            drops + [drop for outcome in tried for drop in outcome.drops],
        )

    def solve(self, anchor: Anchor, kind: Kind, number: int, task: Read[str]) -> Conversation[Outcome]:
        """Return the record of a task that leads back to its artefact, and the drops of answers that do not pass."""
        drops: list[Drop] = []
        for attempt in range(self.attempts):
            request = ask_answer(anchor, kind, task.value, f"answer {number}.{attempt}", attempt)
            answer = yield from ask(anchor, request, unfenced)
            if isinstance(answer, Drop):
                drops.append(answer)
                continue
            reason = yield from self.compare(anchor, kind, answer.value, f"compare {number}.{attempt}")
            if not reason:
                text = f"{task.value}\n\n{anchor.text}"
                return Outcome(
                    [Record(anchor.anchor_id, self.kind, kind, text, (task.request_id, answer.request_id))], drops
                )
            drops.append(Drop(anchor.anchor_id, request.facet, reason, answer.request_id))
        return Outcome(drops=[*drops, Drop(anchor.anchor_id, f"task {number}", "unsolved", task.request_id)])

    def compare(self, anchor: Anchor, kind: Kind, answer: str, facet: str) -> Conversation[str]:
        """Return an empty string if an answer is like the artefact, else the reason why it does not pass."""
        if kind != "passage":
            likeness = code_likeness if kind == "code" else table_likeness
            return "" if likeness(anchor.text, answer) >= self.least else "differs"
        verdict = yield from ask(anchor, ask_verdict(anchor, answer, facet), read_verdict)
        if isinstance(verdict, Drop):
            return "unjudged"
        return "" if verdict.value == "same" else "differs"


def distinct_tasks(anchor: Anchor, replies: list[Read[str] | Drop]) -> tuple[list[Read[str]], list[Drop]]:
    """Return the distinct tasks that do not quote their solution, and drops for the others."""
    tasks: dict[str, Read[str]] = {}
    drops: list[Drop] = []
    for draw, task in enumerate(replies):
        if isinstance(task, Drop):
            drops.append(task)
        elif quotes(task.value, anchor.text):
            drops.append(Drop(anchor.anchor_id, f"task {draw}", "gives_away", task.request_id))
        elif tasks.setdefault(task.value, task) is not task:
            drops.append(Drop(anchor.anchor_id, f"task {draw}", "repeat", task.request_id))
    return list(tasks.values()), drops


def quotes(task: str, solution: str) -> bool:
    """Tell whether a task holds all of its solution, or too much of it; white space makes no difference.

    >>> quotes("Write this:\\n  x = 1", "x =  1"), quotes("Bind x to one.", "x = 1")
    (True, False)
    """
    whole = " ".join(solution.split()) in " ".join(task.split())
    return whole or copied_share(solution, task) > MOST_QUOTED


def ask_task(anchor: Anchor, kind: Kind, draw: int) -> Request:
    """Ask for the task that an artefact solves."""
    prompt = after(anchor.text, INSTRUCT[kind] + UNAIDED, anchor.title)
    return Request(prompt, facet=f"task {draw}", json_schema=object_of(task=text_of(1500)), draw=draw)


def ask_answer(anchor: Anchor, kind: Kind, task: str, facet: str, attempt: int) -> Request:
    """Ask for an answer to the task alone, without the document, about as long as the artefact."""
    prompt, tokens = alone(f"{task}\n\n{SOLVE[kind]}"), estimate_tokens(anchor.text)
    return Request(prompt, facet=facet, draw=own_draw(anchor, attempt), reply_tokens=tokens)


def ask_verdict(anchor: Anchor, answer: str, facet: str) -> Request:
    """Ask whether an answer says what the passage says."""
    prompt = beside(anchor, answer, COMPARE)
    schema = object_of(reason=text_of(200), verdict=one_of("different", "partly", "same"))
    return Request(prompt, facet=facet, json_schema=schema, greedy=True)


def read_task(text: str) -> str | None:
    """Return the task of a reply; None if it holds none.

    >>> read_task('{"task": "Add two numbers. "}'), read_task("Add two numbers.") is None
    ('Add two numbers.', True)
    """
    return read_passage((read_object(text) or {}).get("task"))


def read_verdict(text: str) -> str | None:
    """Return the verdict of a reply; None if it gives none.

    >>> read_verdict('{"reason": "It is so.", "verdict": "same"}'), read_verdict('{"verdict": "alike"}') is None
    ('same', True)
    """
    verdict = (read_object(text) or {}).get("verdict")
    return verdict if verdict in ("different", "partly", "same") else None
