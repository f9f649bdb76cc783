"""How large the house is and whether it is in order: files, lines, functions, and which way imports point.

``python -m benchmarks.house`` reads this checkout, ``python -m benchmarks.house FOLDER`` another one, for example an
older tree that ``git worktree add FOLDER COMMIT`` made. Nothing is imported: all of it is read from the source.
"""

import argparse
import ast
import io
import json
import tokenize
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
PRODUCT: Final = ("flows", "tasks", "gainloop", "schemas")
BESIDE: Final = ("tests", "benchmarks")
MAIN_JOB: Final = "flows.cycle"

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Measured:
    """What a house is like.

    Attributes:
        files: Python files by folder at the top.
        lines: Lines of the product's files, blank ones and comments among them.
        code_lines: Those of them that hold code: neither blank, nor a comment, nor a docstring.
        main_job_files: Files of the product that run when ``flows.cycle`` does all it may do, its own among them.
        functions: Functions and methods of the product, nested ones too.
        median_function: Lines of the middle one, from its ``def`` to its end, docstring included.
        longest_function: Lines of the longest one, and its name.
        back_up: Imports of a module of a higher layer, those for types alone too, as ``importer > imported``.
        circles: Modules that import each other as they are imported, a circle each.
        unordered: Parts of gainloop that its ``ORDER`` does not name, which ``back_up`` therefore cannot judge.
    """

    files: dict[str, int]
    lines: int
    code_lines: int
    main_job_files: int
    functions: int
    median_function: float
    longest_function: tuple[int, str]
    back_up: list[str]
    circles: list[list[str]]
    unordered: list[str]


@dataclass(frozen=True)
class House:
    """A checkout, read from its source."""

    folder: Path

    @cached_property
    def modules(self) -> dict[str, ast.Module]:
        """Modules of the product by their full name; a package's is its own."""
        return {_name_of(path, self.folder): ast.parse(path.read_text()) for path in self.paths(*PRODUCT)}

    @cached_property
    def order(self) -> tuple[tuple[str, ...], ...]:
        """The parts of gainloop from top to bottom as gainloop/__init__.py states them; nothing if it does not."""
        for node in self.modules.get("gainloop", ast.Module([], [])).body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            if any(isinstance(target, ast.Name) and target.id == "ORDER" for target in targets):
                return tuple(ast.literal_eval(node.value))  # type: ignore[attr-defined]
        return ()

    def paths(self, *tops: str) -> list[Path]:
        return sorted(path for top in tops for path in (self.folder / top).rglob("*.py"))

    def imports(self, name: str, *, types: bool = False, at_once: bool = False) -> set[str]:
        """Return the product's modules that a module names in its imports.

        Args:
            types: Also imports for the type checker alone.
            at_once: Only what is imported as the module itself is, not what its functions import later.
        """
        nodes = _nodes(self.modules[name], types=types, functions=not at_once)
        return {found for node in nodes for found in self._named(node, name)} - {name}

    def reached(self, name: str) -> set[str]:
        """Return all modules of the product that a module imports, directly or not, and itself."""
        below = {one: self.imports(one) | ({one.rpartition(".")[0]} & self.modules.keys()) for one in self.modules}
        return {name} | _closure(name, below)

    def back_up(self) -> list[str]:
        """Return the imports of a module of a higher layer."""
        pairs = [(name, other) for name in self.modules for other in self.imports(name, types=True)]
        return sorted(f"{name} > {other}" for name, other in pairs if self._is_above(other, name))

    def circles(self) -> list[list[str]]:
        """Return the modules that import each other as they are imported, sorted, a circle each."""
        below = {name: self.imports(name, at_once=True) for name in self.modules}
        reached = {name: _closure(name, below) for name in below}
        circles = {frozenset({other for other in reached[name] if name in reached[other]}) for name in below}
        return sorted(sorted(circle) for circle in circles if circle)

    def functions(self) -> list[tuple[int, str]]:
        """Return the lines and the name of every function and method, shortest first."""
        found = [(name, node) for name, module in self.modules.items() for node in ast.walk(module)]
        return sorted((_lines(node), f"{name}.{node.name}") for name, node in found if isinstance(node, Function))

    def unordered(self) -> list[str]:
        """Return the parts of gainloop that its order does not name; all if it states none."""
        parts = {name.split(".")[1] for name in self.modules if name.startswith("gainloop.")}
        return sorted(parts - {part for row in self.order for part in row})

    def _named(self, node: ast.AST, importer: str) -> Iterator[str]:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in self.modules)
        elif isinstance(node, ast.ImportFrom):
            source = self._source(node, importer)
            names = {f"{source}.{alias.name}" for alias in node.names}
            yield from names & self.modules.keys()
            if source in self.modules and names - self.modules.keys():
                yield source

    def _source(self, node: ast.ImportFrom, importer: str) -> str:
        if not node.level:
            return node.module or ""
        is_package = (self.folder / importer.replace(".", "/")).is_dir()
        parts = importer.split(".")
        return ".".join([*parts[: len(parts) - node.level + is_package], *([node.module] if node.module else [])])

    def _is_above(self, one: str, other: str) -> bool:
        (layer, row), (other_layer, other_row) = self._place(one), self._place(other)
        if layer != other_layer:
            return layer > other_layer
        return row is not None and other_row is not None and row < other_row

    def _place(self, name: str) -> tuple[int, int | None]:
        """Return how high the layer of a module is, and its row in gainloop's order from the top, if it has one."""
        top, _, rest = name.partition(".")
        part = rest.split(".")[0]
        if top == "tasks" and "gainloop" not in self.modules:  # then the library is in the folders of tasks/
            return (1 if (self.folder / "tasks" / part).is_dir() and part else 2), None
        layer = {"flows": 3, "tasks": 2, "gainloop": 1, "schemas": 0}[top]
        if top != "gainloop" or not self.order:
            return layer, None
        if not part:
            return layer, -1
        return layer, next((row for row, parts in enumerate(self.order) if part in parts), None)


