"""The notebook in a real JupyterLab, in a real browser, as a person runs it: Run All from the menu."""

import os

import pytest

from scripts.run_in_jupyterlab import browser, copy_of_repository, run_all


@pytest.mark.timeout(300)
@pytest.mark.skipif(
    browser() is None and not os.environ.get("CI"),
    reason="needs Chromium, which CI installs; install it to run this",
)
def test_run_all_has_no_error_and_every_figure_is_visible(tmp_path, monkeypatch):
    monkeypatch.setenv("MEMORY_COOKBOOK_OFFLINE", "1")
    picture = tmp_path / "figure.png"
    seen = run_all(copy_of_repository(tmp_path), picture)
    assert seen.errors == ()
    assert seen.cells_run == seen.code_cells > 10
    assert seen.visible_figures >= 1
    assert seen.formulas == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
