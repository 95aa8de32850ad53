import ast
import graphlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import blemish

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "blemish"
MODULES = {
    ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(SOURCE.rglob("*.py"))
}
ROWS = {
    **dict.fromkeys(["errors", "presets", "records", "version"], 1),
    **dict.fromkeys(
        ["config", "generator_config", "runtime", "hardware", "randomness", "artifacts"], 2
    ),
    **dict.fromkeys(["data", "synthesis", "diffusion", "metrics", "training"], 3),
    **dict.fromkeys(["networks", "verdicts"], 4),
    **dict.fromkeys(["backbones"], 5),
    **dict.fromkeys(["detection", "generation"], 6),
    **dict.fromkeys(["experiments", "deploy"], 7),
    **dict.fromkeys(["cli"], 8),
    **dict.fromkeys(["__main__"], 9),
}
FIRST_PRIVATE_ROW = 3
LONGEST = 350
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "misc"}


def room(module: str) -> str:
    return module.split(".")[1]


def imports(module: str, *, with_types: bool) -> Iterator[str]:
    """Yield the modules of the package that a module imports, at its top or later on."""
    waiting: list[ast.AST] = [ast.parse(MODULES[module].read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not with_types:
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                if full in MODULES or node.module in MODULES:
                    yield full if full in MODULES else str(node.module)


def documented_equations() -> list[tuple[str, str]]:
    """Return source and dotted path of each row of docs/equations.md that names a function."""
    page = (ROOT / "docs" / "equations.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \| `(blemish\.[\w.]+)` \|", page, re.MULTILINE)
    return [(source.strip(), path) for source, path in rows]


def resolve(path: str) -> object:
    parts = path.split(".")
    split = max(n for n in range(1, len(parts) + 1) if ".".join(parts[:n]) in MODULES)
    found: object = importlib.import_module(".".join(parts[:split]))
    for name in parts[split:]:
        found = getattr(found, name)
    return found


def tracked_files() -> list[Path]:
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    files = (ROOT / name for name in listed.stdout.split("\0") if name)
    return [file for file in files if file.is_file()]


def test_every_room_has_a_row_and_every_row_names_a_room():
    assert {room(module) for module in MODULES if "." in module} == set(ROWS)


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"blemish"}))
def test_a_module_imports_from_rows_above_or_its_own_room(module):
    here = room(module)
    wrong = []
    for other in imports(module, with_types=True):
        there = room(other) if "." in other else "the package itself"
        row = ROWS.get(there, max(ROWS.values()) + 1)
        neighbours = row == ROWS[here] < FIRST_PRIVATE_ROW
        if not (there == here or row < ROWS[here] or neighbours):
            wrong.append(other)
    assert not wrong, f"{module} (row {ROWS[here]}) imports {wrong}"


def test_no_import_comes_back_to_where_it_started():
    graph = {module: set(imports(module, with_types=False)) - {module} for module in MODULES}
    graphlib.TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_is_short_enough_to_be_one_thing(module):
    lines = MODULES[module].read_text(encoding="utf-8").count("\n")
    assert lines <= LONGEST, f"{module} has {lines} lines and is asking to be two"


def test_every_module_has_found_its_name():
    assert not {module for module in MODULES if BANNED_NAMES & set(module.split("."))}


def test_only_a_named_device_is_ever_asked_for():
    moves = [
        f"{module}:{node.lineno}"
        for module, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "cuda"
    ]
    assert not moves, "write .to(device): .cuda() fails wherever there is no such card"


@pytest.mark.parametrize("name", blemish.__all__)
def test_a_public_name_can_be_imported_and_says_what_it_is(name):
    found = getattr(blemish, name)
    assert isinstance(found, str) or inspect.getdoc(found)


def test_an_unknown_name_of_the_package_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'detectr'"):
        _ = blemish.detectr


@pytest.mark.parametrize("words", ["import blemish", "import blemish.cli; blemish.cli.parser()"])
def test_neither_the_package_nor_its_help_waits_for_torch(words):
    program = f"import sys; {words}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(("source", "path"), documented_equations())
def test_the_function_of_an_equation_names_its_source(source, path):
    words = " ".join((inspect.getdoc(resolve(path)) or "").split())
    missing = [part for part in re.split(r"[,;] ", source) if part not in words]
    assert not missing, f"{path} does not name {missing}"


@pytest.mark.parametrize("paper", ["DiffusionAD", "AnomalyDiffusion"])
def test_every_equation_of_a_paper_that_the_code_cites_has_an_address(paper):
    documented = {path for _, path in documented_equations()}
    cited = set()
    for module, path in MODULES.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and re.search(
                rf"\({paper}, Eq\. \d", ast.get_docstring(node) or ""
            ):
                cited.add(f"{module}.{node.name}")
    assert cited
    assert cited <= documented


@pytest.mark.parametrize(
    ("paper", "numbers"),
    [
        ("DiffusionAD", ["1", "3", "6", "7 and 8", "9", "10", "11", "12"]),
        ("AnomalyDiffusion", ["1", "7", "8", "10"]),
    ],
)
def test_each_equation_that_is_built_has_an_address(paper, numbers):
    sources = {source for source, _ in documented_equations()}
    assert {f"{paper}, Eq. {number}" for number in numbers} <= sources


def test_the_page_of_settings_is_what_the_settings_say():
    location = ROOT / "docs" / "make_configuration.py"
    spec = importlib.util.spec_from_file_location("make_configuration", location)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    written = script.PAGE.read_text(encoding="utf-8")
    assert written == script.page(), "run: python docs/make_configuration.py"


def test_the_version_is_told_once_and_the_changelog_knows_it():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    dynamic = project["tool"]["setuptools"]["dynamic"]["version"]
    assert dynamic == {"attr": "blemish.version.__version__"}
    assert importlib.metadata.version("blemish") == blemish.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    first, *released = re.findall(r"^## \[([^\]]+)\]", changelog, re.MULTILINE)
    assert first == "Unreleased"
    assert released[:1] in ([], [blemish.__version__])


def test_no_file_names_a_folder_of_somebodys_machine():
    private = re.compile(r"(?<![\w.:/])(?:/(?:home|root|Users)/\w|[A-Z]:\\Users\\\w)")
    found = [
        f"{file.relative_to(ROOT)}: {match[0]}"
        for file in tracked_files()
        for match in private.finditer(file.read_bytes().decode("utf-8", "ignore"))
    ]
    assert not found
