"""What a history over plain files must hold beyond the contract of every store: links, disks, size, modes."""

from __future__ import annotations

import hashlib
import itertools
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest

from memory_stores import FileStore, confined
from memory_tool import MemoryToolHandler

M = "/memories"
POSIX = pytest.mark.skipif(
    sys.platform == "win32", reason="links and modes of POSIX; CI runs Linux and macOS"
)


@pytest.fixture(params=["swaps", "resolved paths"])
def handler(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> MemoryToolHandler:
    """As on Linux and macOS, and as where nothing opens relative to a directory and no two names can be swapped."""
    if request.param == "resolved paths":
        monkeypatch.setattr(confined, "DIR_FD", False)
    return MemoryToolHandler(tmp_path / "base", history="a test")


def create(handler: MemoryToolHandler, name: str, text: str) -> None:
    answer = handler.execute(command="create", path=f"{M}/{name}", file_text=text)
    assert "success" in answer, answer


def files(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


@POSIX
def test_undo_never_shows_what_a_hard_link_leads_to(handler: MemoryToolHandler, tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("yellow feathers", encoding="utf-8")
    assert handler.memory_root
    os.link(outside, handler.memory_root / "link")
    create(handler, "link", "mine")
    (version,) = handler.history.versions()
    assert handler.history.undo(version.id) == {"success": f"{M}/link"}
    assert files(handler.memory_root) == {}
    assert outside.read_text(encoding="utf-8") == "yellow feathers"
    assert not any(b"feathers" in data for data in files(tmp_path / "base").values())


@POSIX
def test_undo_does_not_write_through_a_link(handler: MemoryToolHandler, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    create(handler, "d/f", "one")
    create(handler, "d/f", "two")
    assert handler.memory_root
    (handler.memory_root / "d").rename(handler.memory_root / "away")
    (handler.memory_root / "d").symlink_to(outside, target_is_directory=True)
    for version in handler.history.versions():
        assert "error" in handler.history.undo(version.id)
    assert not list(outside.iterdir())


MOUNTS = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="mounts a file system: CI runs it as root once"
)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "memories"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)], check=True)
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@MOUNTS
def test_a_full_disk_in_the_middle_of_a_restore_changes_nothing(small_disk: Path) -> None:
    handler = MemoryToolHandler(small_disk, history=True)
    for name in "abc":
        create(handler, name, name * 300_000)
    moment = handler.history.versions()[-1].created_at
    for name in "abc":
        create(handler, name, "short")
    # The kept content of a, b and c takes 900 kB; two of three copies of it fit beside this.
    (small_disk / "filler").write_bytes(b"x" * 1_200_000)
    assert handler.memory_root
    before = files(handler.memory_root)
    assert "disk is full" in handler.history.restore(moment)["error"]
    assert files(handler.memory_root) == before
    (small_disk / "filler").unlink()
    assert "success" in handler.history.restore(moment)
    assert files(handler.memory_root) == {name: name.encode() * 300_000 for name in "abc"}
    handler.store.close()


def test_redacted_bytes_are_nowhere_below_the_directory(handler: MemoryToolHandler) -> None:
    secret = "correct horse battery staple 7c1f"
    create(handler, "d/f", f"{secret}\n")
    version = handler.history.versions()[0]
    assert "holds now" in handler.history.redact(version.id)["error"]
    assert "success" in handler.execute(
        command="str_replace", path=f"{M}/d/f", old_str=secret, new_str="none"
    )
    assert handler.base_path
    before = b"".join(files(handler.base_path).values())
    assert secret.encode() in before and version.content_sha256 and version.content_sha256.encode() in before
    assert "success" in handler.history.redact(version.id)
    after = files(handler.base_path)
    assert not any(secret.encode() in data for data in after.values())
    assert not any(version.content_sha256.encode() in data for data in after.values())
    assert version.content_sha256 not in after
    redacted = handler.history.versions()[0]
    assert (redacted.redacted, redacted.size, redacted.content_sha256) == (True, None, None)


def test_what_a_reader_keeps_of_redacted_bytes_goes_once_it_is_done(handler: MemoryToolHandler) -> None:
    secret = "4711\n"
    create(handler, "pin", secret)
    create(handler, "pin", "none\n")
    version = handler.history.versions()[0]
    hash_of_it = hashlib.sha256(secret.encode()).hexdigest().encode()
    assert handler.base_path
    reader = FileStore(handler.base_path).versions()
    next(reader)
    assert "success" in handler.history.redact(version.id)
    held = b"".join(files(handler.base_path).values())
    assert secret.encode() not in held
    assert hash_of_it in held, "the reader sees the history as it was"
    create(handler, "other", "recorded while it reads\n")
    assert [version.path for version in reader] == [f"{M}/pin"]
    create(MemoryToolHandler(handler.base_path, history=True), "other", "recorded after it\n")
    assert not any(hash_of_it in data for data in files(handler.base_path).values())


