"""Memory files as plain files in one directory: the store that needs nothing.

Beside `memories/` lie the store's own files: `.memory.lock`, which one writer holds at a time; `.memory.state`, what the
store holds or how to take back the change under way; `.memory.staged/`, files on their way in or out; and, once a
history was recorded, `.memory.history/`. A model reaches none of them.

A write is flushed to a staged file and renamed over the old one. Readers see the old file or the new one, whole, and so
does a restart after a kill; after a power failure the last rename may be missing. While a change of several files is
made, a reader can see a part of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import logging
import os
import re
import secrets
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path as FilePath
from typing import Self

from filelock import lock_descriptor, unlock_descriptor

from memory_stores.confined import (
    FLAGS,
    Digests,
    Directory,
    Place,
    StoreErrors,
    Tree,
    check_removable,
    chunks_of,
    created,
    opened,
    remove_all,
    rename_to_free_name,
    swapped,
    write_flushed,
)
from memory_stores.file_versions import FileVersions
from memory_stores.protocol import (
    Busy,
    Entry,
    FileLimit,
    Gone,
    Limits,
    NotADirectory,
    NotAFile,
    NotFound,
    NotKept,
    Occupied,
    Operation,
    Path,
    StoreError,
    StoreLimit,
    Version,
)
from memory_stores.undo_log import Step, UndoLog, Usage, is_under_way, steps_under_way

logger = logging.getLogger(__name__)

LOCK_SECONDS = 30.0


class FileStore:
    """The files in ``directory/memories``, or of one tenant of several below `directory`.

    `scope` names the tenant, by any strings: each has files, lock, limits and history of its own. Limits refuse growth
    past them, never what shrinks. Files that other programs add count once the store is counted anew: when its state
    is not known, and before a change is refused.

    Raises ValueError if the memory directory is a link, or on another disk than the one it lies in.
    """

    def __init__(
        self,
        directory: str | FilePath,
        scope: Sequence[str] = (),
        *,
        max_file_bytes: int = Limits().max_file_bytes,
        max_files: int = Limits().max_files,
        max_total_bytes: int = Limits().max_total_bytes,
    ) -> None:
        self.directory, self.root = _made(FilePath(directory, *_scope_directories(scope)))
        self.limits = Limits(max_file_bytes, max_files, max_total_bytes)
        self._tree = Tree(str(self.root))
        self._lock = str(self.directory / ".memory.lock")
        self._state = Place(None, str(self.directory / ".memory.state"))
        self._staged = Place(None, str(self.directory / ".memory.staged"))
        self._versions = FileVersions(self.directory / ".memory.history")

    @staticmethod
    def is_in(directory: str | FilePath, scope: Sequence[str] = ()) -> bool:
        """Whether the tenant has a memory there, or what is left of one; nothing is made. Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            names = [path.name for path in FilePath(directory, *_scope_directories(scope)).iterdir()]
            return any(name == "memories" or name.startswith(".memory.") for name in names)
        return False

    def find(self, path: Path) -> Entry | None:
        self._recover()
        return self._tree.find(path)

    def read(self, path: Path) -> bytes:
        self._recover()
        return self._tree.read(path)

    def entries(self, path: Path = (), depth: int | None = None) -> Iterator[Entry]:
        self._recover()
        return self._tree.entries(path, depth)

    def change(self) -> FileChange:
        return self._new_change(LOCK_SECONDS)

    def versions(
        self, path: Path | None = None, *, change_id: str | None = None, after: datetime | None = None
    ) -> Iterator[Version]:
        return self._versions.select(path, change_id, after)

    def version(self, version_id: str) -> Version | None:
        return self._versions.find(version_id)

    def content(self, version_id: str) -> bytes | None:
        self._recover()
        for _ in range(3):  # a writer may put the content elsewhere while this looks for it
            with contextlib.suppress(NotKept):
                return self._versions.content(version_id, self._holders)
        return self._versions.content(version_id, self._holders)

    def _holders(self, path: Path) -> Iterator[tuple[Tree, Path]]:
        """Where content that was once at `path` may be: there, or where the change under way has put it."""
        yield self._tree, path
        staged, places = Tree(self._staged.name), [path]
        for step in steps_under_way(self._state):
            top = step.path
            for inner in [place[len(top) :] for place in places if place[: len(top)] == top]:
                yield from ((staged, (name, *inner)) for name in step.names)
                if step.kind == "moved":
                    places.append((*step.to, *inner))
                    yield self._tree, places[-1]

    def history_begins(self) -> datetime | None:
        return self._versions.begins()

    def close(self) -> None:
        """Let go of the history's database; the next change opens it again."""
        self._versions.close()

    def beside(self, name: str) -> FileStore:
        """Another store of the same tenant, in a hidden directory beside the memory, without limits."""
        directory, none = self.directory / f".memory.{name}", sys.maxsize
        return FileStore(directory, max_file_bytes=none, max_files=none, max_total_bytes=none)

    def erase(self) -> None:
        """Remove the tenant: files, versions, all, and its directory if nothing else lies in it."""
        with Lock(self._lock, LOCK_SECONDS), StoreErrors():
            self._versions.close()
            own = {path.name for path in self.directory.iterdir() if path.name.startswith(".memory.")}
            for name in ("memories", *sorted(own - {".memory.lock"})):
                remove_all(Place(None, str(self.directory / name)).looked())
            with contextlib.suppress(
                PermissionError
            ):  # Windows removes no open file: there an empty lock stays
                Place(None, self._lock).unlink()
        with contextlib.suppress(OSError):
            self.directory.rmdir()

    def _recover(self) -> None:
        """Take back the change of a process that was killed, unless a writer is at work."""
        if is_under_way(self._state):
            with contextlib.suppress(StoreError), self._new_change(0):
                pass

    def _new_change(self, seconds: float) -> FileChange:
        lock = Lock(self._lock, seconds)
        return FileChange(lock, str(self.root), self._versions, self._state, self._staged, self.limits)


