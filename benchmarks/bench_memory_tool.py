"""Compares every command with the SDK's own memory tool and with the bare calls of the system, in one run.

The three take turns, so that whatever else the machine does falls on all of them; a ratio is of medians. Run as
``python benchmarks/bench_memory_tool.py [directory]``; the directory decides which disk is measured.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from anthropic.lib.tools._beta_builtin_memory_tool import BetaLocalFilesystemMemoryTool

from memory_tool import MemoryToolHandler

SIZES = {"1 KB": 1_000, "100 KB": 100_000, "5 MB": 5_000_000}
COUNTS = (10, 1_000, 10_000)
LINE = "a line of a memory file, as long as such lines usually are, with a number: {:7}\n"
LISTING = "view directory"


class Case(NamedTuple):
    """One command: its input by turn, what the bare calls are, and what to put right after a turn, untimed."""

    name: str
    command: Callable[[int], Mapping[str, object]]
    bare: Callable[[Path, int], object]
    before: Callable[[Path, int], object] = lambda root, turn: None
    after: Callable[[Path, int], object] = lambda root, turn: None


class Row(NamedTuple):
    files: int
    size: str
    name: str
    ours: float
    sdk: float
    bare: float


def text_of(size: int) -> str:
    text = "".join(LINE.format(number) for number in range(size // len(LINE.format(0)) + 1))
    return text[: size - 1] + "\n"


def bare_read(path: Path) -> bytes:
    file = os.open(path, os.O_RDONLY)
    data = os.read(file, os.fstat(file).st_size)
    os.close(file)
    return data


def bare_write(path: Path, data: bytes) -> None:
    file = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(file, data)
    os.fsync(file)
    os.close(file)
    Path(f"{path}.new").rename(path)


def bare_listing(root: Path) -> int:
    with os.scandir(root) as entries:
        return sum(entry.stat(follow_symlinks=False).st_size for entry in entries)


def cases(text: str) -> Iterator[Case]:
    data = text.encode()
    target = "/memories/target"
    middle = LINE.format(text.count("\n") // 2)

    def reset(root: Path, turn: int) -> None:
        if (root / "target").stat().st_size != len(data) or turn % 7 == 0:
            bare_write(root / "target", data)

    def rewrite(root: Path, turn: int) -> None:
        bare_write(root / "target", bare_read(root / "target"))

    yield Case(
        "view file",
        lambda turn: {"command": "view", "path": target},
        lambda root, turn: bare_read(root / "target"),
    )
    yield Case(
        LISTING, lambda turn: {"command": "view", "path": "/memories"}, lambda root, turn: bare_listing(root)
    )
    yield Case(
        "create",
        lambda turn: {"command": "create", "path": f"/memories/new{turn}", "file_text": text},
        lambda root, turn: bare_write(root / f"new{turn}", data),
        after=lambda root, turn: (root / f"new{turn}").unlink(),
    )
    yield Case(
        "str_replace",
        lambda turn: {
            "command": "str_replace",
            "path": target,
            "old_str": middle if turn % 2 == 0 else middle.upper(),
            "new_str": middle.upper() if turn % 2 == 0 else middle,
        },
        rewrite,
    )
    yield Case(
        "insert",
        lambda turn: {
            "command": "insert",
            "path": target,
            "insert_line": 1,
            "insert_text": "an inserted line\n",
        },
        rewrite,
        after=reset,
    )
    yield Case(
        "rename",
        lambda turn: {
            "command": "rename",
            "old_path": f"/memories/old{turn}",
            "new_path": f"/memories/new{turn}",
        },
        lambda root, turn: (root / f"old{turn}").rename(root / f"new{turn}"),
        before=lambda root, turn: (root / f"old{turn}").write_bytes(b"x"),
        after=lambda root, turn: (root / f"new{turn}").unlink(),
    )
    yield Case(
        "delete",
        lambda turn: {"command": "delete", "path": f"/memories/old{turn}"},
        lambda root, turn: (root / f"old{turn}").unlink(),
        before=lambda root, turn: (root / f"old{turn}").write_bytes(data),
    )


def measure(case: Case, base: Path, turns: int) -> tuple[float, float, float]:
    """Median seconds of ours, the SDK's tool and the bare calls."""
    handler = MemoryToolHandler(base / "ours", max_file_bytes=10**8, max_files=10**7, max_total_bytes=10**12)
    sdk = BetaLocalFilesystemMemoryTool(str(base / "sdk"))

    def ours(root: Path, turn: int) -> None:
        answer = handler.execute(case.command(turn))
        assert "success" in answer, answer

    contestants = [
        (base / "ours" / "memories", ours),
        (sdk.memory_root, lambda root, turn: sdk.call(dict(case.command(turn)))),
        (base / "bare" / "memories", case.bare),
    ]
    times: list[list[float]] = [[], [], []]
    for turn in range(turns + 2):
        for place in range(3):
            number = (turn + place) % 3
            root, run = contestants[number]
            case.before(root, turn)
            start = time.perf_counter()
            run(root, turn)
            elapsed = time.perf_counter() - start
            case.after(root, turn)
            if turn >= 2:
                times[number].append(elapsed)
    ours_median, sdk_median, bare_median = map(statistics.median, times)
    return ours_median, sdk_median, bare_median


