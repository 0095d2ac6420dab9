"""One test for each row of docs/threats.md, which a test below holds to.

Every path that a test aims at is a canary in its own temporary directory: a broken handler harms nothing else.
"""

from __future__ import annotations

import ast
import json
import os
import re
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from memory_stores import confined, files
from memory_tool import MemoryToolHandler

M = "/memories"
LINKS = pytest.mark.skipif(
    sys.platform == "win32", reason="links and devices of POSIX; CI runs them on Linux and macOS"
)
DOCUMENT = Path(__file__).parents[2] / "docs" / "threats.md"
CONTRACT = Path(__file__).parents[2] / "memory_stores" / "contract"


def commands_at(path: str) -> Iterator[dict[str, object]]:
    """Every command aimed at `path`, in each of its parameters."""
    yield {"command": "view", "path": path}
    yield {"command": "create", "path": path, "file_text": "x"}
    yield {"command": "str_replace", "path": path, "old_str": "yellow", "new_str": "x"}
    yield {"command": "insert", "path": path, "insert_line": 0, "insert_text": "x"}
    yield {"command": "rename", "old_path": path, "new_path": f"{M}/moved"}
    yield {"command": "rename", "old_path": f"{M}/mine", "new_path": path}
    yield {"command": "delete", "path": path}


def refused_at(handler: MemoryToolHandler, path: str) -> None:
    """Every command at `path` is an error, and none changes the store."""
    mine = handler.memory_root / "mine"
    mine.write_text("mine", encoding="utf-8")
    before = snapshot(handler.memory_root)
    for command in commands_at(path):
        answer = handler.execute(command)
        assert "error" in answer, (command, answer)
        assert "feathers" not in answer["error"], (command, answer)
        assert snapshot(handler.memory_root) == before, command


def snapshot(root: Path) -> dict[str, object]:
    return {
        str(path.relative_to(root)): path.readlink()
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else None
        for path in sorted(root.rglob("*"))
    }


@pytest.mark.usefixtures("platform")
@pytest.mark.parametrize(
    "path", ["/memories-evil/f", "/memoriesx", "/memories.", "/memories\\f", "/memories%2ff"]
)
def test_prefix_of_another_directory(path: str, handler: MemoryToolHandler, tmp_path: Path) -> None:
    evil = tmp_path / "base" / "memories-evil"
    evil.mkdir()
    (evil / "f").write_text("yellow feathers", encoding="utf-8")
    refused_at(handler, path)
    assert (evil / "f").read_text(encoding="utf-8") == "yellow feathers"


@pytest.mark.usefixtures("platform", "outside")
@pytest.mark.parametrize(
    "path",
    [
        f"{M}/../../outside/canary.txt",
        f"{M}/a/../../../outside/canary.txt",
        f"{M}/../memories/mine",
        f"{M}/..",
        f"{M}/.",
        f"{M}/./mine",
        f"{M}/sub/../mine",
        f"{M}/.../x",
    ],
)
def test_dot_segments(path: str, handler: MemoryToolHandler) -> None:
    refused_at(handler, path)


@pytest.mark.usefixtures("platform")
def test_absolute_or_relative_path(handler: MemoryToolHandler, outside: Path) -> None:
    for path in (
        f"{outside}/canary.txt",
        "canary.txt",
        "memories/mine",
        "",
        "/",
        "//memories/mine",
        "/Memories/mine",
        " /memories/mine",
    ):
        refused_at(handler, path)
    assert handler.execute(command="view", path=f"{M}/{outside}/canary.txt") == {
        "error": f"The path {M}{outside}/canary.txt does not exist. Please provide a valid path."
    }


@pytest.mark.usefixtures("platform", "outside")
@pytest.mark.parametrize(
    "dots", ["%2e%2e%2f", "%2E%2E/", "..%2f", "%2e%2e%5c", "%252e%252e%252f", "..%c0%af"]
)
def test_encoded_separators(dots: str, handler: MemoryToolHandler, tmp_path: Path) -> None:
    for command in commands_at(f"{M}/{dots}{dots}outside/canary.txt"):
        handler.execute(command)
    assert {path.name for path in tmp_path.iterdir()} == {"base", "outside"}
    refused_at(handler, f"{M}/%2e%2e/%2e%2e/outside/canary.txt")


