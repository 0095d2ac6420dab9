"""What a killed writer leaves, full disks, directories that may not be written to or are gone."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from memory_stores import FileStore
from memory_tool import MemoryToolHandler

M = "/memories"
POSIX = pytest.mark.skipif(
    sys.platform == "win32", reason="signals and permissions of POSIX; CI runs Linux and macOS"
)


@POSIX
def test_killed_before_the_rename(handler: MemoryToolHandler, root: Path) -> None:
    """The exact leftovers: a temporary file in new directories, and the record of the change."""
    code = (
        "import sys, os, signal, memory_stores.files\n"
        "memory_stores.files.rename_to_free_name = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "with memory_stores.files.FileStore(sys.argv[1]).change() as change:\n"
        "    change.write(('kept', 'a', 'b', 'c.txt'), b'x')"
    )
    (root / "kept").mkdir()
    # A longer record from before, which that of the killed writer overwrites in part.
    handler.execute(command="create", path=f"{M}/{'é' * 60}", file_text="x")
    for command in (
        {"command": "view", "path": M},
        {"command": "view", "path": f"{M}/f"},
        {"command": "create", "path": f"{M}/f", "file_text": "f"},
        {"command": "insert", "path": f"{M}/f", "insert_line": 0, "insert_text": ""},
    ):
        subprocess.run(
            [sys.executable, "-c", code, str(root.parent)],
            cwd=Path(__file__).parents[2],
        )
        assert (root / "kept" / "a" / "b").exists() and list((root.parent / ".memory.staged").iterdir())
        handler.execute(command)
        assert list((root / "kept").rglob("*")) == list((root.parent / ".memory.staged").iterdir()) == []


@pytest.mark.parametrize("written", [0, 1_000])
def test_disk_full(
    written: int, handler: MemoryToolHandler, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler.execute(command="create", path=f"{M}/f", file_text="old text\n")
    write = os.write
    room = written

    def limited(file: int, data: bytes) -> int:
        nonlocal room
        if len(data) < 200:  # the record of the change
            return write(file, data)
        if room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        part = data[: min(room, 300)]
        room -= len(part)
        return write(file, part)

    monkeypatch.setattr(os, "write", limited)
    for command in (
        {"command": "create", "path": f"{M}/f", "file_text": "x" * 5_000},
        {"command": "create", "path": f"{M}/new/directory/g", "file_text": "x" * 5_000},
        {"command": "str_replace", "path": f"{M}/f", "old_str": "old", "new_str": "x" * 5_000},
        {"command": "insert", "path": f"{M}/f", "insert_line": 0, "insert_text": "x" * 5_000},
    ):
        room = written
        assert "disk is full" in handler.execute(command)["error"]
        assert [path.name for path in root.rglob("*")] == ["f"]
        assert (root / "f").read_bytes() == b"old text\n"
    monkeypatch.setattr(os, "write", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    assert "disk is full" in handler.execute(command="create", path=f"{M}/f", file_text="x")["error"]
    assert (root / "f").read_bytes() == b"old text\n"
    monkeypatch.undo()
    assert "success" in handler.execute(command="create", path=f"{M}/f", file_text="x" * 5_000)
    assert (
        (root.parent / ".memory.state")
        .read_text(encoding="utf-8")
        .startswith('{"files": 1, "bytes": 5000}\n')
    )


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="mounts a file system: CI runs it as root once"
)
def test_full_file_system(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=True)
    try:
        handler = MemoryToolHandler(disk, max_file_bytes=10_000_000)
        assert "success" in handler.execute(command="create", path=f"{M}/f", file_text="x" * 600_000)
        for path in (f"{M}/f", f"{M}/new/g"):
            assert (
                "disk is full"
                in handler.execute(command="create", path=path, file_text="y" * 900_000)["error"]
            )
        assert [path.name for path in handler.memory_root.rglob("*")] == ["f"]
        assert (handler.memory_root / "f").read_bytes() == b"x" * 600_000
        assert "success" in handler.execute(command="delete", path=f"{M}/f")
        assert "success" in handler.execute(command="create", path=f"{M}/f", file_text="y" * 600_000)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A directory that other users may enter; pytest closes its own whenever it starts."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@POSIX
def test_read_only_directory(open_to_all: Path) -> None:
    """In a process that is not root's, which no permission stops."""
    base = open_to_all / "base"
    handler = MemoryToolHandler(base)
    (handler.memory_root / "f").write_text("text", encoding="utf-8")
    (handler.memory_root / "f").chmod(0o644)
    code = (
        "import os, sys\n"
        "sys.path[:0] = sys.argv[2:]\n"
        "from memory_tool import MemoryToolHandler\n"
        "handler = MemoryToolHandler(sys.argv[1])\n"
        "if os.geteuid() == 0:\n"
        "    os.seteuid(65534)\n"
        "M = '/memories'\n"
        "for command in (\n"
        "    dict(command='create', path=f'{M}/f', file_text='x'),\n"
        "    dict(command='create', path=f'{M}/new/g', file_text='x'),\n"
        "    dict(command='str_replace', path=f'{M}/f', old_str='ex', new_str='x'),\n"
        "    dict(command='insert', path=f'{M}/f', insert_line=0, insert_text='x'),\n"
        "    dict(command='rename', old_path=f'{M}/f', new_path=f'{M}/g'),\n"
        "    dict(command='delete', path=f'{M}/f'),\n"
        "):\n"
        "    assert 'not permit' in handler.execute(command)['error'], command\n"
        "assert 'text' in handler.execute(command='view', path=f'{M}/f')['success']\n"
        "assert f'{M}/f' in handler.execute(command='view', path=M)['success']\n"
    )
    base.chmod(0o755)
    for lock in ("absent", "present"):
        for directory in (handler.memory_root, base):
            directory.chmod(0o555)
        try:
            subprocess.run(
                [sys.executable, "-c", code, str(base), str(Path(__file__).parents[2])], check=True
            )
        finally:
            for directory in (handler.memory_root, base):
                directory.chmod(0o755)
        assert [path.name for path in handler.memory_root.rglob("*")] == ["f"]
        assert (handler.memory_root / "f").read_text(encoding="utf-8") == "text"
        if lock == "absent":
            for name in (".memory.lock", ".memory.state"):
                (base / name).touch(0o666)
                (base / name).chmod(0o666)


