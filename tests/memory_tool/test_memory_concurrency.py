"""A directory of files in forked processes, from another working directory, and the descriptors it opens."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from memory_tool import MemoryToolHandler

M = "/memories"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform; CI runs Linux and macOS")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_handler_works_after_a_fork(handler: MemoryToolHandler, root: Path) -> None:
    handler.execute(command="create", path=f"{M}/f", file_text="parent\n")
    child = os.fork()
    if child == 0:
        answer = handler.execute(command="insert", path=f"{M}/f", insert_line=1, insert_text="child")
        os._exit(0 if "success" in answer else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert "success" in handler.execute(
        command="insert", path=f"{M}/f", insert_line=2, insert_text="parent again"
    )
    assert (root / "f").read_text(encoding="utf-8") == "parent\nchild\nparent again\n"


def test_working_directory_may_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    handler = MemoryToolHandler("relative")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert "success" in handler.execute(command="create", path=f"{M}/f", file_text="x")
    assert (tmp_path / "relative" / "memories" / "f").exists()


@pytest.mark.skipif(
    sys.platform == "win32", reason="counts descriptors through /dev/fd; CI runs Linux and macOS"
)
def test_no_descriptor_is_left_open(handler: MemoryToolHandler, root: Path) -> None:
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "f").write_bytes(b"\xff")
    before = len(list(Path("/dev/fd").iterdir()))
    for _ in range(5):
        for path in (M, f"{M}/a", f"{M}/a/b/f", f"{M}/a/b/f/x", f"{M}/none/x", f"{M}/a/{'n' * 300}/x"):
            handler.execute(command="view", path=path)
            handler.execute(command="create", path=f"{path}/x", file_text="x")
            handler.execute(command="insert", path=path, insert_line=7, insert_text="x")
            handler.execute(command="rename", old_path=path, new_path=f"{M}/new/new/new")
    assert len(list(Path("/dev/fd").iterdir())) == before
