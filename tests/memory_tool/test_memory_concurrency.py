"""A directory of files in forked processes, from another working directory, and the descriptors it opens."""

from __future__ import annotations

import os
import subprocess
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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks; CI runs Linux and macOS")
@pytest.mark.parametrize("thread", ["idle", "in a change"])
def test_no_version_of_a_forked_process_is_lost(tmp_path: Path, thread: str) -> None:
    """SQLite's locks in a process are that process's: with a connection of its parent, a child would take none."""
    code = (
        "import os, sys, threading\n"
        "from memory_tool import MemoryToolHandler\n"
        "handler = MemoryToolHandler(sys.argv[1], history=True)\n"
        "def create(name):\n"
        "    assert 'success' in handler.execute(command='create', path=f'/memories/{name}', file_text='x')\n"
        "create('before')\n"
        "begun, forked = threading.Event(), threading.Event()\n"
        "def slow():\n"
        "    with handler.history.change() as change:\n"
        "        change.write(('slow',), b'x')\n"
        "        begun.set()\n"
        "        forked.wait(0.2)\n"
        "if sys.argv[2] == 'in a change':\n"
        "    threading.Thread(target=slow).start()\n"
        "    begun.wait()\n"
        "(wait, tell), (wait_for_parent, tell_child) = os.pipe(), os.pipe()\n"
        "if not os.fork():\n"
        "    create('child')\n"
        "    os.write(tell, b'x')\n"
        "    os.read(wait_for_parent, 1)\n"
        "    create('child again')\n"
        "    os._exit(0)\n"
        "os.read(wait, 1)\n"
        "handler.store.close()\n"
        "os.write(tell_child, b'x')\n"
        "assert os.wait()[1] == 0\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), thread], cwd=Path(__file__).parents[2], timeout=60
    )
    assert run.returncode == 0
    handler = MemoryToolHandler(tmp_path, history=True)
    paths = {version.path for version in handler.history.versions()}
    assert paths == {f"/memories/{'/'.join(entry.path)}" for entry in handler.store.entries() if entry.path}
    assert {"/memories/before", "/memories/child", "/memories/child again"} <= paths


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks; CI runs Linux and macOS")
def test_a_fork_in_a_change_that_does_not_end_leaves_a_store_that_can_be_used(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys, threading\n"
        "from memory_stores import FileStore, file_versions\n"
        "file_versions.FORK_SECONDS = 0.05\n"
        "store, begun, forked = FileStore(sys.argv[1]), threading.Event(), threading.Event()\n"
        "def slow():\n"
        "    with store.change() as change:\n"
        "        begun.set()\n"
        "        forked.wait()\n"
        "thread = threading.Thread(target=slow)\n"
        "thread.start()\n"
        "begun.wait()\n"
        "if not os.fork():\n"
        "    signal.alarm(20)\n"
        "    with store.change() as change:\n"
        "        change.write(('child',), b'x')\n"
        "    os._exit(0)\n"
        "forked.set()\n"
        "thread.join()\n"
        "assert os.wait()[1] == 0\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    assert subprocess.run(command, cwd=Path(__file__).parents[2], timeout=60).returncode == 0
    assert (tmp_path / "memories" / "child").exists()


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