@POSIX
@pytest.mark.parametrize("history", [False, True])
def test_what_may_not_be_removed_blocks_nothing(open_to_all: Path, history: bool) -> None:
    """Notes that a person protects stay; another user's file in a directory of all users leaves memory, not the disk."""
    code = (
        "import os, sys\n"
        "sys.path[:0] = sys.argv[3:]\n"
        "from memory_tool import MemoryToolHandler\n"
        "if os.geteuid() == 0:\n"
        "    os.setegid(65534)\n"
        "    os.seteuid(65534)\n"
        "os.umask(0)\n"
        "def handler():\n"
        "    return MemoryToolHandler(sys.argv[1], history=sys.argv[2] == 'True')\n"
        "def run(**command):\n"
        "    return handler().execute(command)\n"
        "M = '/memories'\n"
        "run(command='create', path=f'{M}/project/reference/api.md', file_text='x')\n"
        "run(command='create', path=f'{M}/all/f', file_text='x')\n"
        "root = handler().memory_root\n"
        "(root / 'project' / 'reference').chmod(0o555)\n"
        "(root / 'all').chmod(0o1777)\n"
        "(root / 'all' / 'f').chmod(0o644)\n"
        "os.seteuid(os.getuid())\n"
        "if os.geteuid() == 0:\n"
        "    os.chown(root / 'all', 0, 0)\n"
        "    os.chown(root / 'all' / 'f', 0, 0)\n"
        "    os.seteuid(65534)\n"
        "assert 'not permit' in run(command='delete', path=f'{M}/project')['error']\n"
        "assert (root / 'project' / 'reference' / 'api.md').exists()\n"
        "assert 'success' in run(command='delete', path=f'{M}/all')\n"
        "for name in ('new', 'newer'):\n"
        "    assert 'success' in run(command='create', path=f'{M}/{name}', file_text='x')\n"
        "    assert 'success' in run(command='delete', path=f'{M}/{name}')\n"
        "assert 'all' not in run(command='view', path=M)['success']\n"
        "(root / 'project' / 'reference').chmod(0o755)\n"
        "assert 'success' in run(command='delete', path=f'{M}/project')\n"
    )
    open_to_all.chmod(0o777)
    arguments = [str(open_to_all / "base"), str(history), str(Path(__file__).parents[2])]
    run = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, timeout=60)
    assert run.returncode == 0, run.stderr.decode()