class Lock:
    """The lock that all threads and processes on a directory share. Raises Busy after `seconds`."""

    def __init__(self, file: str, seconds: float) -> None:
        self._file, self._seconds = file, seconds
        self._held = -1

    def __enter__(self) -> None:
        self.take()

    def __exit__(self, *_: object) -> None:
        self.release()

    def take(self) -> None:
        deadline = time.monotonic() + self._seconds
        while self._held < 0:
            file = self._open()
            try:
                while not lock_descriptor(file, blocking=False):
                    if time.monotonic() >= deadline:
                        raise Busy
                    time.sleep(0.002)
                if os.fstat(file).st_nlink:  # else the tenant was erased meanwhile, and the lock with it
                    self._held = file
            finally:
                if self._held < 0:
                    os.close(file)

    def check_held(self) -> None:
        if self._held < 0:
            raise RuntimeError("The change has ended: begin another one.")

    def release(self) -> None:
        try:
            unlock_descriptor(self._held)
        finally:
            os.close(self._held)
            self._held = -1

    def _open(self) -> int:
        with StoreErrors():
            try:
                return os.open(self._file, os.O_RDWR | os.O_CREAT | FLAGS, 0o600)
            except FileNotFoundError:
                raise Gone from None


class FileChange:
    """One change under the lock, carried out step by step; the undo log says how to take each step back.

    As a context it takes the lock, and brings to its end what a killed process left. Last it keeps the change, or takes
    it back, and releases the lock.
    """

    def __init__(
        self,
        lock: Lock,
        root: str,
        versions: FileVersions,
        state: Place,
        staged: Place,
        limits: Limits,
    ) -> None:
        self._digests: Digests = {}
        self._tree, self._versions = Tree(root, self._digests), versions
        self._lock, self._staged = lock, staged
        self._opened_staging: Directory | None = None
        self._limits = limits
        self._id = secrets.token_hex(16)
        self._log = UndoLog(state)
        self._usage: Usage | None = None
        self._usage_before: Usage | None = None
        self._recorded = self._committed = self._in_step = False
        self._read: set[Path] = set()
        self._put_aside: list[tuple[Path, Place]] = []
        self._adopted: list[Place] = []
        self._names = map(str, itertools.count())
        self._steps: list[Step] = []

    def __enter__(self) -> Self:
        self._lock.take()
        self._versions.in_use.acquire()
        try:
            with StoreErrors():
                self._log.open()
                self._usage = self._usage_before = self._log.usage()
                self._recover()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._commit()
        finally:
            try:
                self._roll_back()
            finally:
                self._close()

    def _close(self) -> None:
        try:
            self._log.close()
            if self._opened_staging is not None:
                self._opened_staging.close()
                self._opened_staging = None
        finally:
            self._versions.in_use.release()
            self._lock.release()

    @property
    def _staging(self) -> Directory:
        """The directory of staged files, opened when it is first needed."""
        if self._opened_staging is None:
            self._lock.check_held()
            try:
                self._opened_staging = Directory(self._staged)
            except FileNotFoundError:
                self._staged.make()
                self._opened_staging = Directory(self._staged)
        return self._opened_staging

    def find(self, path: Path) -> Entry | None:
        return self._tree.find(path)

    def read(self, path: Path) -> bytes:
        data = self._tree.read(path)
        self._read.add(path)
        return data

    def entries(self, path: Path = (), depth: int | None = None) -> Iterator[Entry]:
        return self._tree.entries(path, depth)

    def write(self, path: Path, data: bytes) -> None:
        self._put(path, len(data), [data])

    def remove(self, path: Path) -> None:
        names = [path]
        if not path:
            with self._tree.at(path) as root, Directory(root) as directory:
                names = [(entry.name,) for entry in directory.entries()]
        for name in names:
            self._remove(name)

    def move(self, old: Path, new: Path) -> None:
        try:
            with self._tree.at(old) as source:
                if source.found is None:
                    raise NotFound(old)
                self._move(source, old, new)
        except NotADirectory as error:
            raise (NotFound(old) if error.path == old else error) from None

    def newest(self, path: Path) -> Version | None:
        return self._versions.newest(path)

    def digest(self, path: Path) -> str | None:
        return self._tree.digest(path)

    def record(self, path: Path, operation: Operation, created_by: str | None) -> None:
        self._note_recorded()
        entry = None if operation == "deleted" else self.find(path)
        digest = self.digest(path) if entry else None
        self._versions.add(self._id, path, operation, digest, entry.size if entry else None, created_by)

    def put_back(self, path: Path, version_id: str) -> None:
        with self._versions.opened_content(version_id, self._holders) as (file, size):
            self._put(path, size, chunks_of(file))

    def redact(self, version_id: str) -> None:
        self._note_recorded()
        self._versions.redact(version_id)

    def prune(self, keep: timedelta | int) -> None:
        self._note_recorded()
        self._versions.prune(keep)

    def adopt(self, version: Version, content: bytes | None) -> None:
        """Take over a version of another store as it is; without content, where that is not kept."""
        self._note_recorded()
        self._versions.adopt(version)
        if content is not None:
            name = next(self._names)
            staged = self._staging.place(name)
            self._note("adopted", staged=name)
            with created(staged) as file:
                write_flushed(file, [content])
            self._adopted.append(staged)
            self._in_step = False

    def begin_history(self, begins: datetime) -> None:
        """Let the history begin at a time, as if what was before had been pruned."""
        self._note_recorded()
        self._versions.begin(begins)

    def _commit(self) -> None:
        """Keep the change. It cannot be taken back once its versions or a last line are written."""
        if not self._steps:
            return
        self._check_whole()
        left = [place for _, place in self._put_aside] + self._adopted
        if self._recorded:
            self._versions.commit(self._id)
        elif len(self._steps) == 1 and all(place.is_file for place in left):
            self._clean_up(left, False)  # without the file that was put aside, nobody can take the step back
            left = []
        elif left:
            self._note("committed")
        self._committed = True
        try:
            self._clean_up(left, self._recorded)
            self._log.end(self._usage)
        except (OSError, StoreError):
            logger.exception("a change is kept, and the next one will clean up after it")

    def _roll_back(self) -> None:
        """Take back every step, newest first."""
        if self._committed:
            return
        self._versions.roll_back()
        if self._steps:
            self._take_back(self._steps)
            self._log.end(self._usage_before)

    def _recover(self) -> None:
        """Bring to its end what a killed process left: forward if its versions were written, else back."""
        steps = self._log.unfinished()
        if not steps:
            return
        kinds = {step.kind for step in steps}
        if "committed" in kinds or ("recorded" in kinds and self._versions.committed(steps[0].change)):
            self._clean_up(self._staged_by(steps), "recorded" in kinds)
        else:
            self._take_back(steps)
            if "recorded" in kinds:
                self._versions.drop_unused()
        self._log.end(None)
        self._usage = self._usage_before = None

    def _holders(self, path: Path) -> Iterator[tuple[Tree, Path]]:
        """Where content that was once at `path` may be: there, or put aside by this change."""
        yield self._tree, path
        for old, place in self._put_aside:
            if path[: len(old)] == old:
                yield Tree(self._staged.name), (FilePath(place.name).name, *path[len(old) :])

    def _note_recorded(self) -> None:
        if not self._recorded:
            self._recorded = True
            self._note("recorded")
            self._in_step = False

    def _note(
        self, kind: str, path: Path = (), to: Path = (), staged: str = "", saved: str = "", inode: int = 0
    ) -> None:
        """Write down a step that is taken next; if that fails, the change cannot go on."""
        self._lock.check_held()
        self._check_whole()
        step = Step(self._id, kind, path, to, staged, saved, inode)
        self._log.note(step)
        self._steps.append(step)
        self._in_step = True

    def _check_whole(self) -> None:
        if self._in_step:
            raise RuntimeError("A step of the change failed, so that nothing of it can be kept.")

    def _put(self, path: Path, size: int, chunks: Iterable[bytes]) -> None:
        def make(missing: Place, above: Path) -> None:
            self._grown(path, size, None)  # refused before anything is made
            self._make(missing, above)

        was_read = path in self._read
        with self._tree.at(path, None if was_read else make) as place:
            if place.found is None and was_read:
                raise NotADirectory(path)  # another program took it away: an edit does not make it anew
            if place.found and not place.is_file:
                raise NotAFile(path)
            usage = self._grown(path, size, place if place.found else None)
            name, saved = next(self._names), next(self._names)
            staged = self._staging.place(name)
            with created(staged) as file:
                inode = os.fstat(file).st_ino
                kind = "created" if place.found is None else "replaced"
                self._note(kind, path, staged=name, saved=saved, inode=inode)
                write_flushed(file, chunks)
            if place.found is None:
                rename_to_free_name(staged, place)
            else:
                old = self._replace(place, staged, self._staging.place(saved), path)
                self._put_aside.append((path, Place(old.dir_fd, old.name, place.found)))
        self._usage, self._in_step = usage, False

    def _replace(self, place: Place, staged: Place, saved: Place, path: Path) -> Place:
        """Put a staged file in the place of another, and say where that is then."""
        if swapped(staged, place):
            return staged
        self._save(place, saved, path)
        staged.replace(place)
        return saved

    def _save(self, place: Place, saved: Place, path: Path) -> None:
        """Put a file aside, for systems that cannot swap; nobody may read one with a second name, so it may be missing."""
        if place.has_second_name:
            rename_to_free_name(place, saved)
        else:
            with opened(place, path) as old, created(saved) as copy:
                write_flushed(copy, chunks_of(old))

    def _make(self, place: Place, path: Path) -> None:
        self._note("made", path)
        place.make()
        self._in_step = False

    def _remove(self, path: Path) -> None:
        try:
            with self._tree.at(path) as place:
                if place.found is None:
                    raise NotFound(path)
                if place.is_directory:
                    check_removable(place)
                gone = self._counted(path, sys.maxsize) if place.is_directory else _usage_of(place)
                name = next(self._names)
                aside = self._staging.find(name)
                remove_all(aside)  # what a writer left that was killed before it took note
                self._note("removed", path, staged=name)
                rename_to_free_name(place, aside)
                self._put_aside.append((path, Place(aside.dir_fd, aside.name, place.found)))
                self._forget(path)
                self._usage, self._in_step = self._usage and self._usage.plus(-gone.files, -gone.size), False
        except NotADirectory:
            raise NotFound(path) from None

    def _move(self, source: Place, old: Path, new: Path) -> None:
        if new[: len(old)] == old != new:
            raise NotADirectory(new)
        with self._tree.at(new, self._make) as target:
            if target.found:
                raise Occupied(new)
            self._note("moved", old, to=new)
            rename_to_free_name(source, target)
        self._forget(old)
        self._in_step = False

    def _forget(self, path: Path) -> None:
        """What was read there is gone by this change: a write makes it anew."""
        self._read = {read for read in self._read if read[: len(path)] != path}

    def _grown(self, path: Path, size: int, old: Place | None) -> Usage | None:
        """The usage with a file of this size in the place of an old one; growth past a limit is refused.

        Before that the files are counted anew.
        """
        was = 0 if old is None else old.size
        if size > max(self._limits.max_file_bytes, was):
            raise FileLimit(path, limit=self._limits.max_file_bytes)
        more = Usage(int(old is None), size - was)
        after = self._usage and self._usage.plus(*more)
        if max(more) > 0 and (after is None or after.exceeds(self._limits)):
            after = self._counted((), self._limits.max_files + 1).plus(*more)
            if after.exceeds(self._limits):
                raise StoreLimit(limit=self._limits.max_files, size=self._limits.max_total_bytes)
        return after

    def _counted(self, path: Path, most: int) -> Usage:
        """The usage below a directory, counting `most` files at most."""
        files = (entry for entry in self._tree.entries(path, None) if not entry.is_directory)
        sizes = [entry.size for entry in itertools.islice(files, min(most, sys.maxsize))]
        return Usage(len(sizes), sum(sizes))

    def _clean_up(self, left: Sequence[Place], recorded: bool) -> None:
        """Let go of what was put aside; content that a version needs goes into the history."""
        needed = recorded or (left and self._versions.exist())
        for place in left:
            try:
                if needed:
                    self._versions.keep(place.looked(), self._digests)
                remove_all(place if place.is_file and not needed else place.looked())
            except PermissionError:
                logger.exception("what was removed from the memory could not be removed from the disk")
                place.replace(self._staging.place(f"left-{secrets.token_hex(8)}"))
        if recorded:
            self._versions.drop_unused()

    def _take_back(self, steps: Sequence[Step]) -> None:
        copies: set[int] = set()
        for step in reversed(steps):
            with contextlib.suppress(OSError, StoreError):
                self._take_back_step(step, copies)
        for place in self._staged_by(steps):
            remove_all(place)

    def _staged_by(self, steps: Sequence[Step]) -> list[Place]:
        """What these steps have left in the staging directory."""
        return [self._staging.find(name) for step in steps for name in step.names]

    def _take_back_step(self, step: Step, copies: set[int]) -> None:
        """Only what is still what the step made is touched: its file, or one of the `copies` put back in its place."""
        with self._tree.at(step.path) as place:
            is_ours = place.inode in {step.inode, *copies}
            match step.kind:
                case "made":
                    place.rmdir()
                case "created" if is_ours:
                    place.unlink()
                case "replaced":
                    saved = self._staging.find(step.saved)
                    if is_ours or (saved.found and not place.found):
                        old = saved if saved.found else self._staging.find(step.staged)
                        copies.add(old.inode)
                        old.replace(place)
                case "removed":
                    rename_to_free_name(self._staging.place(step.staged), place)
                case "moved":
                    with self._tree.at(step.to) as target:
                        rename_to_free_name(target, place)


