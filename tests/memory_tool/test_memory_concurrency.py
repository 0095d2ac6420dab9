"""Threads and processes that work on one directory."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from memory_tool import MemoryToolHandler

M = "/memories"
EDITS = 25


def _edit(base: Path, worker: int) -> None:
    handler = MemoryToolHandler(base)
    for number in range(EDITS):
        line = f"{worker}-{number}"
        if number % 2:
            answer = handler.execute(command="insert", path=f"{M}/log", insert_line=1, insert_text=line)
        else:
            answer = handler.execute(
                command="str_replace", path=f"{M}/log", old_str="end", new_str=f"{line}\nend"
            )
        assert "success" in answer, answer


@pytest.mark.parametrize("workers", ["threads", "processes"])
def test_concurrent_edits_all_survive(workers: str, tmp_path: Path) -> None:
    handler = MemoryToolHandler(tmp_path)
    handler.execute(command="create", path=f"{M}/log", file_text="start\nend\n")
    if workers == "processes":
        context = multiprocessing.get_context("spawn" if sys.platform == "win32" else "forkserver")
        context.set_forkserver_preload(["memory_tool"])
        processes = [context.Process(target=_edit, args=(tmp_path, worker)) for worker in range(4)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0] * 4
    else:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda worker: _edit(tmp_path, worker), range(4)))
    lines = (handler.memory_root / "log").read_text(encoding="utf-8").splitlines()
    assert sorted(lines) == sorted(["start", "end", *(f"{w}-{n}" for w in range(4) for n in range(EDITS))])


def test_threads_share_a_handler(handler: MemoryToolHandler, root: Path) -> None:
    handler.execute(command="create", path=f"{M}/log", file_text="")

    def insert(number: int) -> None:
        assert "success" in handler.execute(
            command="insert", path=f"{M}/log", insert_line=0, insert_text=str(number)
        )

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(insert, range(120)))
    assert sorted((root / "log").read_text(encoding="utf-8").split(), key=int) == [str(n) for n in range(120)]
    assert (
        (root.parent / ".memory.state")
        .read_bytes()
        .startswith(b'{"files": 1, "bytes": %d}\n' % (root / "log").stat().st_size)
    )


def test_readers_see_whole_files(handler: MemoryToolHandler, root: Path) -> None:
    texts = {letter: f"{letter}\n" * 5_000 for letter in "ab"}
    handler.execute(command="create", path=f"{M}/f", file_text=texts["a"])
    done = threading.Event()

    def write() -> None:
        while not done.is_set():
            for text in texts.values():
                handler.execute(command="create", path=f"{M}/f", file_text=text)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(300):
            view = handler.execute(command="view", path=f"{M}/f")["success"]
            shown = {line.split("\t")[1] for line in view.split("\n")[1:-1]}
            assert len(shown) == 1
            listing = handler.execute(command="view", path=M)["success"].split("\n")
            assert listing[2:] == [f"9.8K\t{M}/f"]
    finally:
        done.set()
        writer.join()


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
