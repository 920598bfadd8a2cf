"""The README's and CONTRIBUTING's code runs as it stands."""

import importlib.util
import re
from pathlib import Path

import numpy as np

import wlrmf

ROOT = Path(__file__).parent.parent


def test_the_examples_of_the_readme(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 8
    if importlib.util.find_spec("sklearn") is None:
        blocks = blocks[:-1]
    names = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
        assert names["model"].success
        assert len(block.strip().splitlines()) <= 10
    np.testing.assert_allclose(names["filled"].shape, (60, 40))
    assert 0.9 < names["chi2"] < 1.1
    assert (names["low"] < names["high"]).all()
    assert (names["of_new"] > names["std"]).all()
    assert wlrmf.load("ratings.npz").rank == 2
    assert names["likes"].user_ids[-1] == "zoe"
    assert names["found"].rank == 2
    assert "reduced chi-squared" in capsys.readouterr().out


def test_the_solver_of_the_recipe():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    code = re.search(r"( {7}@dataclass.*?)\n\n {3}\S", text, re.DOTALL)[1]
    names = {}
    header = "from dataclasses import dataclass\nfrom typing import ClassVar\n"
    exec(header + re.sub(r"^ {7}", "", code, flags=re.MULTILINE), names)
    Y = np.random.default_rng(1).standard_normal((9, 7))
    Y[0, 0] = np.nan
    model = wlrmf.fit(Y, rank=2, solver=names["Mine"](), stop=wlrmf.Stop(max_iter=5))
    assert model.n_iter == 5
    assert (np.diff(model.trace.value) < 0).all()
