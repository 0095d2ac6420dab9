"""Files below one directory, reached by names alone: nothing here follows a link.

Every part of a path is opened relative to the directory opened before it, so that no link swapped in meanwhile leads
out. Where the platform cannot open relative to a directory (Windows), a path is resolved and compared: weaker, as that
misses a swap between the two steps.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import operator
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path as FilePath
from typing import NamedTuple, Self, TypeAlias

from memory_stores.protocol import (
    BadName,
    Entry,
    Forbidden,
    Gone,
    HardLink,
    IsDirectory,
    NameTooLong,
    NotADirectory,
    NotAFile,
    NotFound,
    OutOfSpace,
    Path,
    StoreError,
    TooLarge,
)

Digests: TypeAlias = dict[tuple[int, int, int], str]

CHUNK = 1024 * 1024
READ_BYTES = 64 * 1024 * 1024
FLAGS = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))
DIR_FD = os.open in os.supports_dir_fd and os.scandir in os.supports_fd and hasattr(os, "O_NOFOLLOW")
_EFFECTIVE = os.access in os.supports_effective_ids
_DIRECTORY = FLAGS | getattr(os, "O_DIRECTORY", 0)
_NOT_IN_A_NAME = frozenset("/\0" if os.sep == "/" else "/\\:\0")
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_ERRORS: dict[int, type[StoreError]] = (
    dict.fromkeys((errno.ENOSPC, errno.EDQUOT), OutOfSpace)
    | dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), Forbidden)
    | dict.fromkeys((*_ABSENT, errno.EEXIST, errno.EISDIR, errno.ENOTEMPTY), NotADirectory)
    | {errno.ENAMETOOLONG: NameTooLong}
)


class StoreErrors:
    """A context that turns what the system refuses into the errors of a store; the cause stays attached for the log."""

    def __init__(self, path: Path = ()) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, OSError) and error.errno in _ERRORS:
            raise _ERRORS[error.errno](self._path) from error


class Place(NamedTuple):
    """A name relative to an open directory, or a full path and no `dir_fd`; and what was found there."""

    dir_fd: int | None
    name: str
    found: os.stat_result | None = None

    @property
    def is_directory(self) -> bool:
        return self.found is not None and stat.S_ISDIR(self.found.st_mode)

    @property
    def is_file(self) -> bool:
        return self.found is not None and stat.S_ISREG(self.found.st_mode)

    @property
    def size(self) -> int:
        return self.found.st_size if self.found else 0

    @property
    def inode(self) -> int:
        return self.found.st_ino if self.found else 0

    @property
    def has_second_name(self) -> bool:
        return self.found is not None and self.found.st_nlink > 1

    def looked(self) -> Place:
        """The same place with what is there now."""
        return Place(self.dir_fd, self.name, _status(self.name, self.dir_fd))

    def open(self, flags: int) -> int:
        return os.open(self.name, flags | FLAGS, 0o600, dir_fd=self.dir_fd)

    def make(self) -> None:
        os.mkdir(self.name, 0o700, dir_fd=self.dir_fd)

    def unlink(self) -> None:
        os.unlink(self.name, dir_fd=self.dir_fd)

    def rmdir(self) -> None:
        os.rmdir(self.name, dir_fd=self.dir_fd)

    def replace(self, target: Place) -> None:
        os.replace(self.name, target.name, src_dir_fd=self.dir_fd, dst_dir_fd=target.dir_fd)


def _status(name: str, dir_fd: int | None) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


class Directory:
    """An open directory; or its path and a separator, where the platform cannot open relative to one."""

    def __init__(self, place: Place) -> None:
        self._fd: int | None = None
        self._prefix = ""
        if DIR_FD:
            self._fd = os.open(place.name, _DIRECTORY, dir_fd=place.dir_fd)
            return
        real, expected = os.path.realpath(place.name, strict=True), os.path.normpath(place.name)
        if os.path.normcase(real) != os.path.normcase(expected) or not FilePath(real).is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        self._prefix = real + os.sep

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)

    def place(self, name: str) -> Place:
        return Place(self._fd, self._prefix + name)

    def may_change(self) -> bool:
        """Whether this user may take names out of it, as far as the system tells beforehand."""
        return os.access(self._prefix or ".", os.W_OK | os.X_OK, dir_fd=self._fd, effective_ids=_EFFECTIVE)

    def find(self, name: str) -> Place:
        """The place of a name and what is there, if anything; a link is not followed."""
        full = self._prefix + name
        return Place(self._fd, full, _status(full, self._fd))

    def entries(self) -> list[os.DirEntry[str]]:
        with os.scandir(self._prefix or self._fd) as entries:
            return sorted(entries, key=operator.attrgetter("name"))


class Tree:
    """The files and directories below a real directory `root`.

    With `digests`, a file that has not changed is not hashed twice: for the time of one change, under the lock.
    """

    def __init__(self, root: str, digests: Digests | None = None) -> None:
        self._top, self._digests = Place(None, root), digests

    @contextlib.contextmanager
    def at(self, path: Path, make: Callable[[Place, Path], None] | None = None) -> Iterator[Place]:
        """What is at `path`, its parent open. Missing parents are an error, or are made with `make`.

        Raises NotADirectory where a part above `path` is missing or not a directory, Gone without the root, BadName for
        what is more than the name of one file: it would lead elsewhere.
        """
        if not all(map(_is_name, path)):
            raise BadName(path)
        with StoreErrors(path), self._parent(path, make) as directory:
            yield directory.find(path[-1] if path else ".")

    def _parent(self, path: Path, make: Callable[[Place, Path], None] | None) -> Directory:
        try:
            directory = Directory(self._top)
        except FileNotFoundError:
            raise Gone from None
        for depth, name in enumerate(path[:-1], 1):
            with directory as outer:
                place = outer.place(name)
                try:
                    directory = Directory(place)
                except FileNotFoundError:
                    if make is None:
                        raise
                    make(place, path[:depth])
                    directory = Directory(place)
        return directory

    def find(self, path: Path) -> Entry | None:
        with contextlib.suppress(NotADirectory), self.at(path) as place:
            if place.is_file or place.is_directory:
                return Entry(path, place.size, place.is_directory)
        return None

    def read(self, path: Path) -> bytes:
        try:
            with self.at(path) as place, opened(place, path) as file:
                return _content(file, path)
        except NotADirectory:
            raise NotFound(path) from None

    def digest(self, path: Path) -> str | None:
        """The SHA-256 of a file that has one name; None for anything else."""
        nothing = contextlib.suppress(NotADirectory, NotFound, NotAFile, IsDirectory)
        with nothing, self.at(path) as place, opened(place, path) as file:
            return digest_of(file, self._digests)
        return None

    def entries(self, path: Path, depth: int | None) -> Iterator[Entry]:
        """The directory and what is below it, each directory before what it holds; no links or special files."""
        with contextlib.ExitStack() as stack:
            try:
                place = stack.enter_context(self.at(path))
            except NotADirectory:
                raise NotFound(path) from None
            if not place.is_directory:
                raise (NotADirectory if place.is_file else NotFound)(path)
            yield Entry(path, place.size, True)
            directory = stack.enter_context(Directory(place))
            yield from _below(directory, path, sys.maxsize if depth is None else depth)


def _is_name(name: str) -> bool:
    return name not in ("", ".", "..") and _NOT_IN_A_NAME.isdisjoint(name)


def _below(directory: Directory, path: Path, depth: int) -> Iterator[Entry]:
    for entry in directory.entries():
        inner_path = (*path, entry.name)
        if entry.is_file(follow_symlinks=False):
            yield Entry(inner_path, size_of(entry))
        elif entry.is_dir(follow_symlinks=False):
            yield Entry(inner_path, size_of(entry), True)
            if depth > 1:
                with (
                    contextlib.suppress(FileNotFoundError),
                    Directory(directory.place(entry.name)) as inner,
                ):
                    yield from _below(inner, inner_path, depth - 1)


def size_of(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0


class OpenFile:
    """The descriptor of an open file, as a context that closes it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __enter__(self) -> int:
        return self._descriptor

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def opened(place: Place, path: Path) -> OpenFile:
    """A regular file with one name, open for reading. Raises NotFound, IsDirectory, NotAFile, HardLink."""
    if not place.is_file:
        raise (
            NotFound(path) if place.found is None else (IsDirectory if place.is_directory else NotAFile)(path)
        )
    file = place.open(os.O_RDONLY)
    found = os.fstat(file)
    is_file = stat.S_ISREG(found.st_mode)
    if is_file and found.st_nlink <= 1:
        return OpenFile(file)
    os.close(file)
    raise (HardLink if is_file else NotAFile)(path)


