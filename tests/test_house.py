"""The plan of the house, read from the sources."""

import ast
import hashlib
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "wlrmf"

# A module imports only from floors below its own, or from its own room. First match wins.
FLOORS = {
    "kernels": 0,
    "validation": 0,
    "result": 0,
    "quartic": 0,
    "diagnostics": 0,
    "display": 0,
    "progress": 0,
    "files": 0,
    "version": 0,
    "data": 0,
    "archive": 1,
    "leading": 0,
    "problem": 1,
    "spectral": 2,
    "gradients": 2,
    "objective": 2,
    "solvers.base": 4,
    "solvers": 5,
    "model_file": 4,
    "again": 4,
    "folding": 4,
    "certificate": 3,
    "uncertainty": 3,
    "checkpoint": 5,
    "model": 6,
    "path": 6,
    "start": 7,
    "growth": 8,
    "runs": 8,
    "fit": 9,
    "io": 10,
    "plot": 10,
    "metrics": 1,
    "splits": 1,
    "top": 1,
    "selection": 11,
    "estimator": 11,
    "recommender": 12,
    "distributed": 12,
    "demo": 12,
    "cli": 13,
    "__main__": 14,
}
ITEMS = range(1, 83)
TILES = ("vectors.py", "tiles.py", "gathers.py")  # written as LLVM code
SOURCES = sorted(p for p in ROOT.rglob("*.py") if p.name != "__init__.py" or p.parent != ROOT)
every_file = pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(module):
    found = max(
        (r for r in FLOORS if module == r or module.startswith(r + ".")), key=len, default=None
    )
    assert found is not None, f"{module} has no floor: give it one"
    return found


def imports(path):
    """Modules of this package that a file imports, lazily too."""
    package = module_name(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            module = [*base, *(node.module or "").split(".")]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "wlrmf":
            module = node.module.split(".")[1:]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("wlrmf."):
                    yield alias.name.removeprefix("wlrmf.")
            continue
        else:
            continue
        module = [part for part in module if part]
        for alias in node.names:
            here = ROOT.joinpath(*module)
            inside = (here / f"{alias.name}.py").exists() or (here / alias.name).is_dir()
            name = ".".join([*module, alias.name] if inside else module)
            if name:
                yield name


@every_file
def test_imports_go_down(path):
    own = room(module_name(path))
    for other in imports(path):
        target = room(other)
        assert target == own or FLOORS[target] < FLOORS[own], f"{own} imports {other}"


@every_file
def test_files_and_functions_are_small(path):
    text = path.read_text()
    lines = len(text.splitlines())
    limit = 600 if path.parent.name == "kernels" else 400
    if path.parent.name == "solvers" and path.name not in ("base.py", "__init__.py"):
        limit = 150
    assert lines <= limit
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            length = node.end_lineno - body[0].lineno + 1 if body else 0
            assert length <= 50, f"{node.name} has {length} lines"


@pytest.mark.parametrize("path", sorted((ROOT / "kernels").glob("*.py")), ids=lambda p: p.name)
def test_kernels_stand_alone(path):
    """A cached kernel is renewed when its own file changes; helpers elsewhere would go stale."""
    if path.name in ("__init__.py", "_jit.py", "chunks.py", *TILES):
        return
    assert set(imports(path)) <= {"kernels._jit", *(f"kernels.{name[:-3]}" for name in TILES)}


@pytest.mark.parametrize("name", ["rows", "sparse", "steps", "dense", "top"])
def test_kernels_made_of_tiles_are_renewed_with_them(name):
    module = importlib.import_module(f"wlrmf.kernels.{name}")
    text = b"".join((ROOT / "kernels" / tiles).read_bytes() for tiles in TILES)
    assert hashlib.sha256(text).hexdigest()[:12] == module.TILES, "write the new digest there"


def test_flags_are_declared_once():
    for path in SOURCES:
        text = path.read_text()
        if path.name != "_jit.py":
            assert "fastmath" not in text, path
            assert "njit" not in text, path
        assert "parallel=True" not in text, path
    from wlrmf.kernels._jit import FASTMATH

    assert not FASTMATH & {"nnan", "ninf", "fast"}


def test_nothing_is_unpickled_evaluated_or_run():
    modules = {"pickle", "marshal", "shelve", "subprocess", "socket", "urllib", "http", "joblib"}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [getattr(node, "module", None) or "", *(name.name for name in node.names)]
                assert not {name.split(".")[0] for name in names} & modules, path
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("eval", "exec", "compile", "__import__", "os.system"), path
                keywords = {each.arg: each.value for each in node.keywords}
                if called == "np.load":
                    assert ast.unparse(keywords["allow_pickle"]) == "False", path


def test_no_print_outside_the_command_line():
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                allowed = path.name in ("cli.py", "build_nyc_delays.py")
                assert allowed or node.func.id != "print", path


def test_every_item_of_the_reliability_list_has_a_test_with_its_number():
    carried, listed = set(), set()
    for path in Path(__file__).parent.glob("*.py"):
        carried |= set(re.findall(r"\bR(\d\d)\b", path.read_text()))
    page = (ROOT.parent / "benchmarks" / "reliability.md").read_text()
    listed = set(re.findall(r"^\| R(\d\d) \|", page, re.MULTILINE))
    wanted = {f"{item:02}" for item in ITEMS}
    assert not wanted - carried, "items that no test carries"
    assert not wanted - listed, "items that the page does not have"