@pytest.mark.usefixtures("platform", "outside")
@pytest.mark.parametrize(
    "path", [f"{M}\\..\\..\\outside\\canary.txt", f"{M}/..\\..\\outside\\canary.txt", f"{M}/a\\b"]
)
def test_backslashes(path: str, handler: MemoryToolHandler) -> None:
    refused_at(handler, path)


@pytest.mark.usefixtures("platform", "outside")
@pytest.mark.parametrize(
    "name",
    ["a\0b", "\0", "a\nb", "a\x1b[2Jb", "a\x7fb", "a\x85b", "a\u2028b", "a\u202eb", "a\ud800b", "a\udcffb"],
)
def test_control_characters_in_a_name(name: str, handler: MemoryToolHandler) -> None:
    refused_at(handler, f"{M}/{name}")


@pytest.mark.usefixtures("platform")
@pytest.mark.parametrize(
    "name",
    [
        "CON",
        "con.txt",
        "aux",
        "Nul.md",
        "COM1",
        "lpt9.log",
        "a:b",
        "C:",
        "a.txt::$DATA",
        "trailing.",
        "trailing ",
    ],
)
def test_names_that_windows_reserves(name: str, handler: MemoryToolHandler) -> None:
    refused_at(handler, f"{M}/{name}")
    refused_at(handler, f"{M}/{name}/inner")


@LINKS
@pytest.mark.usefixtures("platform")
def test_link_to_a_file_outside(handler: MemoryToolHandler, root: Path, outside: Path) -> None:
    (root / "link").symlink_to(outside / "canary.txt")
    (root / "mine").write_text("mine", encoding="utf-8")
    for command in list(commands_at(f"{M}/link"))[:4]:
        assert "error" in handler.execute(command)
    assert "link" not in handler.execute(command="view", path=M)["success"]
    assert "success" in handler.execute(command="delete", path=f"{M}/link")
    assert not (root / "link").is_symlink()


@LINKS
@pytest.mark.usefixtures("platform")
def test_link_to_a_directory_outside(handler: MemoryToolHandler, root: Path, outside: Path) -> None:
    (root / "link").symlink_to(outside, target_is_directory=True)
    for path in ("link/canary.txt", "link/new.txt", "link/sub/new.txt"):
        refused_at(handler, f"{M}/{path}")
    listing = handler.execute(command="view", path=M)["success"]
    assert "link" not in listing and "canary" not in listing
    assert "error" in handler.execute(command="view", path=f"{M}/link")
    assert "success" in handler.execute(command="delete", path=f"{M}/link")


@LINKS
@pytest.mark.usefixtures("platform")
def test_link_inside_a_deleted_directory(handler: MemoryToolHandler, root: Path, outside: Path) -> None:
    (root / "sub").mkdir()
    (root / "sub" / "link").symlink_to(outside, target_is_directory=True)
    (root / "sub" / "file").symlink_to(outside / "canary.txt")
    assert "success" in handler.execute(command="delete", path=f"{M}/sub")
    assert not (root / "sub").exists()
    (root / "link").symlink_to(outside, target_is_directory=True)
    assert "success" in handler.clear_all_memory()
    assert list(root.iterdir()) == []


@LINKS
@pytest.mark.usefixtures("platform")
def test_dangling_link(handler: MemoryToolHandler, root: Path, outside: Path) -> None:
    (root / "link").symlink_to(outside / "new.txt")
    (root / "mine").write_text("mine", encoding="utf-8")
    for command in list(commands_at(f"{M}/link"))[:4]:
        assert "error" in handler.execute(command)
    (root / "loop").symlink_to("loop")
    assert "error" in handler.execute(command="view", path=f"{M}/loop")
    assert "error" in handler.execute(command="create", path=f"{M}/loop/x", file_text="x")


