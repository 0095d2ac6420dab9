"""What screens and history add to a command on a 10 KB file; the target is 2 ms for both together.

The four handlers take turns, so that whatever else the machine does falls on all of them; a time is a median. Run as
``python benchmarks/bench_mitigations.py [directory]``; the directory decides which disk is measured.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from memory_demo.reviewer.forms import CATEGORIES
from memory_demo.reviewer.notes import lesson
from memory_screens import SCREENS
from memory_tool import MemoryToolHandler

SIZE, TURNS, TARGET = 10_000, 80, 2.0
TARGET_PATH = "/memories/target.md"
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "screens": {"screens": SCREENS},
    "history": {"history": True},
    "both": {"screens": SCREENS, "history": True},
}


class Row(NamedTuple):
    """Median milliseconds by handler."""

    text: str
    command: str
    times: dict[str, float]

    @property
    def added(self) -> float:
        return self.times["both"] - self.times["plain"]


def texts() -> Iterator[tuple[str, str]]:
    """10 KB of notes as the reviewer writes them, and of prose with links."""
    notes = "".join(f"{lesson(category, [])}\n" for category in CATEGORIES)
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    for name, text in (("notes", notes), ("README", readme)):
        yield name, (text * (SIZE // len(text) + 1))[: SIZE - 1] + "\n"


def commands(text: str, turn: int) -> Iterator[dict[str, Any]]:
    first, other = ("Alpha line", "Omega line") if turn % 2 == 0 else ("Omega line", "Alpha line")
    yield {"command": "create", "path": TARGET_PATH, "file_text": f"{text}{first}\n"}
    yield {"command": "str_replace", "path": TARGET_PATH, "old_str": first, "new_str": other}
    yield {"command": "insert", "path": TARGET_PATH, "insert_line": 0, "insert_text": "A line.\n"}
    yield {"command": "view", "path": TARGET_PATH}
    yield {"command": "rename", "old_path": TARGET_PATH, "new_path": "/memories/renamed.md"}
    yield {"command": "delete", "path": "/memories/renamed.md"}


def rows(base: Path) -> Iterator[Row]:
    for name, text in texts():
        handlers = {
            kind: MemoryToolHandler(base / name / kind, **options) for kind, options in OPTIONS.items()
        }
        times: dict[str, dict[str, list[float]]] = {}
        for turn in range(TURNS + 2):
            for command in commands(text, turn):
                for kind, handler in handlers.items():
                    start = time.perf_counter()
                    answer = handler.execute(command)
                    elapsed = time.perf_counter() - start
                    assert "success" in answer, answer
                    if turn >= 2:
                        times.setdefault(command["command"], {}).setdefault(kind, []).append(elapsed * 1e3)
        for command_name, by_kind in times.items():
            yield Row(name, command_name, {kind: statistics.median(found) for kind, found in by_kind.items()})


def main() -> None:
    base = Path(tempfile.mkdtemp(dir=sys.argv[1] if len(sys.argv) > 1 else None))
    try:
        print(
            f"{'10 KB of':<9} {'command':<12} {'plain ms':>9} {'screens':>9} {'history':>9} {'both add':>9}  missed"
        )
        for row in rows(base):
            screens, history = (row.times[kind] - row.times["plain"] for kind in ("screens", "history"))
            missed = f"over {TARGET:g} ms" if row.added > TARGET else ""
            print(
                f"{row.text:<9} {row.command:<12} {row.times['plain']:9.2f} {screens:+9.2f} {history:+9.2f} "
                f"{row.added:+9.2f}  {missed}"
            )
    finally:
        shutil.rmtree(base)


if __name__ == "__main__":
    main()