def test_a_change_in_which_a_step_failed_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FileStore(tmp_path)
    with pytest.raises(RuntimeError, match="A step of the change failed"), store.change() as change:
        change.write(("a",), b"x")
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "broken")))
            with pytest.raises(OSError, match="broken"):
                change.write(("b", "c"), b"x")
    assert [entry.path for entry in store.entries()] == [()]
    with store.change() as change:
        change.write(("d",), b"x")
    state = (tmp_path / ".memory.state").read_text(encoding="utf-8")
    assert state.startswith('{"files": 1, "bytes": 1}\n')
    assert not list((tmp_path / ".memory.staged").iterdir())


def test_a_change_that_has_ended_does_nothing_more(tmp_path: Path) -> None:
    """Its descriptors are closed, and their numbers may be those of other files by now."""
    store = FileStore(tmp_path / "store")
    with store.change() as change:
        change.write(("a",), b"x")
    victims = [(tmp_path / f"victim{number}").open("w+", encoding="utf-8") for number in range(8)]
    for call in (
        lambda: change.write(("b",), b"x"),
        lambda: change.write(("a",), b"y"),
        lambda: change.move(("a",), ("b",)),
        lambda: change.remove(("a",)),
        lambda: change.record(("a",), "modified", "late"),
    ):
        with pytest.raises(RuntimeError, match="The change has ended"):
            call()
    for victim in victims:
        victim.close()
    assert not any(path.stat().st_size for path in tmp_path.glob("victim*"))
    assert [(entry.path, entry.size) for entry in store.entries()][1:] == [(("a",), 1)]
    assert not list((tmp_path / "store" / ".memory.staged").iterdir())


@pytest.mark.usefixtures("platform")
def test_directory_removed_while_in_use(
    handler: MemoryToolHandler, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = os.stat
    commands = (
        {"command": "view", "path": M},
        {"command": "view", "path": f"{M}/d/f"},
        {"command": "create", "path": f"{M}/d/g", "file_text": "x"},
        {"command": "str_replace", "path": f"{M}/d/f", "old_str": "text", "new_str": "x"},
        {"command": "insert", "path": f"{M}/d/f", "insert_line": 0, "insert_text": "x"},
        {"command": "delete", "path": f"{M}/d/f"},
        {"command": "rename", "old_path": f"{M}/d/f", "new_path": f"{M}/d/g"},
    )
    for command in commands:
        with monkeypatch.context() as patch:
            (root / "d").mkdir()
            (root / "d" / "f").write_text("text", encoding="utf-8")

            def removing(path: str, *args: object, **kwargs: object) -> os.stat_result:
                shutil.rmtree(root / "d", ignore_errors=True)
                return stat(path, *args, **kwargs)  # type: ignore[arg-type]

            if command["path" if "path" in command else "old_path"] != M:
                patch.setattr(os, "stat", removing)
                answer = handler.execute(command)
                assert "error" in answer and "internal" not in answer["error"], (command, answer)
        shutil.rmtree(root / "d", ignore_errors=True)
    root.rmdir()
    for command in commands:
        assert "was removed" in handler.execute(command)["error"]
    assert not root.exists()
    root.mkdir()
    assert "success" in handler.execute(command="create", path=f"{M}/f", file_text="x")


@pytest.mark.usefixtures("platform")
def test_an_edit_does_not_bring_back_what_another_program_deleted_meanwhile(tmp_path: Path) -> None:
    def meanwhile(path: str, text: str) -> None:
        (tmp_path / "memories" / "f").unlink()

    handler = MemoryToolHandler(tmp_path, screens=[meanwhile])
    (tmp_path / "memories" / "f").write_text("text", encoding="utf-8")
    assert "error" in handler.execute(command="str_replace", path=f"{M}/f", old_str="ex", new_str="x")
    assert not (tmp_path / "memories" / "f").exists()