@LINKS
@pytest.mark.usefixtures("platform")
def test_link_in_place_of_the_root(tmp_path: Path, outside: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "memories").symlink_to(outside, target_is_directory=True)
    with pytest.raises(ValueError, match="is a link"):
        MemoryToolHandler(base)
    (base / "memories").unlink()
    handler = MemoryToolHandler(base)
    handler.memory_root.rmdir()
    handler.memory_root.symlink_to(outside, target_is_directory=True)
    for command in commands_at(f"{M}/canary.txt"):
        assert "error" in handler.execute(command), command
    assert "error" in handler.execute(command="view", path=M)
    assert "error" in handler.clear_all_memory()


@LINKS
def test_directory_swapped_for_a_link_meanwhile(
    handler: MemoryToolHandler, root: Path, outside: Path
) -> None:
    """A directory and a link to one outside change places all the time while commands run."""
    real, link = root / "sub", root / "other"
    real.mkdir()
    (real / "canary.txt").write_text("inside", encoding="utf-8")
    link.symlink_to(outside, target_is_directory=True)
    done = threading.Event()

    def swap() -> None:
        spare = root / "spare"
        while not done.is_set():
            for source, target in ((real, spare), (link, real), (real, link), (spare, real)):
                source.rename(target)

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        answers = list[dict[str, str]]()
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            answers.append(handler.execute(command="view", path=f"{M}/sub/canary.txt"))
            answers.append(handler.execute(command="view", path=f"{M}/sub"))
            answers.append(handler.execute(command="view", path=M))
            answers.append(
                handler.execute(command="insert", path=f"{M}/sub/canary.txt", insert_line=0, insert_text="x")
            )
    finally:
        done.set()
        swapper.join()
    texts = [answer.get("success", "") for answer in answers]
    assert not any("feathers" in text for text in texts)
    assert any("inside" in text for text in texts) and any("error" in answer for answer in answers)


