"""The prose names only what exists: links, files, functions, parameters, models."""

import io
import re
import subprocess
import tokenize
from pathlib import Path

import anthropic.types.beta
import nbformat
import pytest
from anthropic._data import DEPRECATED_MODELS

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = nbformat.read(ROOT / "memory_cookbook.ipynb", as_version=4)
TEXT = "\n\n".join(cell.source for cell in NOTEBOOK.cells if cell.cell_type == "markdown")
PROSE = re.sub(r"^```.*?^```", "", TEXT, flags=re.M | re.S)
LINKS = re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", PROSE)
SPANS = sorted(set(re.findall(r"`([^`]+)`", PROSE)))


def words_of(source):
    """Names, and the words inside of strings, of Python source."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.NAME, tokenize.STRING):
            yield from {*re.findall(r"\w+", token.string), *re.findall(r"[\w.@-]+", token.string)}


@pytest.fixture(scope="module")
def known_words():
    files = [ROOT / "memory_tool.py", *ROOT.glob("memory_*.py"), *(ROOT / "memory_demo").rglob("*.py")]
    files += Path(anthropic.types.beta.__file__).parent.glob("beta_*param.py")
    words = {word for file in files for word in words_of(file.read_text(encoding="utf-8"))}
    cells = "\n".join(cell.source for cell in NOTEBOOK.cells if cell.cell_type == "code")
    words |= set(words_of(cells))
    for name in (".gitignore", ".env.example", "Makefile"):
        words |= set(re.findall(r"[\w.-]+", (ROOT / name).read_text(encoding="utf-8")))
    return words


def test_every_link_is_absolute_or_a_file_here():
    assert len(LINKS) > 3
    for link in LINKS:
        assert link.startswith(("https://", "#")) or (ROOT / link).exists(), link


def test_every_anchor_is_one_in_github_vscode_and_jupyterlab():
    """JupyterLab keeps capitals where the others do not, so headings that are linked to have none."""
    anchors = {
        heading.replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", TEXT, flags=re.M)
        if heading.islower()
    }
    assert {link[1:] for link in LINKS if link.startswith("#")} <= anchors


@pytest.mark.parametrize("span", SPANS)
def test_what_stands_in_backticks_exists(span, known_words):
    first, *rest = span.split()
    if first == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M)
        assert rest[0] in targets
    elif first in ("cp", "python", "pip"):
        assert all((ROOT / word).exists() or word == ".env" for word in rest if word.startswith("."))
    elif re.search(r"[/\\]", first) and not first.startswith("/memories"):
        tracked = subprocess.run(
            ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        assert (ROOT / first).exists() or first.rstrip("/\\") in tracked or first.startswith(".venv")
    else:
        unknown = {word for word in re.findall(r"[A-Za-z_]\w*", span) if word not in known_words}
        assert not unknown or (ROOT / span).exists() or span in known_words, (
            f"{unknown} in no file of this project"
        )


def test_no_model_is_named_that_is_deprecated():
    named = set(re.findall(r"claude-[a-z]+-[\d-]+\d", TEXT))
    assert not named & set(DEPRECATED_MODELS)
