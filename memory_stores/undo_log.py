"""The state of a directory of files, in one small file: how much it holds, or how to take back the change under way.

At rest the first line is `{"files": 3, "bytes": 120}`. During a change there is one line a step, all with the change's
id, each written before its step is taken; lines with another id are left from before and mean nothing. So whoever
takes the lock next can take back what a killed process did. The file is written in place, which needs no room on a
full disk, and is read by people and programs alike with any JSON reader.
"""

from __future__ import annotations

import json
import os
from typing import Any, NamedTuple, TypeAlias

from memory_stores.confined import Place, chunks_of
from memory_stores.protocol import Limits

Step: TypeAlias = dict[str, Any]
_ROOM = 4096
_UNDER_WAY = b'{"change"'


class Usage(NamedTuple):
    """A number of files and the sum of their sizes in bytes."""

    files: int
    size: int

    def plus(self, files: int, size: int) -> Usage:
        return Usage(self.files + files, self.size + size)

    def exceeds(self, limits: Limits) -> bool:
        return self.files > limits.max_files or self.size > limits.max_total_bytes


class UndoLog:
    """The state file, for the one writer whose change this is."""

    def __init__(self, place: Place, change: str) -> None:
        self._place, self._change, self._end = place, change, 0
        self._file, self._start = -1, b""

    def open(self) -> None:
        self._file = self._place.open(os.O_RDWR | os.O_CREAT)
        self._start = os.read(self._file, _ROOM)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)

    def usage(self) -> Usage | None:
        """What the store holds; None if that is not known."""
        try:
            first = json.loads(self._start.partition(b"\n")[0].decode())
            return Usage(int(first["files"]), int(first["bytes"]))
        except (ValueError, KeyError, TypeError):
            return None

    def unfinished(self) -> list[Step]:
        """The steps of a change that did not come to its end, oldest first."""
        return _steps(self._start, self._file)

    def note(self, step: Step) -> None:
        """Write down a step before it is taken."""
        if not self._end and len(self._start) < _ROOM:
            self._write(b" " * _ROOM, 0)
        line = json.dumps({"change": self._change, **step}).encode() + b"\n"
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
            if step is None or step["change"] != (steps or [step])[0]["change"]:
                break  # torn, so that its step was not taken; or left from a change before
            steps.append(step)
    return steps


def _step(line: bytes) -> Step | None:
    """A line as a step. What this module did not write is none, so that no path in it leads anywhere."""
    try:
        step = json.loads(line)
        paths = [step["path"], step.get("to", [])]
        names = [name for path in paths for name in path]
        numbers = [step[key] for key in ("staged", "saved") if key in step]
        texts = [step["change"], step["step"], *names, *numbers]
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    plain = all(isinstance(text, str) for text in texts) and not any("/" in name for name in names)
    if not plain or {"", ".", ".."} & {*names} or not all(map(str.isdecimal, numbers)):
        return None
    return step if isinstance(step, dict) else None


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