def count_code(source: str) -> int:
    """Return the lines of a module that are neither blank, nor a comment, nor a docstring or another lone string.

    >>> count_code("'Module.'\\n\\nx = 1  # one\\n# two\\ny = (\\n    x,\\n)\\n")
    4
    """
    layout = (tokenize.NL, tokenize.NEWLINE, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    found = tokenize.generate_tokens(io.StringIO(source).readline)
    code = {row for one in found if one.type not in layout for row in range(one.start[0], one.end[0] + 1)}
    lone = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Expr)]
    strings = [node for node in lone if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)]
    return len(code - {row for node in strings for row in range(node.lineno, (node.end_lineno or 0) + 1)})


def measure(folder: Path) -> Measured:
    """Return what the house in a folder is like.

    Raises:
        SystemExit: The folder is no checkout of this project.
    """
    house = House(folder)
    if MAIN_JOB not in house.modules:
        raise SystemExit(f"reading the project in {folder}: no flows/cycle.py there; name a checkout of this project.")
    functions = house.functions()
    return Measured(
        files={top: len(found) for top in (*PRODUCT, *BESIDE) if (found := house.paths(top))},
        lines=sum(len(path.read_text().splitlines()) for path in house.paths(*PRODUCT)),
        code_lines=sum(count_code(path.read_text()) for path in house.paths(*PRODUCT)),
        main_job_files=len(house.reached(MAIN_JOB)),
        functions=len(functions),
        median_function=median(lines for lines, _ in functions),
        longest_function=functions[-1],
        back_up=house.back_up(),
        circles=house.circles(),
        unordered=house.unordered(),
    )


def show(measured: Measured) -> None:
    """Print what a house is like."""
    product = {top: number for top, number in measured.files.items() if top in PRODUCT}
    beside = {top: number for top, number in measured.files.items() if top in BESIDE}
    print(f"{sum(product.values()):7,} files of the product: {_counts(product)}; beside it {_counts(beside)}")
    print(f"{measured.lines:7,} lines of the product, {measured.code_lines:,} of them code")
    print(f"{measured.main_job_files:7,} files that {MAIN_JOB} imports, itself among them")
    print(f"{measured.median_function:7g} lines of the median function, of {measured.functions:,}")
    lines, name = measured.longest_function
    print(f"{lines:7,} lines of the longest function, {name}")
    for title, found in (
        ("imports that run back up", measured.back_up),
        ("circles of imports", [" <> ".join(circle) for circle in measured.circles]),
        ("parts of gainloop that its ORDER does not name", measured.unordered),
    ):
        print(f"{len(found):7,} {title}", *found, sep="\n          ")


def _name_of(path: Path, folder: Path) -> str:
    return ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__")


def _nodes(tree: ast.AST, *, types: bool, functions: bool) -> Iterator[ast.AST]:
    """Yield the nodes of a tree: those for the type checker alone and those within functions if asked for."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Function) and not functions:
            continue
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and not types:
            yield from _nodes(ast.Module(node.orelse, []), types=types, functions=functions)
        else:
            yield from _nodes(node, types=types, functions=functions)


def _closure(name: str, below: dict[str, set[str]]) -> set[str]:
    """Return what is reached from a module in one step or more."""
    seen, ahead = set[str](), list(below[name])
    while ahead:
        if (one := ahead.pop()) not in seen:
            seen.add(one)
            ahead += below[one]
    return seen


def _lines(node: Any) -> int:
    return int(node.end_lineno - node.lineno + 1)


def _counts(files: dict[str, int]) -> str:
    return ", ".join(f"{number} in {top}/" for top, number in files.items())


def main() -> None:
    """Measure the house in a folder, and print it."""
    parser = argparse.ArgumentParser("python -m benchmarks.house", description=__doc__)
    parser.add_argument("folder", metavar="FOLDER", type=Path, nargs="?", default=ROOT, help="a checkout; default: own")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    measured = measure(asked.folder.resolve())
    print(json.dumps(asdict(measured))) if asked.json else show(measured)


if __name__ == "__main__":
    main()
