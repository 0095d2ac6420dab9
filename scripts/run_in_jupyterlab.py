"""Open the notebook in a real JupyterLab, in headless Chromium, choose Run All Cells, and look at what a person sees.

    python scripts/run_in_jupyterlab.py --screenshot docs/tokens_per_turn.png

Works on a copy, so the notebook itself is not changed. Needs Chromium or Chrome on this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = "memory_cookbook.ipynb"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SECONDS = 120


@dataclass(frozen=True)
class Seen:
    """What was in the notebook after Run All."""

    code_cells: int
    cells_run: int
    errors: tuple[str, ...]
    visible_figures: int
    formulas: int


def browser() -> str | None:
    """The path of an installed Chromium or Chrome."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def run_all(folder: Path, screenshot: Path | None = None) -> Seen:
    """Run every cell of the notebook in `folder` from JupyterLab's menu; save a picture of the token figure."""
    with _jupyterlab(folder) as url, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=browser(), args=["--no-sandbox", "--disable-background-networking"]
        )
        page = chromium.new_page(viewport={"width": 1200, "height": 900})
        page.goto(f"{url}/lab/tree/{NOTEBOOK}", timeout=SECONDS * 1000)
        page.locator(".jp-Notebook .jp-CodeCell").first.wait_for(timeout=SECONDS * 1000)
        # Cells that are run before the kernel has answered are lost.
        page.get_by_text("| Idle").wait_for(timeout=SECONDS * 1000)
        _clear_outputs(page)
        _choose(page, "Run", "Run All Cells")
        page.wait_for_function(_ENDED, timeout=SECONDS * 1000)
        seen = _look(page)
        if screenshot is not None and not seen.errors:
            cell = page.locator(".jp-CodeCell", has_text="plot_sessions(")
            figure = cell.locator("img").first
            figure.scroll_into_view_if_needed()
            figure.screenshot(path=str(screenshot))
        chromium.close()
    return seen


_FIGURES = ".jp-OutputArea-output img"
# What JupyterLab took for mathematics: two prices in one line of Markdown are read as $...$.
_FORMULAS = ".jp-RenderedMarkdown mjx-container, .jp-RenderedMarkdown .MathJax"
_PROMPTS = "[...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(p => p.textContent.trim())"
# JupyterLab shows a traceback as it shows stderr, and the notebook should write nothing there either.
_ERRORS = (
    "[data-mime-type='application/vnd.jupyter.error'], [data-mime-type='application/vnd.jupyter.stderr']"
)
# An error ends Run All, so there is nothing to wait for after one.
_ENDED = rf"""() => {{
    const prompts = {_PROMPTS};
    const allRun = prompts.length > 0 && prompts.every(text => /^\[\d+\]:$/.test(text));
    return allRun || document.querySelector("{_ERRORS}") !== null;
}}"""


def _clear_outputs(page: Page) -> None:
    _choose(page, "Edit", "Clear Outputs of All Cells")


def _choose(page: Page, menu: str, item: str) -> None:
    page.locator("#jp-MainMenu").get_by_text(menu, exact=True).click()
    page.locator(".lm-Menu-itemLabel").get_by_text(item, exact=True).click()


def _look(page: Page) -> Seen:
    prompts = page.evaluate(_PROMPTS)
    errors = page.locator(_ERRORS).all_inner_texts()
    figures = page.locator(_FIGURES)
    visible = 0
    for index in range(figures.count()):
        figure = figures.nth(index)
        figure.scroll_into_view_if_needed()
        visible += figure.is_visible() and figure.evaluate("image => image.naturalWidth > 0")
    run = sum(bool(re.fullmatch(r"\[\d+\]:", prompt)) for prompt in prompts)
    return Seen(len(prompts), run, tuple(errors), visible, page.locator(_FORMULAS).count())


@contextmanager
def _jupyterlab(folder: Path) -> Iterator[str]:
    """A JupyterLab server on loopback, with settings of its own: every cell in the page, no news, no help."""
    with tempfile.TemporaryDirectory() as home:
        settings = Path(home) / "lab-settings" / "@jupyterlab"
        _write_settings(
            settings / "notebook-extension" / "tracker.jupyterlab-settings", {"windowingMode": "none"}
        )
        _write_settings(
            settings / "apputils-extension" / "notification.jupyterlab-settings",
            {"fetchNews": "false", "checkForUpdates": False},
        )
        command = [
            sys.executable,
            "-m",
            "jupyterlab",
            "--no-browser",
            "--ip=127.0.0.1",
            "--port=0",
            "--allow-root",
        ]
        command += [
            "--IdentityProvider.token=",
            "--ServerApp.disable_check_xsrf=True",
            f"--notebook-dir={folder}",
        ]
        environment = {
            **os.environ,
            "JUPYTERLAB_SETTINGS_DIR": str(settings.parent),
            "JUPYTER_CONFIG_DIR": home,
            "JUPYTER_RUNTIME_DIR": str(Path(home) / "runtime"),
            "JUPYTERLAB_WORKSPACES_DIR": str(Path(home) / "workspaces"),
        }
        log = Path(home) / "server.log"
        with (
            log.open("w", encoding="utf-8") as output,
            subprocess.Popen(command, env=environment, stdout=output, stderr=output) as server,
        ):
            try:
                yield _address(log, server)
            finally:
                server.terminate()


def _write_settings(path: Path, settings: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(settings), encoding="utf-8")


def _address(log: Path, server: subprocess.Popen[bytes]) -> str:
    """The address that the server printed when it was ready."""
    for _ in range(SECONDS * 10):
        found = re.search(r"http://127\.0\.0\.1:\d+", log.read_text(encoding="utf-8"))
        if found:
            return found.group()
        if server.poll() is not None:
            break
        time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text(encoding='utf-8')}")


def copy_of_repository(target: Path) -> Path:
    """The files that the notebook needs, in a folder of their own."""
    for package in ("memory_demo", "memory_stores"):
        shutil.copytree(ROOT / package, target / package)
    for file in (ROOT / NOTEBOOK, *ROOT.glob("memory_*.py")):
        shutil.copy(file, target)
    return target


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Run the notebook in JupyterLab, in a browser.")
    parser.add_argument("--screenshot", type=Path, help="save a picture of the token figure here")
    arguments = parser.parse_args(argv)
    if browser() is None:
        print("No Chromium or Chrome was found; install one and run this again.", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        seen = run_all(copy_of_repository(Path(folder)), arguments.screenshot)
    print(f"{seen.cells_run} of {seen.code_cells} code cells run, {seen.visible_figures} figures visible")
    for error in seen.errors:
        print(error, file=sys.stderr)
    return 1 if seen.errors else 0


if __name__ == "__main__":
    sys.exit(main())
