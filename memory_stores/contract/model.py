"""A store as one dictionary: what it holds after any steps, and which steps it must refuse."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from memory_stores.contract.harness import Contents
from memory_stores.protocol import (
    Change,
    FileLimit,
    NotADirectory,
    NotAFile,
    NotFound,
    Occupied,
    Path,
    StoreError,
    StoreLimit,
)


class Write(NamedTuple):
    path: Path
    data: bytes


class Remove(NamedTuple):
    path: Path


class Move(NamedTuple):
    old: Path
    new: Path


Step: TypeAlias = Write | Remove | Move


def carry_out(change: Change, step: Step) -> None:
    match step:
        case Write(path, data):
            change.write(path, data)
        case Remove(path):
            change.remove(path)
        case Move(old, new):
            change.move(old, new)


class Model:
    """What a store within these limits holds."""

    def __init__(self, max_file_bytes: int, max_files: int, max_total_bytes: int) -> None:
        self.limits = {
            "max_file_bytes": max_file_bytes,
            "max_files": max_files,
            "max_total_bytes": max_total_bytes,
        }
        self.held: Contents = {(): None}

    def copy(self) -> Model:
        other = Model(**self.limits)
        other.held = dict(self.held)
        return other

    def refusals(self, step: Step) -> set[type[StoreError]]:
        """The errors that fit: one of them must come, none if there are none."""
        match step:
            case Write(path, data):
                refused = self._without_parents(path) | self._past_limits(path, len(data))
                if self._is_directory(path):
                    refused.add(NotAFile)
            case Remove(path):
                refused = set() if path in self.held else {NotFound}
            case Move(old, new):
                refused = self._without_parents(new)
                if old not in self.held:
                    refused.add(NotFound)
                if new in self.held:
                    refused.add(Occupied)
        return refused

    def apply(self, step: Step) -> None:
        match step:
            case Write(path, data):
                self._make_parents(path)
                self.held[path] = data
            case Remove(path):
                for below in self._below(path):
                    del self.held[below]
                self.held[()] = None
            case Move(old, new):
                self._make_parents(new)
                for below in self._below(old):
                    self.held[(*new, *below[len(old) :])] = self.held.pop(below)

    def _is_directory(self, path: Path) -> bool:
        return path in self.held and self.held[path] is None

    def _below(self, path: Path) -> list[Path]:
        return [held for held in self.held if held[: len(path)] == path]

    def _make_parents(self, path: Path) -> None:
        for depth in range(len(path)):
            self.held.setdefault(path[:depth], None)

    def _without_parents(self, path: Path) -> set[type[StoreError]]:
        parents = (self.held.get(path[:depth]) for depth in range(len(path)))
        return {NotADirectory} if any(parent is not None for parent in parents) else set()

    def _past_limits(self, path: Path, size: int) -> set[type[StoreError]]:
        past = set[type[StoreError]]()
        old = self.held.get(path)
        sizes = [len(data) for data in self.held.values() if data is not None]
        growth = size - len(old or b"")
        if growth > 0 and size > self.limits["max_file_bytes"]:
            past.add(FileLimit)
        if old is None and len(sizes) + 1 > self.limits["max_files"]:
            past.add(StoreLimit)
        if growth > 0 and sum(sizes) + growth > self.limits["max_total_bytes"]:
            past.add(StoreLimit)
        return past
