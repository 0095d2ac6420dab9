"""What GitHub shows is what the code does: the saved outputs are those of a fresh run."""

import copy
import html
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from scripts.run_in_jupyterlab import copy_of_repository
from scripts.run_notebook import run

NOTEBOOK = Path(__file__).resolve().parents[2] / "memory_cookbook.ipynb"


@pytest.fixture(scope="module")
def saved():
    return nbformat.read(NOTEBOOK, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def normal(outputs):
    """Outputs without the bytes of pictures, which depend on fonts, and without times; one stream in one piece."""
    outputs = joined(copy.deepcopy(outputs))
    for output in outputs:
        if "image/png" in output.get("data", {}):
            output["data"]["image/png"] = "picture"
        if "text" in output:
            output["text"] = re.sub(r"\d+(\.\d+)? (s|ms|seconds)\b", "some time", output["text"])
    return outputs


def joined(outputs):
    whole = []
    for output in outputs:
        if whole and "text" in output and whole[-1].get("name") == output.name:
            whole[-1].text += output.text
        else:
            whole.append(output)
    return whole


@pytest.mark.timeout(300)
def test_the_saved_outputs_are_those_of_a_fresh_run(saved, monkeypatch, tmp_path):
    """The run is nbmake's, which fails at the first cell that does."""
    monkeypatch.setenv("MEMORY_COOKBOOK_OFFLINE", "1")
    notebook = copy_of_repository(tmp_path) / NOTEBOOK.name
    nbmake = [sys.executable, "-m", "pytest", "-q", "--nbmake", "--nbmake-timeout=200", "--overwrite"]
    subprocess.run([*nbmake, notebook], cwd=notebook.parent, check=True)
    fresh = nbformat.read(notebook, as_version=4)
    if tmp_path.stat().st_size != 4096 and not os.environ.get("CI"):
        pytest.skip(
            "this file system gives directories another size than ext4, and listings show it; CI has ext4"
        )
    for was, now in zip(code_cells(saved), code_cells(fresh), strict=True):
        assert normal(was.outputs) == normal(now.outputs), (
            f"run `make notebook`: cell {was.id} says something else"
        )


def test_execution_counts_are_1_to_n(saved):
    counts = [cell.execution_count for cell in code_cells(saved)]
    assert counts == list(range(1, len(counts) + 1))


def test_no_cell_has_an_error_and_none_writes_to_stderr(saved):
    for cell in code_cells(saved):
        for output in cell.outputs:
            assert output.output_type != "error", cell.id
            assert output.get("name") != "stderr", cell.id


def test_every_cell_has_an_id_of_its_own_and_no_timing(saved):
    ids = [cell.id for cell in saved.cells]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z][a-z0-9-]*", cell_id) for cell_id in ids), (
        "an id says what the cell is about"
    )
    assert not any("execution" in cell.metadata for cell in saved.cells)


def test_cells_and_outputs_are_short_enough_to_read(saved):
    for cell in code_cells(saved):
        assert len(cell.source.splitlines()) <= 25, f"cell {cell.id} is too long"
        for output in cell.outputs:
            text = output.get("text") or output.get("data", {}).get("text/plain", "")
            assert len(text.splitlines()) <= 40, f"the output of cell {cell.id} is too long"


def test_no_output_line_is_too_long_to_read(saved):
    for cell in code_cells(saved):
        lines = [line for output in cell.outputs for line in output.get("text", "").splitlines()]
        assert max(map(len, lines), default=0) <= 100, cell.id


def pictures(notebook):
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    return [output for output in outputs if "image/png" in output.get("data", {})]


def alt_of(picture):
    return picture.metadata.get("image/png", {}).get("alt", "")


def test_every_picture_has_a_text_for_who_cannot_see_it(saved):
    assert pictures(saved)
    for picture in pictures(saved):
        assert len(alt_of(picture)) > 40


def test_the_picture_in_the_readme_has_the_text_of_the_first_one_here(saved):
    readme = NOTEBOOK.with_name("README.md").read_text(encoding="utf-8")
    assert re.findall(r"!\[([^\]]*)\]\(.*?\.png\)", readme) == [alt_of(pictures(saved)[0])]


def test_every_picture_keeps_its_text_in_the_exported_html(saved, tmp_path):
    """By the command of `make html`, with the saved outputs."""
    makefile = NOTEBOOK.with_name("Makefile").read_text(encoding="utf-8")
    [options] = re.findall(r"^\t\$\(BIN\)/jupyter nbconvert (.*)$", makefile, flags=re.M)
    command = [sys.executable, "-m", "nbconvert", *options.split(), "--output-dir", str(tmp_path)]
    subprocess.run(command, cwd=NOTEBOOK.parent, check=True, capture_output=True)
    page = (tmp_path / "memory_cookbook.html").read_text(encoding="utf-8")
    texts = [re.search('alt="([^"]*)"', image)[1] for image in re.findall("<img[^>]*>", page)]
    assert list(map(html.unescape, texts)) == [alt_of(picture) for picture in pictures(saved)]


def test_it_finds_its_modules_whatever_folder_the_kernel_starts_in(saved, tmp_path, monkeypatch):
    monkeypatch.setenv("MEMORY_COOKBOOK_OFFLINE", "1")
    monkeypatch.setenv("JPY_SESSION_NAME", str(NOTEBOOK))
    elsewhere = tmp_path / "elsewhere.ipynb"
    connects = copy.deepcopy(next(cell for cell in code_cells(saved) if cell.id == "connect"))
    nbformat.write(nbformat.v4.new_notebook(cells=[connects]), elsewhere)
    [cell] = run(elsewhere, timeout=60).cells
    assert "not Claude" in cell.outputs[0].text
