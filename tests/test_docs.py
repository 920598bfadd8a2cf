"""Examples run, what is public is documented, and references can be followed."""

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import wlrmf

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "docs" / "start.md", *sorted((ROOT / "docs" / "howto").glob("*.md"))]
MODULES = [
    info.name
    for info in pkgutil.walk_packages(wlrmf.__path__, "wlrmf.")
    if not info.name.startswith(("wlrmf.data.build", "wlrmf.cli"))
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    outcome = doctest.testmod(importlib.import_module(name))
    assert outcome.failed == 0


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_code_of_the_pages(path, tmp_path, monkeypatch):
    for package in ("matplotlib", "pandas", "pyarrow", "sklearn"):
        pytest.importorskip(package, reason=f"the pages use {package}")
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL):
        exec(compile(block, path.name, "exec"), names)
    assert names
    assert not list(tmp_path.iterdir())


def test_links_of_the_pages():
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
            assert (path.parent / link).exists(), f"{path.name}: {link}"


@pytest.mark.parametrize("name", [n for n in wlrmf.__all__ if n != "__version__"])
def test_what_is_public_is_documented(name):
    thing = getattr(wlrmf, name)
    assert inspect.getdoc(thing)


def test_every_argument_of_fit_is_described():
    text = inspect.getdoc(wlrmf.fit)
    for name in inspect.signature(wlrmf.fit).parameters:
        assert f"\n{name} : " in text or f", {name} : " in text, name


def test_references_can_be_followed():
    """A doi or an arXiv number is whole and on one line, and of one year wherever it is given."""
    form = {"doi:": r"10\.\d{4,5}/[^\s;,]*\w", "arXiv:": r"\d{4}\.\d{4,5}\b"}
    years = {}
    for path in Path(wlrmf.__file__).parent.rglob("*.py"):
        text = path.read_text()
        for found in re.finditer(r"\b(doi:|arXiv:)", text):
            number = re.match(form[found[0]], text[found.end() :])
            assert number, f"{path.name}: {text[found.start() : found.end() + 40]}"
            year = re.findall(r"\b(?:19|20)\d\d\b", text[: found.start()])[-1]
            years.setdefault(number[0], {})[year] = path.name
    assert len(years) > 20  # they are found
    assert not {number: seen for number, seen in years.items() if len(seen) > 1}
