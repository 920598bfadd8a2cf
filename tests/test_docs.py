"""Examples run, and what is public is documented."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import wlrmf

MODULES = [
    info.name
    for info in pkgutil.walk_packages(wlrmf.__path__, "wlrmf.")
    if not info.name.startswith(("wlrmf.data.build", "wlrmf.cli"))
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    outcome = doctest.testmod(importlib.import_module(name))
    assert outcome.failed == 0


@pytest.mark.parametrize("name", [n for n in wlrmf.__all__ if n != "__version__"])
def test_what_is_public_is_documented(name):
    thing = getattr(wlrmf, name)
    assert inspect.getdoc(thing)


def test_every_argument_of_fit_is_described():
    text = inspect.getdoc(wlrmf.fit)
    for name in inspect.signature(wlrmf.fit).parameters:
        assert f"\n{name} : " in text or f", {name} : " in text, name
