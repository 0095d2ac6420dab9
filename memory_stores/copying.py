"""A whole memory from one store to another: files, empty directories and the history, as they are."""

from __future__ import annotations

from contextlib import AbstractContextManager, suppress
from datetime import datetime
from typing import NamedTuple, Protocol

from memory_stores.protocol import Change, NotKept, Reader, Version, VersionedChange, VersionedStore


class AdoptingChange(VersionedChange, Protocol):
    """A change that can take over a history."""

    def adopt(self, version: Version, content: bytes | None) -> None:
        """Take over a version of another store as it is; without content, where that is not kept."""

    def begin_history(self, begins: datetime) -> None:
        """Let the history begin at a time, as if what was before had been pruned."""


class AdoptingStore(VersionedStore, Protocol):
    """A store that can take over a history."""

    def change(self) -> AbstractContextManager[AdoptingChange]: ...


class NotEmpty(Exception):
    """The store to copy to holds files or versions already."""


class Copied(NamedTuple):
    """How much was copied."""

    files: int
    versions: int


def copy_memory(source: VersionedStore, target: AdoptingStore) -> Copied:
    """Copy all of a memory to an empty store; nobody writes to either meanwhile. Raises NotEmpty.

    That is one change of the target: after an error or a kill nothing of it is there. Proposals that wait are not copied,
    and those in the target stay.
    """
    if _holds_something(target):
        raise NotEmpty
    # The source's change is the inner one, so that its history is read through it, too: else it would idle meanwhile.
    with target.change() as change, source.change() as frozen:
        files = _copy_files(frozen, change)
        return Copied(files, _copy_history(source, change))


def _holds_something(store: VersionedStore) -> bool:
    return len(list(store.entries((), 1))) > 1 or next(iter(store.versions()), None) is not None


def _copy_files(source: Reader, change: Change) -> int:
    files = 0
    for entry in source.entries():
        if not entry.is_directory:
            change.write(entry.path, source.read(entry.path))
            files += 1
        elif entry.path and len(list(source.entries(entry.path, 1))) == 1:
            change.write(
                (*entry.path, "made"), b""
            )  # a directory comes with its first file, and stays without
            change.remove((*entry.path, "made"))
    return files


def _copy_history(source: VersionedStore, change: AdoptingChange) -> int:
    versions = 0
    for version in source.versions():
        content = None
        with suppress(NotKept):
            content = source.content(version.id)
        change.adopt(version, content)
        versions += 1
    begins = source.history_begins()
    if begins is not None:
        change.begin_history(begins)
    return versions