def _made(base: FilePath) -> tuple[FilePath, FilePath]:
    """The directory of a tenant and the memory in it, made again if somebody erases the tenant meanwhile."""
    for _ in range(100):
        with contextlib.suppress(FileExistsError, FileNotFoundError):
            return _made_once(base)
    return _made_once(base)


def _made_once(base: FilePath) -> tuple[FilePath, FilePath]:
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory = base.resolve()
    root = directory / "memories"
    if root.is_symlink():
        raise ValueError(f"{root} is a link: give the path of the real directory.")
    root.mkdir(mode=0o700, exist_ok=True)
    if root.stat().st_dev != directory.stat().st_dev:
        raise ValueError(f"{root} is on a disk of its own: mount that at {directory} instead.")
    return directory, root


def _usage_of(place: Place) -> Usage:
    return Usage(1, place.size) if place.is_file else Usage(0, 0)


def _scope_directories(scope: Sequence[str]) -> list[str]:
    """A directory name for each part: no two share one, on disks without case or with reserved names either."""
    if isinstance(scope, str):
        raise TypeError(f"scope is the string {scope!r}: give a sequence of strings, such as ({scope!r},).")
    names = []
    for data in (part.encode("utf-8", "surrogatepass") for part in scope):
        name = re.sub(rb"[^a-z0-9_-]", lambda found: f"%{found[0].hex()}".encode(), data).decode()
        names.append(
            f"scope-{name if len(name) <= 100 else f'{name[:30]}~{hashlib.sha256(data).hexdigest()}'}"
        )
    return names