def settle() -> None:
    """Write what is still to be written, so that no flush measured later pays for it."""
    if hasattr(os, "sync"):
        os.sync()


def rows(base: Path) -> Iterator[Row]:
    for files in COUNTS:
        for size, characters in SIZES.items():
            for name in ("ours", "sdk", "bare"):
                root = base / name / "memories"
                root.mkdir(parents=True, exist_ok=True)
                for number in range(files - 1 - len(list(root.glob("filler*")))):
                    (root / f"filler{files}-{number:06}.md").write_bytes(b"x" * 1_000)
                (root / "target").write_bytes(text_of(characters).encode())
            settle()
            for case in cases(text_of(characters)):
                turns = {"1 KB": 60, "100 KB": 40, "5 MB": 12}[size]
                if case.name == LISTING:
                    if size != "1 KB":
                        continue
                    turns = {10: 60, 1_000: 12, 10_000: 5}[files]
                yield Row(files, size, case.name, *measure(case, base, turns))


def met(row: Row) -> list[str]:
    """The targets that a row misses."""
    limits = {"view file": 6.0, LISTING: 5.0}
    if row.size != "5 MB":
        limits |= {"create": 1.5, "str_replace": 1.5, "insert": 1.5}
    missed = ["slower than the SDK"] if row.ours > row.sdk else []
    limit = limits.get(row.name)
    return missed + (
        [f"over {limit:g} times the bare calls"] if limit and row.ours > limit * row.bare else []
    )


def large_listing(base: Path) -> None:
    handler = MemoryToolHandler(base / "large", max_files=10**6)
    for number in range(100_000):
        (base / "large" / "memories" / f"file{number:06}").touch()
    settle()
    for title, command in {
        "first page": {"command": "view", "path": "/memories"},
        "last page": {"command": "view", "path": "/memories", "view_range": [99_900, -1]},
        "view file": {"command": "view", "path": "/memories/file000000"},
        "first create, which counts the files": {
            "command": "create",
            "path": "/memories/a",
            "file_text": "x",
        },
        "second create": {"command": "create", "path": "/memories/b", "file_text": "x"},
    }.items():
        start = time.perf_counter()
        answer = handler.execute(command)
        elapsed = time.perf_counter() - start
        assert "success" in answer and len(answer["success"]) <= 16_000
        print(f"100,000 files, {title}: {elapsed * 1e3:.1f} ms")
    start = time.perf_counter()
    bare_listing(base / "large" / "memories")
    print(f"100,000 files, scandir and stat: {(time.perf_counter() - start) * 1e3:.1f} ms")


def main() -> None:
    base = Path(tempfile.mkdtemp(dir=sys.argv[1] if len(sys.argv) > 1 else None))
    try:
        print(f"{'files':>7} {'size':>7} {'command':<15} {'ours µs':>9} {'to SDK':>7} {'to bare':>8}  missed")
        for row in rows(base):
            print(
                f"{row.files:7,} {row.size:>7} {row.name:<15} {row.ours * 1e6:9,.0f} {row.ours / row.sdk:7.2f} "
                f"{row.ours / row.bare:8.2f}  {', '.join(met(row))}",
                flush=True,
            )
        large_listing(base)
    finally:
        shutil.rmtree(base)


if __name__ == "__main__":
    main()
