"""What a store of memory files must do, and the errors it may answer with.

A store holds the files of one tenant and knows nothing of commands, texts or paging. A path is a tuple of names, () for
the root; the handler has checked each name. A `MemoryStore` is enough for `MemoryToolHandler`; a `VersionedStore` also
keeps a history. `memory_stores.contract` has the tests that a store must pass, and a small store as an example.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

Path: TypeAlias = tuple[str, ...]
Operation: TypeAlias = Literal["created", "modified", "deleted"]


def spelled(path: Path) -> str:
    """A path as a model spells it."""
    return "/".join(("/memories", *path))


def parts(spelling: str) -> Path:
    """The path that `spelled` spells so. What a person or a model writes is to be checked before."""
    return tuple(filter(None, spelling.split("/")[2:]))


class Entry(NamedTuple):
    """A file or directory; `size` in bytes, for a directory whatever the store calls its size."""

    path: Path
    size: int
    is_directory: bool = False


class Limits(NamedTuple):
    """How far a store may grow. 1 MB a file is some 250,000 tokens: more than a context should hold of one file."""

    max_file_bytes: int = 1_000_000
    max_files: int = 10_000
    max_total_bytes: int = 100_000_000


class Reader(Protocol):
    """Reads without a lock: a file is the old content or the new one, whole."""

    def find(self, path: Path) -> Entry | None:
        """The file or directory at `path`; None for nothing, and for what is neither."""

    def read(self, path: Path) -> bytes:
        """The content of a file. Raises NotFound, IsDirectory, NotAFile or TooLarge."""

    def entries(self, path: Path = (), depth: int | None = None) -> Iterator[Entry]:
        """The directory at `path`, then all that is below it, `depth` levels deep, in the order of the paths.

        That is the order of the tuples: each directory comes before what it holds. Raises NotFound or NotADirectory, at
        the call or when iterated.
        """


class Change(Reader, Protocol):
    """One writer's view of a store: sees its own writes. Whatever it raises, nothing of the change may stay."""

    def write(self, path: Path, data: bytes) -> None:
        """Make `data` the content of the file, and the directories above it that are missing.

        Raises NotAFile for a directory in its place, NotADirectory for a file in the place of a directory, FileLimit or
        StoreLimit for growth past a limit; what shrinks is never refused.
        """

    def remove(self, path: Path) -> None:
        """Remove a file, or a directory with all below it; of the root, all below it. Raises NotFound."""

    def move(self, old: Path, new: Path) -> None:
        """Move a file or directory, and make the directories above `new`. Raises NotFound, or Occupied: never replaces."""


class MemoryStore(Reader, Protocol):
    """The files of one tenant, within limits. Scope and limits are given to the store when it is made."""

    def change(self) -> AbstractContextManager[Change]:
        """A change by one writer of the tenant at a time, all of it or nothing.

        It is kept when the block ends, and taken back on an exception in it or when the process is killed. Raises Busy
        if another writer does not come to an end.
        """


class Version(NamedTuple):
    """What one change made of one file. Immutable, but that `redact` takes content, hash and size away.

    Versions of one change share `change_id`. `content_sha256` (hex) and `size` (bytes) are None for a deletion and for
    what was redacted. `created_at` is aware (UTC) and rises from change to change. `created_by` is None for content
    that the history met: written by something that kept no history, before the change that follows.
    """

    id: str
    change_id: str
    path: str
    operation: Operation
    content_sha256: str | None
    size: int | None
    created_at: datetime
    created_by: str | None
    redacted: bool = False


class VersionedChange(Change, Protocol):
    """A change that can also write the history: its versions are kept with it or not at all."""

    def newest(self, path: Path) -> Version | None:
        """The newest version of a path, those of this change included."""

    def digest(self, path: Path) -> str | None:
        """The SHA-256 (hex) of the file at `path`, None if there is none that can be read; reads it in parts."""

    def record(self, path: Path, operation: Operation, created_by: str | None) -> None:
        """Add a version of the file as it is now: once a file, after the last that the change does to it.

        With None as `created_by` it is a change of its own, just before: to be recorded ahead of the versions of this one.
        """

    def put_back(self, path: Path, version_id: str) -> None:
        """`write` the content of a version, without loading it. Raises NotKept."""

    def redact(self, version_id: str) -> None:
        """Take content, hash and size away for good, of every version with that hash, whatever its path.

        Does nothing for a version that has none, or that is unknown.
        """

    def prune(self, keep: timedelta | int) -> None:
        """Drop the oldest changes until those left are no older, or hold no more bytes of content, than `keep`."""


@runtime_checkable
class VersionedStore(MemoryStore, Protocol):
    """A store with a history. Ids of another tenant's versions are unknown to it."""

    def change(self) -> AbstractContextManager[VersionedChange]: ...

    def versions(
        self, path: Path | None = None, *, change_id: str | None = None, after: datetime | None = None
    ) -> Iterator[Version]:
        """Versions, oldest first: of one path, of one change, or made after a time. Needs no right to write."""

    def version(self, version_id: str) -> Version | None:
        """One version, None if it is unknown."""

    def content(self, version_id: str) -> bytes | None:
        """The bytes after a version, None for a deletion. Raises NotKept, TooLarge."""

    def history_begins(self) -> datetime | None:
        """When the oldest change was made that is still known, if older ones were pruned; else None."""

    def erase(self) -> None:
        """Remove the tenant: files, versions, all. A store made anew for it is empty."""


@runtime_checkable
class ProposableStore(MemoryStore, Protocol):
    """A store that can hold what is proposed to it apart from what is in it."""

    @property
    def limits(self) -> Limits: ...

    def beside(self, name: str) -> MemoryStore:
        """Another store of the same tenant, of which nothing is seen in this one. Without limits; `erase` takes it too.

        It can be read while a change of this one is open, and this one while a change of it is.
        """


class StoreError(Exception):
    """Why a store did not do what was asked. Nothing of the change was done."""

    def __init__(self, path: Path = (), *, limit: int = 0, size: int = 0) -> None:
        super().__init__(spelled(path))
        self.path, self.limit, self.size = path, limit, size


class NotFound(StoreError):
    """There is nothing at the path."""


class IsDirectory(StoreError):
    """There is a directory where a file was asked for."""


class NotAFile(StoreError):
    """What is at the path cannot be read or written as a file: a directory to be written, a link, a device."""


class HardLink(NotAFile):
    """The file has a second name, perhaps outside of the memory."""


class NotADirectory(StoreError):
    """A part of the path is no directory, or was changed meanwhile."""


class Occupied(StoreError):
    """There is something at the path already."""


class NameTooLong(StoreError):
    """A name in the path is longer than the store can hold."""


class BadName(StoreError):
    """A name in the path is one that the store cannot hold, or that would mean something else there."""


class TooLarge(StoreError):
    """The file is too large to read, at `size` bytes."""


class FileLimit(StoreError):
    """The file would grow past `limit` bytes."""


class StoreLimit(StoreError):
    """The store would grow past `limit` files or `size` bytes."""


class OutOfSpace(StoreError):
    """There is no room left on the disk."""


class Forbidden(StoreError):
    """The system does not permit it."""


class Gone(StoreError):
    """The memory itself was removed."""


class Busy(StoreError):
    """Another writer of the tenant did not come to an end."""


class Unavailable(StoreError):
    """The store cannot be reached now; the next attempt may succeed."""


class NotKept(StoreError):
    """The content of the version is not there any more: redacted, pruned, or overwritten by another program."""
