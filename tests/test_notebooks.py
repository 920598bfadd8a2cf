"""Every notebook runs from top to bottom, and is stored with its outputs.

Run as a program, this file executes the notebooks and stores what they show.
"""

import re
import sys
import tempfile
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
# What a newer Python will no longer like in the runner's own packages is not the notebooks' affair.
RUNNER = r"jupyter_client|jupyter_core|nbclient|nbformat|zmq|tornado|asyncio"


def execute(path, folder):
    """Run a notebook in a kernel of this interpreter; an error in a cell is raised."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute()
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


@pytest.fixture
def own_folders(tmp_path, monkeypatch):
    """The kernel finds this source tree, and nothing of it is left in the user's home."""
    pytest.importorskip("nbclient", reason="running notebooks needs nbclient")
    pytest.importorskip("ipykernel", reason="running notebooks needs ipykernel")
    pytest.importorskip("matplotlib", reason="the notebooks draw with matplotlib")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


@every_notebook
def test_notebook_runs(path, own_folders):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=RUNNER)
        notebook = execute(path, own_folders)
    assert not list(own_folders.iterdir())  # a tutorial leaves nothing behind
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            assert output.get("name") != "stderr", output["text"]


@every_notebook
def test_notebook_is_stored_with_small_outputs(path):
    nbformat = pytest.importorskip("nbformat", reason="reading notebooks needs nbformat")
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert any(cell.outputs for cell in code)
    text = path.read_text(encoding="utf-8")
    assert len(text) < 200_000
    assert not re.search(r'"(/home|/root|/tmp|/Users)/', text)  # a path of whoever ran it last


def test_there_are_notebooks():
    assert NOTEBOOKS


if __name__ == "__main__":
    import nbformat

    for each in [Path(name) for name in sys.argv[1:]] or NOTEBOOKS:
        with tempfile.TemporaryDirectory() as scratch:
            nbformat.write(execute(each, scratch), each)