def _content(file: int, path: Path) -> bytes:
    size = os.fstat(file).st_size
    if size > READ_BYTES:
        raise TooLarge(path, size=size)
    data = os.read(file, size)
    while len(data) < size and (more := os.read(file, size - len(data))):
        data += more
    return data


def chunks_of(file: int) -> Iterator[bytes]:
    """The content of an open file, part by part."""
    while data := os.read(file, CHUNK):
        yield data


def digest_of(file: int, digests: Digests | None = None) -> str:
    """The SHA-256 of an open file, read in parts; its inode, size and time say whether it is known already."""
    found = os.fstat(file)
    identity = found.st_ino, found.st_size, found.st_mtime_ns
    if digests is not None and identity in digests:
        return digests[identity]
    digest = hashlib.sha256()
    for chunk in chunks_of(file):
        digest.update(chunk)
    if digests is not None:
        digests[identity] = digest.hexdigest()
    return digest.hexdigest()


def created(place: Place) -> OpenFile:
    """A new file that nobody sees yet, open for writing; what a killed process left there goes."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        return OpenFile(place.open(flags))
    except FileExistsError:
        place.unlink()
        return OpenFile(place.open(flags))


def write_flushed(file: int, chunks: Iterable[bytes]) -> None:
    for chunk in chunks:
        left = memoryview(chunk)
        while left:
            left = left[os.write(file, left) :]
    os.fsync(file)


def check_removable(place: Place) -> None:
    """Raise PermissionError for a directory below which this user may not remove all."""
    with Directory(place) as directory:
        entries = directory.entries()
        if entries and not directory.may_change():
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), place.name)
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                check_removable(directory.place(entry.name))


def remove_all(place: Place) -> None:
    """Remove what is at `place`, a directory with all below it; links are removed, not followed."""
    for tries_left in reversed(range(100)):
        try:
            if place.is_directory:
                shutil.rmtree(place.name, dir_fd=place.dir_fd)
            elif place.found is not None:
                place.unlink()
            return
        except OSError as error:  # others took something away meanwhile, or put something there
            if error.errno not in (errno.ENOENT, errno.ENOTEMPTY) or not tries_left:
                raise
            place = place.looked()


# The rename of the C library with flags: one to refuse to replace, one to swap two names in one step.
_NAME, _NO_REPLACE, _SWAP = {"linux": ("renameat2", 1, 2), "darwin": ("renameatx_np", 4, 2)}.get(
    sys.platform, ("", 0, 0)
)
_RENAME = getattr(ctypes.CDLL(None, use_errno=True), _NAME, None) if _NAME else None


def rename_to_free_name(source: Place, target: Place) -> None:
    """Rename, and never replace what another program has meanwhile put at `target`.

    Where the system has no such rename, that holds for programs that take the lock.
    """
    if not _renamed(source, target, _NO_REPLACE):
        os.rename(source.name, target.name, src_dir_fd=source.dir_fd, dst_dir_fd=target.dir_fd)


def swapped(one: Place, other: Place) -> bool:
    """Swap two names in one step, if the system can."""
    return _renamed(one, other, _SWAP)


def _renamed(source: Place, target: Place, flag: int) -> bool:
    if not _RENAME or source.dir_fd is None or target.dir_fd is None:
        return False
    names = os.fsencode(source.name), os.fsencode(target.name)
    if _RENAME(source.dir_fd, names[0], target.dir_fd, names[1], flag) == 0:
        return True
    if (code := ctypes.get_errno()) in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code))
