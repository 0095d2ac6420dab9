"""Kills a writer before its first call of the system, its second, and so on, and tells what the memory was after each.

Run as a program, which forks: `python -m tests.stores.killed_at_every_call DIRECTORY CHANGE HOW`. Each line is one killed writer, the last
one a writer that came to its end.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from memory_stores import FileStore, Version, confined
from memory_stores.copying import AdoptingChange
from memory_stores.history import History

BEFORE = {"notes": b"old", "other": b"other", "deep/in/file": b"deep"}


def edit(change: AdoptingChange) -> None:
    change.write(("notes",), change.read(("notes",)) + b" and new")


def copy(change: AdoptingChange) -> None:
    """What a memory that is copied here does."""
    change.write(("made",), b"made")
    for number, data in enumerate([b"was", b"made", b"was"]):
        digest, moment = hashlib.sha256(data).hexdigest(), datetime(2026, 11, 30, tzinfo=UTC)
        spelling = f"/memories/{number}"
        change.adopt(Version(f"{number}", "a", spelling, "created", digest, len(data), moment, "Ada"), data)


def move_and_write(change: AdoptingChange) -> None:
    change.move(("notes",), ("moved", "notes"))
    change.write(("other",), b"changed")
    change.remove(("deep", "in", "file"))


CHANGES: dict[str, Callable[[AdoptingChange], None]] = {
    "copy": copy,
    "create": lambda change: change.write(("made",), b"made"),
    "create in new directories": lambda change: change.write(("new", "er", "made"), b"made"),
    "edit": edit,
    "overwrite what has a second name": lambda change: change.write(("notes",), b"new"),
    "delete": lambda change: change.remove(("notes",)),
    "delete a directory": lambda change: change.remove(("deep",)),
    "rename": lambda change: change.move(("notes",), ("moved", "notes")),
    "several": move_and_write,
}


def fill(change: AdoptingChange) -> None:
    for path, data in BEFORE.items():
        change.write(tuple(path.split("/")), data)


def contents(directory: Path) -> dict[str, str]:
    root = directory / "memories"
    return {
        path.relative_to(root).as_posix(): path.read_text() if path.is_file() else ""
        for path in sorted(root.rglob("*"))
    }


@contextlib.contextmanager
def killed_before_call(number: int) -> Iterator[None]:
    calls = 0

    def count(_: object, event: str, function: object) -> None:
        nonlocal calls
        owner = getattr(function, "__self__", None)
        of_system = getattr(function, "__module__", None) in ("posix", "fcntl")
        if event == "c_call" and (of_system or isinstance(owner, sqlite3.Connection)):
            calls += 1
            if calls > number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(None)


def changing(store: FileStore, how: str) -> AbstractContextManager[AdoptingChange]:
    created_by = "a test" if how in ("recorded", "pruned") else None
    keep = timedelta(0) if how == "pruned" else None
    return History(store, lambda told: {"success": told()}, created_by, keep).change()


def write(directory: Path, change: str, how: str, number: int) -> None:
    store = FileStore(directory)
    with killed_before_call(number), changing(store, how) as under_way:
        CHANGES[change](under_way)


def came_to_its_end(directory: Path, change: str, how: str, number: int) -> bool:
    child = os.fork()
    if not child:
        try:
            write(directory, change, how, number)
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), f"the writer failed before call {number}"
    return status == 0


def after_a_kill(directory: Path, change: str, how: str, number: int) -> dict[str, object]:
    with changing(FileStore(directory), how) as first:
        fill(first)
    with FileStore(directory).change() as longer:  # leaves lines after those that the killed one writes
        if change != "copy":  # the same versions are not taken over twice
            CHANGES[change](longer)
        longer.remove(())
        fill(longer)
    if "second name" in change:
        os.link(directory / "memories" / "notes", directory / "second")
    ended = came_to_its_end(directory, change, how, number)
    store = FileStore(directory)
    store.find(())  # a reader brings the change to its end
    found, versions = contents(directory), list(store.versions())
    for version in versions:
        store.content(version.id)  # which raises NotKept where it is lost
    kept = {path.name for path in directory.glob(".memory.history/content/*")}
    with changing(store, how) as next_one:
        next_one.write(("next",), b"next")  # which grows, so that files are counted if nothing is known
    state = json.loads((directory / ".memory.state").read_text().split("\n")[0])
    files = [path for path in (directory / "memories").rglob("*") if path.is_file()]
    return {
        "ended": ended,
        "found": found,
        "versions": [version.path for version in versions],
        "unused": sorted(kept - {version.content_sha256 for version in versions}),
        "counted": [state["files"], state["bytes"]],
        "there": [len(files), sum(path.stat().st_size for path in files)],
        "staged": [path.name for path in (directory / ".memory.staged").iterdir()],
    }


def main() -> None:
    base, change, how = sys.argv[1:]
    confined.DIR_FD = confined.DIR_FD and how != "by resolved paths"
    number, ended = 0, False
    while not ended:
        told = after_a_kill(Path(base, str(number)), change, how, number)
        print(json.dumps(told))
        number, ended = number + 1, bool(told["ended"])


if __name__ == "__main__":
    main()