@LINKS
@pytest.mark.parametrize("moment", range(8))
def test_parent_swapped_at_each_step(
    moment: int, handler: MemoryToolHandler, root: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parent becomes a link to a directory outside just before the nth call of the system that opens or looks."""
    (root / "sub").mkdir()
    (root / "sub" / "canary.txt").write_text("inside", encoding="utf-8")
    calls = 0

    def swapping(function: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            nonlocal calls
            if calls == moment and not (root / "sub").is_symlink():
                (root / "sub").rename(root / "away")
                (root / "sub").symlink_to(outside, target_is_directory=True)
            calls += 1
            return function(*args, **kwargs)

        return call

    commands: list[dict[str, object]] = [
        {"command": "view", "path": f"{M}/sub/canary.txt"},
        {"command": "create", "path": f"{M}/sub/canary.txt", "file_text": "x"},
        {"command": "str_replace", "path": f"{M}/sub/canary.txt", "old_str": "inside", "new_str": "x"},
        {"command": "delete", "path": f"{M}/sub/canary.txt"},
    ]
    for command in commands:
        calls = 0
        with monkeypatch.context() as patch:
            for name in ("open", "replace", "unlink"):
                patch.setattr(os, name, swapping(getattr(os, name)))
            answer = handler.execute(command)
        assert "feathers" not in str(answer)
        if (root / "sub").is_symlink():
            (root / "sub").unlink()
            (root / "away").rename(root / "sub")
        (root / "sub" / "canary.txt").write_text("inside", encoding="utf-8")


@LINKS
@pytest.mark.usefixtures("platform")
def test_hard_link_to_a_file_outside(handler: MemoryToolHandler, root: Path, outside: Path) -> None:
    os.link(outside / "canary.txt", root / "link")
    (root / "mine").write_text("mine", encoding="utf-8")
    for command in list(commands_at(f"{M}/link"))[:4:1]:
        if command["command"] != "create":
            assert "error" in handler.execute(command), command
    assert "success" in handler.execute(command="create", path=f"{M}/link", file_text="new")
    assert (root / "link").read_text(encoding="utf-8") == "new"


@LINKS
@pytest.mark.usefixtures("platform")
def test_fifo_socket_and_device_do_not_block(handler: MemoryToolHandler, root: Path, tmp_path: Path) -> None:
    os.mkfifo(root / "fifo")
    (root / "null").symlink_to("/dev/null")
    server = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    try:
        os.chdir(root)
        server.bind("socket")
    finally:
        os.chdir(here)
    (root / "mine").write_text("mine", encoding="utf-8")
    for name in ("fifo", "socket", "null"):
        for command in list(commands_at(f"{M}/{name}"))[:4]:
            assert "error" in handler.execute(command), command
        assert name not in handler.execute(command="view", path=M)["success"]
    server.close()


@pytest.mark.usefixtures("platform")
@pytest.mark.parametrize(
    "spelling",
    [
        M,
        f"{M}/",
        f"{M}//",
        f"{M}///",
        f"{M}/.",
        f"{M}/./",
        f"/{M}",
        f"{M}/..",
        f"{M}/../memories",
        "/MEMORIES",
    ],
)
def test_root_cannot_be_deleted_or_renamed(spelling: str, handler: MemoryToolHandler, root: Path) -> None:
    (root / "mine").write_text("mine", encoding="utf-8")
    assert "error" in handler.execute(command="delete", path=spelling)
    assert "error" in handler.execute(command="rename", old_path=spelling, new_path=f"{M}/new")
    assert "error" in handler.execute(command="rename", old_path=f"{M}/mine", new_path=spelling)
    assert "error" in handler.execute(command="create", path=spelling, file_text="x")
    assert "error" in handler.execute(command="rename", old_path=spelling, new_path="/other")
    assert snapshot(root) == {"mine": b"mine"}


@pytest.mark.usefixtures("platform")
def test_slashes_are_no_way_out(handler: MemoryToolHandler, root: Path) -> None:
    assert handler.execute(command="create", path=f"{M}//a///b.txt/", file_text="x") == {
        "success": f"File created successfully at: {M}/a/b.txt"
    }
    assert snapshot(root) == {"a": None, "a/b.txt": b"x"}


@LINKS
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_permissive_umask(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        handler = MemoryToolHandler(tmp_path / "base")
        handler.execute(command="create", path=f"{M}/a/b/c.txt", file_text="x")
        handler.execute(command="insert", path=f"{M}/a/b/c.txt", insert_line=0, insert_text="x")
        handler.execute(command="rename", old_path=f"{M}/a/b", new_path=f"{M}/x/y")
    finally:
        os.umask(before)
    for path in (tmp_path / "base", *(tmp_path / "base").rglob("*")):
        assert stat.S_IMODE(path.lstat().st_mode) == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.usefixtures("platform")
def test_rename_over_an_existing_file(handler: MemoryToolHandler, root: Path) -> None:
    (root / "a").write_text("a", encoding="utf-8")
    (root / "b").write_text("b", encoding="utf-8")
    (root / "empty").mkdir()
    for target in ("b", "empty", "a"):
        assert (
            "already exists"
            in handler.execute(command="rename", old_path=f"{M}/a", new_path=f"{M}/{target}")["error"]
        )
    assert snapshot(root) == {"a": b"a", "b": b"b", "empty": None}


@pytest.mark.skipif(
    sys.platform not in ("linux", "darwin"), reason="the system has no such rename; CI runs Linux and macOS"
)
def test_destination_that_appears_meanwhile(
    handler: MemoryToolHandler, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "a").write_text("a", encoding="utf-8")
    rename = files.rename_to_free_name

    def late(*places: confined.Place) -> None:
        (root / "b").write_text("of another program", encoding="utf-8")
        rename(*places)

    monkeypatch.setattr(files, "rename_to_free_name", late)
    assert "error" in handler.execute(command="rename", old_path=f"{M}/a", new_path=f"{M}/b")
    assert snapshot(root) == {"a": b"a", "b": b"of another program"}


@pytest.mark.usefixtures("platform")
def test_directory_moved_into_itself(handler: MemoryToolHandler, root: Path) -> None:
    (root / "a").mkdir()
    (root / "a" / "f").write_text("x", encoding="utf-8")
    assert "itself" in handler.execute(command="rename", old_path=f"{M}/a", new_path=f"{M}/a/b/c")["error"]
    assert snapshot(root) == {"a": None, "a/f": b"x"}


def test_new_directories_of_a_failed_command(handler: MemoryToolHandler, root: Path) -> None:
    handler.execute(command="rename", old_path=f"{M}/none", new_path=f"{M}/x/y/z")
    handler.execute(command="create", path=f"{M}/x/y/z", file_text="x" * 2_000_000)
    handler.execute(command="create", path=f"{M}/x/y/{'n' * 300}", file_text="x")
    (root / "kept").mkdir()
    handler.execute(command="create", path=f"{M}/kept/y/{'n' * 300}", file_text="x")
    assert snapshot(root) == {"kept": None}


@pytest.mark.usefixtures("platform")
def test_not_utf8_is_left_alone(handler: MemoryToolHandler, root: Path) -> None:
    data = "latin é\n".encode("latin-1")
    (root / "f").write_bytes(data)
    for command in list(commands_at(f"{M}/f"))[:4]:
        if command["command"] != "create":
            assert "not UTF-8" in handler.execute(command)["error"]
    assert (root / "f").read_bytes() == data


def test_names_on_disk_that_forge_a_listing(handler: MemoryToolHandler, root: Path) -> None:
    for name in (b"a\n4.0K\tforged", b"not utf-8 \xff", b"\x1b[2J", "\u202etxt".encode()):
        os.close(os.open(os.fsencode(root) + b"/" + name, os.O_CREAT))
    (root / "plain").touch()
    listing = handler.execute(command="view", path=M)["success"]
    assert [line.split("\t")[1] for line in listing.split("\n")[1:]] == [M, f"{M}/plain"]
    json.dumps(listing).encode()


@pytest.mark.usefixtures("platform")
def test_real_path_in_a_result(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    base = tmp_path / "secret-place"
    handler = MemoryToolHandler(base)
    (handler.memory_root / "d").mkdir()
    (handler.memory_root / "mine").write_text("mine", encoding="utf-8")
    paths = (
        M,
        f"{M}/d",
        f"{M}/mine",
        f"{M}/mine/x",
        f"{M}/none",
        f"{M}/{'n' * 300}",
        f"{M}/d/{'n' * 300}/x",
        "/none",
        f"{M}/..",
    )
    answers = [handler.execute(command) for path in paths for command in commands_at(path)]
    handler.memory_root.rename(base / "gone")
    answers += [handler.execute(command) for path in paths for command in commands_at(path)]
    assert not any("secret-place" in str(answer) for answer in answers)
    assert sum("error" in answer for answer in answers) > len(answers) / 2


@pytest.mark.parametrize("size", [10, 1_000, 1_000_000])
def test_errors_do_not_echo_a_huge_input(size: int, handler: MemoryToolHandler, root: Path) -> None:
    long = "x" * size
    (root / "f").write_text("\n".join([long + "yy"] * 3), encoding="utf-8")
    for command in (
        {"command": long},
        {"command": "view", "path": long},
        {"command": "view", "path": f"{M}/{long}"},
        {"command": "view", "path": f"{M}/" + "a/" * 240, "view_range": [size, long]},
        {"command": "view", "path": f"{M}/f\0{long}"},
        {"command": "create", "path": f"{M}/{long}/\ud800", "file_text": long},
        {"command": "str_replace", "path": f"{M}/f", "old_str": long + "z", "new_str": ""},
        {"command": "str_replace", "path": f"{M}/f", "old_str": "y", "new_str": ""},
        {
            "command": "insert",
            "path": f"{M}/f",
            "insert_line": 10**size if size < 5_000 else 10**4_000,
            "insert_text": "",
        },
        {
            "command": "rename",
            "old_path": f"{M}/{'a' * 240}/{'b' * 240}",
            "new_path": f"{M}/{'c' * 240}/{'d' * 240}",
        },
    ):
        answer = handler.execute(command)
        assert len(answer["error"]) < 1_000, command["command"]


@pytest.mark.parametrize(
    ("text", "old"),
    [
        ("a" * 2_000_000, "a" * 1_000_000 + "b"),
        ("ab" * 500_000, "ab" * 400_000 + "c"),
        ("a" * 1_000_000, "a"),
        ("\n" * 900_000, "\n\n"),
    ],
)
def test_search_is_linear(text: str, old: str, tmp_path: Path) -> None:
    """A quadratic search takes minutes here, so that the time limit of a test ends it."""
    handler = MemoryToolHandler(tmp_path)
    (handler.memory_root / "f").write_text(text, encoding="utf-8")
    assert "error" in handler.execute(command="str_replace", path=f"{M}/f", old_str=old, new_str="x")
    handler.execute(command="view", path=f"{M}/f", view_range=[800_000, -1])


def test_state_file_tampered_with(handler: MemoryToolHandler, root: Path, outside: Path) -> None:
    record = root.parent / ".memory.state"
    assert "success" in handler.execute(command="create", path=f"{M}/a", file_text="x")
    for content in (
        b"",
        b"\xff" * 5_000,
        b"usage 1 5\n",
        b'{"files": "x", "bytes": 7}\n',
        b'{"files": -1}\n',
        b'{"change": 9}\n',
        b'{"change": "x", "step": "made", "path": 7}\n',
        b'{"change": "x", "step": "moved", "path": ["b"], "to": ["..", "..", "outside", "canary.txt"]}\n',
        b'{"change": "x", "step": "moved", "path": ["b"], "to": ["../../outside/canary.txt"]}\n',
        b'{"change": "x", "step": "moved", "path": ["..", "..", "outside", "b"], "to": ["a"]}\n',
        b'{"change": "x", "step": "moved", "path": ["../../outside/b"], "to": ["a"]}\n',
        b'{"change": "x", "step": "removed", "path": ["b"], "staged": "../../outside/canary.txt"}\n',
    ):
        record.write_bytes(content)
        assert "success" in handler.execute(command="view", path=f"{M}/a")
        assert "success" in handler.execute(command="insert", path=f"{M}/a", insert_line=0, insert_text="x")
        assert (root / "a").exists()
    record.unlink()
    assert "success" in handler.execute(command="create", path=f"{M}/b", file_text="x")
    if sys.platform != "win32":
        record.unlink()
        record.symlink_to(outside / "canary.txt")
        assert "error" in handler.execute(command="create", path=f"{M}/c", file_text="x")


def test_lock_held_by_another_process_ends_in_an_error(
    handler: MemoryToolHandler, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LOCK_SECONDS", 0.05)
    (root / "f").write_text("x", encoding="utf-8")
    handler.execute(command="create", path=f"{M}/g", file_text="x")
    code = "import sys, filelock; lock = filelock.FileLock(sys.argv[1]); lock.acquire(); print(flush=True); input()"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(root.parent / ".memory.lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout and holder.stdin
    holder.stdout.readline()
    assert "Another program" in handler.execute(command="create", path=f"{M}/h", file_text="x")["error"]
    assert "success" in handler.execute(command="view", path=f"{M}/f")
    holder.communicate(b"\n")
    assert "success" in handler.execute(command="create", path=f"{M}/h", file_text="x")


def test_every_row_of_the_threat_table_has_a_test() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+\.py)::(test_\w+)`", document))
    assert named
    for file, name in re.findall(r"`(tests/\w+/test_\w+\.py)::(test_\w+)`", document):
        assert f"def {name}(" in (Path(__file__).parents[2] / file).read_text(encoding="utf-8"), (file, name)
    defined = {
        (path.name, node.name)
        for path in (*Path(__file__).parent.glob("test_*.py"), *CONTRACT.glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    assert named <= defined, named - defined
    here = {
        (file, name) for file, name in defined if file == Path(__file__).name and name.startswith("test_")
    }
    assert here - named == {(Path(__file__).name, "test_every_row_of_the_threat_table_has_a_test")}