def broken(handler: MemoryToolHandler, **settings: bool | str) -> MemoryToolHandler:
    """The same memory, opened anew, with a history that is no database any more."""
    handler.store.close()
    assert handler.base_path
    for file in (handler.base_path / ".memory.history").glob("versions.sqlite*"):
        file.write_bytes(b"not a database" * 100)
    return MemoryToolHandler(handler.base_path, **settings)


def test_people_are_told_what_is_broken_in_their_own_words(
    handler: MemoryToolHandler, caplog: pytest.LogCaptureFixture
) -> None:
    create(handler, "d/f", "one")
    handler = broken(handler, history=True)
    now = datetime.now()
    for answer in (handler.history.restore(now), handler.history.undo("x"), handler.clear_all_memory()):
        assert "versions.sqlite: file is not a database" in answer["error"]
        assert "tell the user" not in answer["error"] and not caplog.records
    for_the_model = handler.execute(command="delete", path=f"{M}/d")["error"]
    assert "sqlite" not in for_the_model and "tell the user" in for_the_model and caplog.records


@pytest.mark.parametrize("history", [False, "a test"])
def test_with_a_broken_history_every_answer_is_true_and_reading_goes_on(
    handler: MemoryToolHandler, history: bool | str
) -> None:
    create(handler, "d/f", "one")
    create(handler, "g", "two")
    handler = broken(handler, history=history)
    root = handler.memory_root
    assert root
    for command in (
        {"command": "str_replace", "path": f"{M}/g", "old_str": "two", "new_str": "three"},
        {"command": "delete", "path": f"{M}/d"},
        {"command": "rename", "old_path": f"{M}/g", "new_path": f"{M}/h"},
    ):
        before = files(root)
        answer = handler.execute(command)
        assert ("success" in answer) == (files(root) != before), answer
        assert "internal" not in str(answer)
        for name in files(root):
            assert "success" in handler.execute(command="view", path=f"{M}/{name}")


