"""Holds the project to its word: what its documents and its layout promise."""

import ast
import inspect
import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import Flow
from pydantic import TypeAdapter

from docs import tables
from gainloop import ORDER
from schemas.profile import load_profile
from tests.conftest import ROOT

PRODUCT = ("schemas", "gainloop", "tasks", "flows")
PURE = ("sources", "asking", "methods", "filters", "measures")
NETWORK = {"aiohttp", "httpx", "httpx2", "requests", "socket", "urllib.request"}
CLOCK = {"time", "datetime.now", "datetime.utcnow", "date.today"}
CHANCE = {"random", "numpy.random", "np.random", "secrets", "uuid"}
SEEDED = {"random.Random", "np.random", "np.random.Generator", "np.random.default_rng"}
FLOWS = sorted(path.stem for path in (ROOT / "flows").glob("*.py") if not path.stem.startswith("__"))


def modules(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def imports(path: Path, *, at_once: bool = False) -> Iterator[str]:
    """Yield the full name of everything that a module imports: anywhere, or only as it is itself imported."""
    module = ast.parse(path.read_text())
    for node in module.body if at_once else ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def attributes(path: Path) -> set[str]:
    """Return every dotted name that a module uses."""
    return {ast.unparse(node) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def layer(name: str) -> tuple[int, int] | None:
    """Return how high a module stands: schemas, the packages of gainloop in its own order, tasks, flows."""
    top, _, below = name.partition(".")
    package = below.partition(".")[0]
    if top == "gainloop":
        rows = {name: len(ORDER) - row for row, names in enumerate(ORDER) for name in names}
        return 1, rows[package] if package in rows else len(ORDER) + 1
    return {"schemas": (0, 0), "tasks": (2, 0), "flows": (3, 0)}.get(top)


def is_beside(name: str, other: str) -> bool:
    """Tell whether two modules are of different packages of one layer."""
    return layer(name) == layer(other) and name.split(".")[:2] != other.split(".")[:2] and name.startswith("gainloop")


def is_within(name: str, packages: set[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def flow_named(name: str) -> Flow[Any, Any]:
    flow = getattr(import_module(f"flows.{name}"), name)
    assert isinstance(flow, Flow)
    return flow


def deployments() -> list[dict[str, Any]]:
    path = ROOT / "prefect.yaml"
    return list(yaml.safe_load(path.read_text())["deployments"]) if path.exists() else []


def table_rows(title: str, page: str = "README.md") -> list[str]:
    """Return the first cells of a page's table whose first column is ``title``."""
    text = (ROOT / page).read_text()
    match = re.search(rf"^\| *{title} *\|.*\n\|[-| :]+\|\n((?:\|.*\n?)+)", text, re.MULTILINE)
    assert match, f"{page} has no table of each {title}"
    return [row.split("|")[1].strip().strip("`") for row in match[1].splitlines()]


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()]


@pytest.mark.parametrize("path", modules(*PRODUCT), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    own = module_of(path)
    height = layer(own)
    assert height is not None
    others = [(name, other) for name in imports(path) if (other := layer(name)) is not None]

    assert not [name for name, other in others if other > height or is_beside(own, name)]


def test_every_package_of_the_library_has_its_place_in_the_order() -> None:
    packages = {path.name for path in (ROOT / "gainloop").iterdir() if (path / "__init__.py").exists()}

    assert packages == {name for names in ORDER for name in names}


def test_prefect_is_imported_in_flows_and_tasks_alone() -> None:
    below = modules("schemas", "gainloop")

    assert not [path for path in below if any(is_within(name, {"prefect"}) for name in imports(path))]


@pytest.mark.parametrize("folder", PURE)
def test_what_must_be_pure_opens_no_network_no_clock_and_no_global_chance(folder: str) -> None:
    for path in modules(f"gainloop/{folder}"):
        used = (set(imports(path, at_once=True)) | attributes(path)) - SEEDED
        assert not {name for name in used if is_within(name, NETWORK | CLOCK | CHANCE)}, path


@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_has_the_name_of_its_file_and_says_what_it_returns(name: str) -> None:
    flow = flow_named(name)

    assert flow.name == name
    assert (flow.fn.__doc__ or "").split()
    assert inspect.signature(flow.fn).parameters["profile"].default == "embedded"
    assert flow.flow_run_name


@pytest.mark.parametrize("deployment", deployments(), ids=lambda d: f"{d['entrypoint']}/{d['name']}")
def test_a_deployment_names_a_flow_and_real_parameters(deployment: dict[str, Any]) -> None:
    file, _, function = deployment["entrypoint"].partition(":")
    assert file == f"flows/{function}.py"
    flow = flow_named(function)
    given, known = deployment.get("parameters") or {}, inspect.signature(flow.fn, eval_str=True).parameters

    assert set(given) <= set(known)
    for name, value in given.items():
        TypeAdapter(known[name].annotation).validate_python(value)
    load_profile(given.get("profile", "embedded"))


def test_every_flow_has_a_deployment_and_a_name_is_given_once() -> None:
    named = [(deployment["entrypoint"], deployment["name"]) for deployment in deployments()]

    assert {entrypoint for entrypoint, _ in named} == {f"flows/{name}.py:{name}" for name in FLOWS}
    assert len(set(named)) == len(named)


def test_docs_deploy_tells_what_each_deployment_does() -> None:
    text = (ROOT / "docs" / "deploy.md").read_text()
    names = [f"{Path(one['entrypoint'].partition(':')[0]).stem}/{one['name']}" for one in deployments()]
    assert [name for name in names if f"`{name}`" not in text] == []


@pytest.mark.parametrize("deployment", deployments(), ids=lambda d: f"{d['entrypoint']}/{d['name']}")
def test_a_deployments_runs_are_heard_of_thrice_before_they_are_taken_for_crashed(deployment: dict[str, Any]) -> None:
    automations = yaml.safe_load((ROOT / "automations.yaml").read_text())["automations"]
    silent, *others = [automation["trigger"] for automation in automations]
    every = int(deployment["work_pool"]["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"])

    assert 3 * every < silent["within"]
    for trigger in (silent, *others):
        assert "prefect.tag.gainloop" in {one["prefect.resource.id"] for one in trigger["match_related"]}
    assert "gainloop" in deployment["tags"]


def test_the_documents_say_of_each_source_method_and_filter_what_its_class_says() -> None:
    pages = [page.read_text() for page in tables.PAGES]

    marks = [mark for page in pages for mark in re.findall(r"<!-- begin: (\w+) -->", page)]
    assert sorted(marks) == sorted(tables.WRITTEN)
    assert list(map(tables.written, pages)) == pages, "`make docs` writes them"


def test_the_command_that_is_installed_runs_the_flows_and_every_package_is_installed_with_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    module, _, function = project["project"]["scripts"]["gainloop"].partition(":")
    include = project["tool"]["setuptools"]["packages"]["find"]["include"]

    assert callable(getattr(import_module(module), function))
    packages = {path.relative_to(ROOT).parts[0] for path in modules(*PRODUCT)}
    assert packages <= {pattern.removesuffix("*") for pattern in include}
    assert not [path for path in modules(*PRODUCT) if not (path.parent / "__init__.py").exists()]


def test_every_measure_in_the_documents_is_a_module_or_function_of_the_measures() -> None:
    measuring = modules("gainloop/measures", "gainloop/reports", "gainloop/steering")
    names = {path.stem for path in measuring}
    for path in measuring:
        names |= {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}

    assert set(table_rows("measure", "docs/measures.md")) <= names


def test_the_readme_is_read_in_a_few_minutes() -> None:
    prose = tables.BLOCK.sub("", (ROOT / "README.md").read_text())  # its tables grow with what there is

    assert len(prose.splitlines()) <= 95


@pytest.mark.parametrize("page", ["README.md", "docs/measures.md"])
def test_a_question_that_the_documents_show_has_what_an_exam_needs(page: str) -> None:
    (shown,) = re.findall(r'\{"question": .*?\}', (ROOT / page).read_text())

    assert list(json.loads(shown)) == ["question", "answer", "document"]


def test_every_file_that_the_documents_link_to_is_there() -> None:
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.relative_to(ROOT)} links to {link}"


@pytest.mark.parametrize("path", modules(*PRODUCT), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_short_and_says_what_it_is(path: Path) -> None:
    text = path.read_text()

    assert len(text.splitlines()) <= 400
    assert ast.get_docstring(ast.parse(text))


def test_no_file_names_a_place_of_one_machine() -> None:
    private = re.compile(rb"(?<![\w.])/(?:work|home|root|Users|mnt)/\w.*")
    found = {str(path.relative_to(ROOT)): private.findall(path.read_bytes()) for path in tracked_files()}

    assert not {name: lines for name, lines in found.items() if lines}


def test_no_module_has_a_name_that_says_nothing() -> None:
    nothing = {"utils", "util", "helpers", "helper", "manager", "handler", "processor", "base", "common", "misc"}

    assert not [path for path in modules(*PRODUCT, "tests") if set(path.stem.split("_")) & nothing]
