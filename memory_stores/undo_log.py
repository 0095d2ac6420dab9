"""The state of a directory of files, in one small file: how much it holds, or how to take back the change under way.

At rest the first line is `{"files": 3, "bytes": 120}`. During a change there is one line a step, all with the change's
id, each written before its step is taken; lines with another id are left from before and mean nothing. So whoever
takes the lock next can take back what a killed process did. The file is written in place, which needs no room on a
full disk, and is read by people and programs alike with any JSON reader.
"""

from __future__ import annotations

import json
import os
import re
from typing import NamedTuple

from memory_stores.confined import Place, chunks_of
from memory_stores.protocol import Limits, Path

_ROOM = 4096
_UNDER_WAY = b'{"change"'
_AT_REST = re.compile(rb'\{"files": (\d+), "bytes": (\d+)\}\n')


class Usage(NamedTuple):
    """A number of files and the sum of their sizes in bytes."""

    files: int
    size: int

    def plus(self, files: int, size: int) -> Usage:
        return Usage(self.files + files, self.size + size)

    def exceeds(self, limits: Limits) -> bool:
        return self.files > limits.max_files or self.size > limits.max_total_bytes


class Step(NamedTuple):
    """One step of a change: what is done to a path, or where `to`, and the names and inode that it takes for that."""

    change: str
    kind: str
    path: Path = ()
    to: Path = ()
    staged: str = ""
    saved: str = ""
    inode: int = 0

    @property
    def names(self) -> list[str]:
        """What the step may have left in the staging directory."""
        return [name for name in (self.staged, self.saved) if name]


class UndoLog:
    """The state file, for the one writer whose change this is."""

    def __init__(self, place: Place) -> None:
        self._place, self._end = place, 0
        self._file, self._start = -1, b""

    def open(self) -> None:
        self._file = self._place.open(os.O_RDWR | os.O_CREAT)
        self._start = os.read(self._file, _ROOM)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def usage(self) -> Usage | None:
        """What the store holds; None if that is not known."""
        known = _AT_REST.match(self._start)
        return Usage(int(known[1]), int(known[2])) if known else None

    def unfinished(self) -> list[Step]:
        """The steps of a change that did not come to its end, oldest first."""
        return _steps(self._start, self._file)

    def note(self, step: Step) -> None:
        """Write down a step before it is taken."""
        if not self._end and len(self._start) < _ROOM:
            self._write(b" " * _ROOM, 0)
        line = _line(step)
        self._write(line, self._end)
        self._end += len(line)

    def end(self, usage: Usage | None) -> None:
        """Nothing is under way any more."""
        known = f'{{"files": {usage.files}, "bytes": {usage.size}}}\n' if usage else "{}\n"
        self._write(known.encode(), 0)
        if self._end > _ROOM:
            os.ftruncate(self._file, _ROOM)

    def _write(self, data: bytes, position: int) -> None:
        os.lseek(self._file, position, os.SEEK_SET)
        left = memoryview(data)
        while left:
            left = left[os.write(self._file, left) :]


def steps_under_way(place: Place) -> list[Step]:
    """The steps of a change that is under way, or was when its process was killed; needs no right to write."""
    try:
        file = place.open(os.O_RDONLY)
    except OSError:
        return []
    try:
        return _steps(os.read(file, _ROOM), file)
    finally:
        os.close(file)


def _steps(start: bytes, file: int) -> list[Step]:
    """The steps in a file of which `start` has been read."""
    steps: list[Step] = []
    if start.startswith(_UNDER_WAY):
        for line in b"".join([start, *chunks_of(file)]).split(b"\n"):
            step = _step(line)
            if step is None or step.change != (steps or [step])[0].change:
                break  # torn, so that its step was not taken; or left from a change before
            steps.append(step)
    return steps


def _line(step: Step) -> bytes:
    """A step as a line of JSON. Only names need quoting: to encode the whole would take longer than to write it."""
    return (
        f'{{"change": "{step.change}", "step": "{step.kind}", "path": {_list(step.path)}, "to": {_list(step.to)}, '
        f'"staged": "{step.staged}", "saved": "{step.saved}", "inode": {step.inode}}}\n'
    ).encode()


def _list(path: Path) -> str:
    return f"[{', '.join(map(json.dumps, path))}]"


def _step(line: bytes) -> Step | None:
    """A line as a step. What this module did not write is none, so that no path in it leads anywhere."""
    try:
        read = json.loads(line)
        path, to = tuple(read["path"]), tuple(read.get("to", ()))
        staged, saved, inode = read.get("staged", ""), read.get("saved", ""), read.get("inode", 0)
        step = Step(read["change"], read["step"], path, to, staged, saved, inode)
        texts = [step.change, step.kind, *path, *to, *step.names]
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    plain = all(isinstance(text, str) for text in texts) and not any("/" in name for name in (*path, *to))
    if not plain or {"", ".", ".."} & {*path, *to} or not all(map(str.isdecimal, step.names)):
        return None
    return step


def is_under_way(place: Place) -> bool:
    """Whether a change is, or was when its process was killed; needs no right to write."""
    try:
        file = place.open(os.O_RDONLY)
    except OSError:
        return False
    try:
        return os.read(file, len(_UNDER_WAY)) == _UNDER_WAY
    finally:
        os.close(file)