def test_a_tenant_that_is_erased_while_others_write_is_made_anew_whole(tmp_path: Path) -> None:
    erased = threading.Event()

    def write(writer: int) -> set[str]:
        answers = set()
        for number in itertools.takewhile(lambda _: not erased.is_set(), itertools.count()):
            handler = MemoryToolHandler(tmp_path, history=True)
            command = {"command": "create", "path": f"{M}/{writer}-{number % 3}", "file_text": str(number)}
            answer = handler.execute(command)
            answers.add(answer.get("error", "success"))
            handler.store.close()
        return answers

    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(write, number) for number in range(2)]
        try:
            for _ in range(60):
                FileStore(tmp_path).erase()
        finally:
            erased.set()
        answers = writers[0].result() | writers[1].result()
    gone = "The memory directory was removed: tell the user and go on without it."
    assert "success" in answers and answers <= {"success", gone}
    handler = MemoryToolHandler(tmp_path, history=True)
    create(handler, "last", "x")
    newest = {version.path: version.content_sha256 for version in handler.history.versions()}
    assert handler.memory_root
    assert newest == {
        f"{M}/{name}": hashlib.sha256(data).hexdigest() for name, data in files(handler.memory_root).items()
    }


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A directory that other users may enter; pytest closes its own whenever it starts."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@POSIX
def test_reading_a_history_needs_no_right_to_write(open_to_all: Path) -> None:
    """In a process that is not root's, which no permission stops."""
    base = open_to_all / "base"
    handler = MemoryToolHandler(base, history=True)
    create(handler, "f", "one")
    create(handler, "f", "two")
    first = handler.history.versions()[0].id
    code = (
        "import os, sys\n"
        "sys.path[:0] = sys.argv[3:]\n"
        "from memory_stores import FileStore\n"
        "if os.geteuid() == 0:\n"
        "    os.seteuid(65534)\n"
        "store = FileStore(sys.argv[1])\n"
        "assert store.content(sys.argv[2]) == b'one'\n"
        "print(len(list(store.versions())))\n"
    )
    for path in (base, *base.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    arguments = [sys.executable, "-c", code, str(base), first, str(Path(__file__).parents[2])]
    for writer in ("at work", "gone"):
        if writer == "gone":
            handler.store.close()
        found = subprocess.run(arguments, capture_output=True, text=True)
        assert found.stdout == "2\n", (writer, found.stderr)


@POSIX
def test_a_history_is_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        handler = MemoryToolHandler(tmp_path / "base", history=True)
        create(handler, "f", "one")
        create(handler, "f", "two")
    finally:
        os.umask(before)
    for path in (tmp_path / "base").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


@POSIX
def test_180_megabytes_are_not_loaded(memory_disk: Path) -> None:
    """Deleted, undone and looked up in a process that says how much memory it took at most."""
    handler = MemoryToolHandler(memory_disk, history=True, max_file_bytes=10**9, max_total_bytes=10**10)
    assert handler.memory_root
    (handler.memory_root / "d").mkdir()
    for number in range(3):
        with (handler.memory_root / "d" / f"large{number}").open("wb") as file:
            file.truncate(60_000_000)
    code = (
        "import resource, sys\n"
        "sys.path[:0] = sys.argv[2:]\n"
        "from memory_tool import MemoryToolHandler\n"
        "handler = MemoryToolHandler(sys.argv[1], history=True, max_file_bytes=10**9, max_total_bytes=10**10)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "assert 'success' in handler.execute(command='delete', path='/memories/d')\n"
        "deleted = handler.history.versions()[-1]\n"
        "assert handler.history.undo(deleted.id)['success'].count('\\n') == 2\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * (1 if sys.platform == 'darwin' else 1024))\n"
    )
    started = time.monotonic()
    found = subprocess.run(
        [sys.executable, "-c", code, str(memory_disk), str(Path(__file__).parents[2])],
        capture_output=True,
        text=True,
    )
    assert int(found.stdout) < 30_000_000, found
    assert time.monotonic() - started < 60
    assert [path.stat().st_size for path in (handler.memory_root / "d").iterdir()] == [60_000_000] * 3


def test_versions_of_one_path_are_found_by_an_index(tmp_path: Path) -> None:
    create(MemoryToolHandler(tmp_path, history=True), "f", "one")
    (database,) = (tmp_path / ".memory.history").glob("*.sqlite")
    plan = sqlite3.connect(database).execute(
        "EXPLAIN QUERY PLAN SELECT * FROM versions WHERE path = ? ORDER BY number", [b""]
    )
    assert "USING INDEX versions_of_path" in str(plan.fetchall())


def test_erase_leaves_nothing(tmp_path: Path) -> None:
    handler = MemoryToolHandler(tmp_path / "base", scope=("acme",), history=True)
    inner = MemoryToolHandler(tmp_path / "base", scope=("acme", "user"), history=True)
    for each in (handler, inner):
        create(each, "f", "one")
    assert isinstance(handler.store, FileStore)
    handler.store.erase()
    assert [path.name for path in (tmp_path / "base" / "scope-acme").iterdir()] == ["scope-user"]
    assert "was removed" in handler.execute(command="create", path=f"{M}/f", file_text="x")["error"]
    assert inner.memory_root and files(inner.memory_root) == {"f": b"one"}
    again = MemoryToolHandler(tmp_path / "base", scope=("acme",), history=True)
    assert again.history.versions() == [] and again.memory_root and files(again.memory_root) == {}


@MOUNTS
def test_a_memory_on_a_disk_of_its_own_is_refused(small_disk: Path) -> None:
    """No file can be renamed into it from the store's own directory beside it."""
    with pytest.raises(ValueError, match="on a disk of its own"):
        FileStore(small_disk.parent)


@POSIX
def test_no_history_is_written_through_a_link(handler: MemoryToolHandler, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "base" / ".memory.history").symlink_to(outside, target_is_directory=True)
    assert "error" in handler.execute(command="create", path=f"{M}/f", file_text="x")
    assert not list(outside.iterdir())


def test_pruned_content_is_not_on_the_disk_any_more(tmp_path: Path) -> None:
    handler = MemoryToolHandler(tmp_path, history=True, keep=6)
    for number in range(6):
        create(handler, "f", f"{number}\n")
    old = {version.content_sha256 for version in handler.history.versions()[:-1]}
    assert {path.name for path in (tmp_path / ".memory.history" / "content").iterdir()} == old != set()


def test_a_clock_that_goes_back_does_not_mix_up_moments(
    handler: MemoryToolHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(handler, "f", "one")
    then, clock = handler.history.versions()[0].created_at, time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: clock() - 3600 * 10**9)
    create(handler, "f", "two")
    assert handler.history.restore(then) == {"success": f"{M}/f"}
    assert handler.memory_root and files(handler.memory_root) == {"f": b"one"}


def test_each_change_on_record_is_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the connection that writes says itself: what SQLite has the system do is not seen from here."""
    connect, opened = sqlite3.connect, list[sqlite3.Connection]()
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: opened.append(connect(*a, **k)) or opened[-1])
    create(MemoryToolHandler(tmp_path, history=True), "f", "one")
    full = 2
    assert opened[0].execute("PRAGMA synchronous").fetchone() == (full,)
