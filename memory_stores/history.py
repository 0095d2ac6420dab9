"""The history of a memory, and the way back, over any store that keeps versions.

The words are those of Anthropic's hosted memory stores (`client.beta.memory_stores` in the SDK): each change makes
immutable versions, one a file.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Self, TypeAlias, TypeVar

from memory_stores.protocol import (
    Change,
    MemoryStore,
    NotKept,
    Path,
    Version,
    VersionedChange,
    VersionedStore,
    parts,
    spelled,
)

Answer: TypeAlias = dict[str, str]
_Found = TypeVar("_Found")


class HistoryError(Exception):
    """What cannot be undone, restored or redacted; the message is a sentence for who asked."""


class History:
    """The versions of a store. `answer` turns what a function returns or raises into ``{"success"|"error": text}``.

    Undo, restore and redact are changes themselves: each happens whole or not at all. With `created_by`, undo and
    restore are recorded as well. Screens are not asked. `proposal_holding` tells which proposal has content with a hash.
    """

    def __init__(
        self,
        store: MemoryStore,
        answer: Callable[[Callable[[], str]], Answer],
        created_by: str | None = None,
        keep: timedelta | int | None = None,
        proposal_holding: Callable[[str], str | None] = lambda sha256: None,
    ) -> None:
        self._store, self._answer, self._proposal_holding = store, answer, proposal_holding
        # Asked once: to compare with a protocol takes as long as to read a file.
        self._with_versions = store if isinstance(store, VersionedStore) else None
        self._created_by, self._keep = created_by, keep

    def change(self) -> AbstractContextManager[Change]:
        """A change of the store, recorded if a history is."""
        return self._store.change() if self._created_by is None else self._recorded()

    @contextlib.contextmanager
    def _recorded(self) -> Iterator[Change]:
        with self._versioned().change() as change, self._recording(change) as recorded:
            yield recorded

    @contextlib.contextmanager
    def _recording(self, change: VersionedChange) -> Iterator[VersionedChange | RecordedChange]:
        """The change itself if no history is recorded; else one that records it, and prunes at its end."""
        if self._created_by is None:
            yield change
            return
        with RecordedChange(change, self._created_by) as recorded:
            yield recorded
        if self._keep is not None:
            change.prune(self._keep)

    def versions(self, path: str | None = None) -> list[Version]:
        """Every version, oldest first; of one path, such as ``/memories/notes.md``, if given. Raises HistoryError."""
        store = self._with_versions
        if path is not None and not path.startswith("/memories/"):
            raise HistoryError(
                f"{path!r} is not the path of a note: write it whole, such as /memories/notes.md."
            )
        if store is None:
            return []
        return self._told(lambda: list(store.versions(None if path is None else parts(path))))

    def content(self, version_id: str) -> bytes | None:
        """The bytes after a version, None for a deletion. Raises HistoryError if they are not known."""
        version = self._told(lambda: self._version(version_id))
        if version.redacted:
            raise HistoryError(f"The content of version {version_id} was redacted.")
        return self._told(lambda: self._versioned().content(version_id))

    def _told(self, read: Callable[[], _Found]) -> _Found:
        """What a store finds, or what it says in a sentence for people."""
        found: list[_Found] = []

        def look() -> str:
            found.append(read())
            return ""

        answer = self._answer(look)
        if not found:
            raise HistoryError(answer["error"])
        return found[0]

    def undo(self, version_id: str) -> Answer:
        """Take back the whole change that made a version: ``{"success": the paths that this changed}``.

        Refused if one of its paths has changed since.
        """
        return self._answer(lambda: self._set_back(lambda change: self._before_change(change, version_id)))

    def restore(self, until: datetime) -> Answer:
        """Make every path that changed after a time what it was then; `until` is inclusive, a naive one is local.

        What other programs did meanwhile to these paths is taken back with it. Paths that no change on record touched
        stay as they are.
        """
        return self._answer(lambda: self._set_back(lambda _: self._at(until.astimezone(UTC))))

    def redact(self, version_id: str) -> Answer:
        """Take content, hash and size of a version away for good, of every version with that hash, whatever its path.

        That it was stays on record. Refused for what is still in the memory, at any path, or in a proposal.
        """
        return self._answer(lambda: self._redact(version_id))

    def _redact(self, version_id: str) -> str:
        with self._versioned().change() as change:
            version = self._version(version_id)
            if version.content_sha256 is None:
                what = "was redacted already" if version.redacted else "is a deletion: it has no content"
                raise HistoryError(f"Version {version_id} {what}.")
            live = _file_with_content_of(version, change)
            if live is not None:
                raise HistoryError(
                    f"Version {version_id} is what {spelled(live)} holds now: change or delete the file first."
                )
            proposal = self._proposal_holding(version.content_sha256)
            if proposal is not None:
                raise HistoryError(
                    f"Version {version_id} is also in the proposal {proposal!r}: approve or reject that first."
                )
            change.redact(version_id)
        moment = version.created_at.isoformat()
        return f"Redacted {version.path} as of {moment}, and every other version with the same content"

    def _set_back(self, wanted: Callable[[VersionedChange], dict[Path, Version | None]]) -> str:
        with self._versioned().change() as change:
            different = {
                path: version
                for path, version in wanted(change).items()
                if change.digest(path) != (version and self._digest(version))
            }
            with self._recording(change) as recorded:
                _make_so(recorded, different)
        return "\n".join(sorted(map(spelled, different))) or "Nothing had to be changed."

    def _digest(self, version: Version) -> str | None:
        if version.redacted:
            raise HistoryError(f"{version.path} cannot be put back: that content was redacted.")
        return version.content_sha256

    def _before_change(self, change: VersionedChange, version_id: str) -> dict[Path, Version | None]:
        """What each path of a change was before it. Refused if one has changed since."""
        store = self._versioned()
        wanted: dict[Path, Version | None] = {}
        for version in store.versions(change_id=self._version(version_id).change_id):
            path = parts(version.path)
            if change.digest(path) != self._digest(version):
                raise HistoryError(
                    f"{version.path} has changed since: undo what came later first, or restore a time."
                )
            earlier = list(itertools.takewhile(_other_than(version), store.versions(path)))
            wanted[path] = _last(earlier)
            if not earlier and version.operation != "created":
                raise HistoryError(
                    f"What {version.path} was before is not on record any more{self._begins()}."
                )
        return wanted

    def _at(self, until: datetime) -> dict[Path, Version | None]:
        """What each path that has changed since was at a time."""
        store = self._versioned()
        begins = store.history_begins()
        if begins is not None and until < begins:
            raise HistoryError(f"What was then is not on record any more{self._begins()}.")
        wanted: dict[Path, Version | None] = {}
        for name in dict.fromkeys(version.path for version in store.versions(after=until)):
            path, known = parts(name), list(store.versions(parts(name)))
            then = [
                version
                for number, version in enumerate(known)
                # A first version that nobody made is of a file that was there before the history.
                if version.created_at <= until or (number == 0 and version.created_by is None)
            ]
            if not then and known[0].operation != "created":
                raise HistoryError(f"What {name} was then is not on record any more{self._begins()}.")
            wanted[path] = _last(then)
        return wanted

    def _version(self, version_id: str) -> Version:
        version = self._versioned().version(version_id)
        if version is None:
            raise HistoryError(f"There is no version {version_id} in the history{self._begins()}.")
        return version

    def _begins(self) -> str:
        begins = self._versioned().history_begins()
        return f", which begins after {begins.isoformat()}" if begins else ""

    def _versioned(self) -> VersionedStore:
        if self._with_versions is None:
            raise HistoryError("This store keeps no history.")
        return self._with_versions


class RecordedChange:
    """A change that records, as its block ends, one version of each file that it created, modified or deleted.

    What something else had written to one of them is recorded where the change first meets it, and so comes first.
    """

    def __init__(self, change: VersionedChange, created_by: str) -> None:
        self._change, self._created_by = change, created_by
        self.find, self.read, self.entries = change.find, change.read, change.entries
        # Whether there was a file before this change, and whether there is one now.
        self._before: dict[Path, bool] = {}
        self._now: dict[Path, bool] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            for path, is_there in self._now.items():
                self._record(path, self._before[path], is_there)

    def write(self, path: Path, data: bytes) -> None:
        self._meet(path)
        self._change.write(path, data)
        self._now[path] = True

    def put_back(self, path: Path, version_id: str) -> None:
        self._meet(path)
        self._change.put_back(path, version_id)
        self._now[path] = True

    def remove(self, path: Path) -> None:
        files = self._files(path)
        self._change.remove(path)
        self._now |= dict.fromkeys(files, False)

    def move(self, old: Path, new: Path) -> None:
        files = self._files(old)
        moved = [(*new, *file[len(old) :]) for file in files]
        for path in moved:
            self._meet(path)
        self._change.move(old, new)
        self._now |= dict.fromkeys(files, False) | dict.fromkeys(moved, True)

    def _record(self, path: Path, was_there: bool, is_there: bool) -> None:
        if is_there:
            self._change.record(path, "modified" if was_there else "created", self._created_by)
        elif was_there:
            self._change.record(path, "deleted", self._created_by)

    def _files(self, path: Path) -> list[Path]:
        """The files at or below a path, all met by the history."""
        entry = self._change.find(path)
        if entry is None:
            return []
        entries = self._change.entries(path) if entry.is_directory else [entry]
        return [entry.path for entry in entries if not entry.is_directory and self._meet(entry.path)]

    def _meet(self, path: Path) -> bool:
        """Whether there is a file, one that can be read; what something else wrote to it is recorded first."""
        if path in self._now:
            return self._now[path]
        digest, newest = self._change.digest(path), self._change.newest(path)
        if digest != (newest and newest.content_sha256):
            known = newest is not None and newest.operation != "deleted"
            self._change.record(
                path, "deleted" if digest is None else "modified" if known else "created", None
            )
        self._before[path] = digest is not None
        return self._before[path]


def _make_so(change: VersionedChange | RecordedChange, wanted: Mapping[Path, Version | None]) -> None:
    """Make each path what it was as of a version, or nothing."""
    for path in [path for path, version in wanted.items() if version is None]:
        remove_file(change, path)
    for path, version in wanted.items():
        if version is not None:
            make_room(change, path)
            try:
                change.put_back(path, version.id)
            except NotKept:
                raise HistoryError(f"{version.path} cannot be put back: that content is gone.") from None


def remove_file(change: Change, path: Path) -> None:
    """Remove a file, and the directories that it leaves empty."""
    change.remove(path)
    for depth in range(len(path) - 1, 0, -1):
        if len(list(itertools.islice(change.entries(path[:depth], 1), 2))) > 1:
            break
        change.remove(path[:depth])


def make_room(change: Change, path: Path) -> None:
    """Remove directories in the place of a file, if no file is in them."""
    entry = change.find(path)
    if entry and entry.is_directory and all(below.is_directory for below in change.entries(path)):
        change.remove(path)


def _file_with_content_of(version: Version, change: VersionedChange) -> Path | None:
    """A file that holds now what a version holds. Only those of its size are read."""
    of_its_size = (
        entry.path for entry in change.entries() if not entry.is_directory and entry.size == version.size
    )
    return next((path for path in of_its_size if change.digest(path) == version.content_sha256), None)


def _last(versions: Iterable[Version]) -> Version | None:
    """The last of some versions of a path; None where there was no file then."""
    last = None
    for version in versions:
        last = version
    return None if last is None or last.operation == "deleted" else last


def _other_than(version: Version) -> Callable[[Version], bool]:
    return lambda other: other.id != version.id
