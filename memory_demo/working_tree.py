"""The tracked files on disk and in git's index, held against a base: which of them are changed Python."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from memory_demo.git import LINK, SUBMODULE, Blob, Blobs, run_git
from memory_demo.python_source import (
    MAX_BYTES,
    NotReviewable,
    has_python_suffix,
    is_python,
    may_be_python,
)

_HEAD_BYTES = 4096


@dataclass(frozen=True)
class ChangedFile:
    """A Python file, or what may hold Python, that is not as it was in the base.

    `data` is None where it cannot be reviewed, and `reason` says why. `old_path` is its path in the base, and `base` its
    content there; they are None for what is new, and `base` for what is too large.
    """

    path: str
    data: bytes | None
    reason: str = ""
    old_path: str | None = None
    base: bytes | None = None


class WorkingTree:
    """The tracked files, held against a base: on disk as the bytes that are there, converted by nothing, and in the index."""

    def __init__(
        self,
        top: Path,
        algorithm: str,
        tracked: Mapping[str, Blob],
        base: Mapping[str, Blob],
        kept: Blobs,
    ) -> None:
        self._top = top
        self._algorithm = algorithm
        self._tracked = tracked
        self._base = base
        self._kept = kept

    def changed(self, paths: Iterable[str]) -> Iterator[ChangedFile]:
        """Those of these files that are changed Python, or may be."""
        for path in paths:
            try:
                data = self._changed_python(path)
            except NotReviewable as error:
                yield ChangedFile(path, None, str(error))
            except OSError as error:
                yield ChangedFile(path, None, f"cannot be read ({error.strerror})")
            else:
                if data is not None:
                    yield ChangedFile(path, data)

    def _changed_python(self, path: str) -> bytes | None:
        """The content of a changed Python file, None for any other. Raises NotReviewable, OSError.

        It is that of the index where the disk shows no change: a commit would take it.
        """
        blob = self._tracked.get(path)
        if blob is not None and blob.mode == SUBMODULE:
            if blob == self._base.get(path):
                return None
            raise NotReviewable("is a submodule, whose commits are not part of this repository")
        try:
            data = self._changed_on_disk(path)
        except (FileNotFoundError, NotADirectoryError):
            data = None
        return self._changed_in_index(path) if data is None else data

    def index_differs(self, path: str, data: bytes) -> bool:
        """Whether the index has a change of this file too, and another one than these bytes."""
        blob = self._changed_blob(path)
        return blob is not None and blob.id not in self._ids(data)

    def _changed_on_disk(self, path: str) -> bytes | None:
        status = (self._top / path).lstat()
        target = self._link_target(path, status.st_mode)
        if target is not None:
            self._check_link(path, target)
            return None
        if not stat.S_ISREG(status.st_mode):
            if has_python_suffix(path):
                raise NotReviewable("is not a regular file")
            return None
        with (self._top / path).open("rb") as file:
            data = file.read(_HEAD_BYTES)
            if not is_python(path, data):
                return None
            data += file.read(MAX_BYTES + 1 - len(data))
        if len(data) > MAX_BYTES:
            self._check_large(path)
            return None
        return None if self._is_in_base(path, data) else data

    def _changed_in_index(self, path: str) -> bytes | None:
        blob = self._changed_blob(path)
        if blob is None or self._is_on_disk(path, blob):
            return None
        data = self._kept.first_bytes(blob)
        if not blob.is_file:
            self._check_link(path, data)
            return None
        return data if is_python(path, data[:_HEAD_BYTES]) and not self._is_in_base(path, data) else None

    def _changed_blob(self, path: str) -> Blob | None:
        """What the index has, if it has something and the base has something else."""
        blob, base = self._tracked.get(path), self._base.get(path)
        if blob is not None and base is not None and blob.id == base.id and blob.is_file == base.is_file:
            return None
        return blob

    def _is_on_disk(self, path: str, blob: Blob) -> bool:
        """Whether the disk has this very file, so that what was found there holds; not asked of large ones."""
        where = self._top / path
        if not blob.is_file or where.is_symlink() or not where.is_file():
            return False
        with where.open("rb") as file:
            return blob.id in self._ids(file.read(MAX_BYTES + 1))

    def _is_in_base(self, path: str, data: bytes) -> bool:
        base = self._base.get(path)
        return base is not None and base.is_file and base.id in self._ids(data)

    def _check_large(self, path: str) -> None:
        id = run_git(self._top, ("hash-object", "--no-filters", "--", path)).decode().strip()
        base = self._base.get(path)
        if base is None or base.id != id:
            raise NotReviewable(f"is larger than {MAX_BYTES:,} bytes")

    def _link_target(self, path: str, mode: int) -> bytes | None:
        """Where a link leads; where the system has none, git checks out a file that says so."""
        if stat.S_ISLNK(mode):
            return os.fsencode((self._top / path).readlink())
        tracked = self._tracked.get(path)
        if tracked is not None and tracked.mode == LINK and stat.S_ISREG(mode):
            with (self._top / path).open("rb") as file:
                data = file.read(_HEAD_BYTES)
            return data if self._id(data) == tracked.id else None
        return None

    def _check_link(self, path: str, target: bytes) -> None:
        """Raise NotReviewable for a changed link that may lead to Python which nobody reviews."""
        base = self._base.get(path)
        if base is not None and base.mode == LINK and base.id == self._id(target):
            return
        was_python = (
            base is not None and base.is_file and is_python(path, self._kept.first_bytes(base)[:_HEAD_BYTES])
        )
        if was_python or has_python_suffix(path) or (may_be_python(path) and self._leads_out(path, target)):
            raise NotReviewable("is a link, and what it leads to is not part of the change")

    def _leads_out(self, path: str, target: bytes) -> bool:
        link = self._top / path
        try:
            where = (link.parent / os.fsdecode(target)).resolve().relative_to(self._top.resolve()).as_posix()
        except (ValueError, OSError, RuntimeError):
            return True
        return where != "." and not any(f"{name}/".startswith(f"{where}/") for name in self._tracked)

    def _ids(self, data: bytes) -> tuple[str, str]:
        """What git may call these bytes: some systems end each line by two, of which it keeps one."""
        return self._id(data), self._id(data.replace(b"\r\n", b"\n"))

    def _id(self, data: bytes) -> str:
        return hashlib.new(self._algorithm, b"blob %d\0%b" % (len(data), data)).hexdigest()
