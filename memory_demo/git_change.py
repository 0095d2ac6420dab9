"""What a branch changes, asked of git so that neither the branch nor a setting of the checkout has a say in it.

`git diff` obeys `.gitattributes`, `.gitmodules` and some twenty settings: they can hide a file, and they can name commands.
So git is only asked for the files of the base and of the index; which of them differ is decided here, from the bytes on disk.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from memory_demo.python_source import (
    MAX_BYTES,
    NotReviewable,
    has_python_suffix,
    is_python,
    may_be_python,
)

_HEAD_BYTES = 4096
_LINK, _SUBMODULE = "120000", "160000"
_SETTINGS = {
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "core.attributesFile": os.devnull,
    "diff.orderFile": os.devnull,
    "diff.suppressBlankEmpty": "false",
}
_GIT = (
    *("git", "--no-pager", "--no-replace-objects"),
    *(word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")),
)
# Its messages are told apart below, so they are wanted in English.
_ENVIRONMENT = {
    "LC_ALL": "C",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_ATTR_NOSYSTEM": "1",
    # A partial clone fetches what it lacks by a command that its own settings name. Older gits know only the second.
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",
}

_LACKING = "This repository lacks objects that the review needs, and none are fetched; review a full clone."
_CONVERTED = (
    "differs from what is staged, and git may convert it "
    "(see working-tree-encoding, ident and filter in .gitattributes): stage it or take the edit back"
)
# What git replaces on checkout in a file with the attribute ident, but for what git itself has put there.
_ODD_IDENT = re.compile(rb"\$Id:(?! [0-9a-f]{40,64} \$)")

if sys.platform == "win32":
    # Or Windows looks for git in the folder one stands in first, and a branch can hold a git.exe.
    os.environ["NODEFAULTCURRENTDIRECTORYINEXEPATH"] = "1"


class GitError(Exception):
    """Git did not answer; the message is one sentence for the person who asked."""


class Blob(NamedTuple):
    """A file as git keeps it: its mode, in octal, and the id of its content."""

    mode: str
    id: str


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


class Repository:
    """The git repository around a folder. Every method raises GitError where git does not answer."""

    def __init__(self, folder: Path) -> None:
        self.top = _found_by_git(folder, "--show-toplevel")

    def commit(self, revision: str) -> str:
        """The id of a commit; as that, it can no longer be taken for an option."""
        answer = self._git("rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}")
        return answer.decode().split()[-1]

    def merge_base(self, commit: str) -> str:
        """The last commit that HEAD has in common with this one. Raises GitError where there are several."""
        found = self._git("merge-base", "--all", commit, "HEAD").decode().split()
        if len(found) > 1:
            # Of two sides that have merged each other's older commits, a file may have changed since one base alone.
            raise GitError(
                f"The branch and its base parted at {len(found)} commits, and what has changed since differs with each; "
                "merge the base into the branch first."
            )
        return found[0]

    def files(self, commit: str) -> dict[str, Blob]:
        """Every file of a commit, by path from the top."""
        entries = _records(self._git("ls-tree", "-r", "-z", "--full-tree", commit))
        return {path: Blob(mode, id) for (mode, _, id), path in entries}

    def names(self, commits: Iterable[str]) -> set[str]:
        """The path of every file of the index and of these commits, from the top."""
        return {path for path, _ in self._tracked()}.union(*map(self.files, commits))

    def content(self, blobs: Iterable[Blob]) -> dict[str, bytes]:
        """The contents of these blobs by id, without those that are too large to review."""
        with _Blobs(self.top) as kept:
            content = {blob.id: kept.first_bytes(blob) for blob in blobs}
        return {id: data for id, data in content.items() if len(data) <= MAX_BYTES}

    def changed_files(self, commit: str, named: Iterable[str] = ()) -> list[ChangedFile]:
        """The Python files that are not as they were in this commit, on disk or else in the index.

        Links, submodules and special files that may hold Python are among them, with the reason why they are not
        reviewed, and so are files that git may have converted on checkout. Files that the index does not have are not,
        but for those that are `named`, by path from the top.
        """
        base, renamed, tracked = self.files(commit), self._renamed(commit), dict(self._tracked())
        algorithm = self._git("rev-parse", "--show-object-format").decode().strip()
        with _Blobs(self.top) as kept:
            tree = _WorkingTree(self.top, algorithm, tracked, base, kept)
            changed = list(tree.changed(dict.fromkeys([*tracked, *named])))
        unlike = {
            file.path: tracked[file.path]
            for file in changed
            if file.data is not None and tree.index_differs(file.path, file.data)
        }
        converted = self._converted(unlike)
        changed = [
            ChangedFile(file.path, None, _CONVERTED) if file.path in converted else file for file in changed
        ]
        return self._with_base(changed, base, renamed)

    def python_files(self) -> list[str]:
        """The tracked files that are Python by their suffix, links left out."""
        return [
            path
            for path, blob in self._tracked()
            if _is_file(blob) and has_python_suffix(path) and not (self.top / path).is_symlink()
        ]

    def _with_base(
        self, changed: list[ChangedFile], base: dict[str, Blob], renamed: dict[str, str]
    ) -> list[ChangedFile]:
        old = {file.path: renamed.get(file.path, file.path) for file in changed if file.data is not None}
        before = {path: base[name] for path, name in old.items() if name in base and _is_file(base[name])}
        content = self.content(before.values())
        return [
            replace(file, old_path=old[file.path], base=content.get(before[file.path].id))
            if file.path in before
            else file
            for file in changed
        ]

    def _renamed(self, commit: str) -> dict[str, str]:
        """The files that are new in the index and much like one that is gone: their new names, and their old ones."""
        answer = self._git(
            *("diff-index", "--cached", "-z", "--name-status", "--find-renames", "-l1000", "--diff-filter=R"),
            commit,
        )
        fields = [os.fsdecode(field) for field in answer.split(b"\0")]
        return dict(zip(fields[2::3], fields[1::3], strict=False))

    def _converted(self, blobs: Mapping[str, Blob]) -> set[str]:
        """Those of these files of which git may write other code to disk than it has, by an attribute of the branch."""
        # The attributes of the index: a file of attributes can itself be one that git converts.
        answer = self._git(
            *("check-attr", "--cached", "-z", "--stdin", "working-tree-encoding", "ident", "filter"),
            stdin=b"".join(os.fsencode(path) + b"\0" for path in blobs),
        )
        fields = [os.fsdecode(field) for field in answer.split(b"\0")]
        values = list(zip(fields[::3], fields[1::3], fields[2::3], strict=False))
        content = self.content(
            blobs[path] for path, name, value in values if (name, value) == ("ident", "set")
        )
        filters = self._filters()

        def converts(path: str, name: str, value: str) -> bool:
            if name == "filter":
                return value in filters
            if name == "ident":
                return value == "set" and bool(_ODD_IDENT.search(content.get(blobs[path].id, b"$Id:")))
            return value.lower() not in ("unspecified", "unset", "utf-8", "utf8")

        return {path for path, name, value in values if converts(path, name, value)}

    def _filters(self) -> set[str]:
        """The filters that do something to what git writes to disk."""
        pattern = r"^filter\..*\.(smudge|process)$"
        answer = _run_git(self.top, ("config", "-z", "--name-only", "--get-regexp", pattern), answers=(0, 1))
        names = [os.fsdecode(name) for name in answer.split(b"\0")]
        return {name.removeprefix("filter.").rpartition(".")[0] for name in names}

    def _tracked(self) -> Iterator[tuple[str, Blob]]:
        """Every path of the index once."""
        seen = set()
        for (mode, id, _), path in _records(self._git("ls-files", "-z", "--stage")):
            if path not in seen:
                seen.add(path)
                yield path, Blob(mode, id)

    def _git(self, *arguments: str, stdin: bytes = b"") -> bytes:
        return _run_git(self.top, arguments, stdin)


class _WorkingTree:
    """The tracked files, held against a base: on disk as the bytes that are there, converted by nothing, and in the index."""

    def __init__(
        self,
        top: Path,
        algorithm: str,
        tracked: Mapping[str, Blob],
        base: Mapping[str, Blob],
        kept: _Blobs,
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
        if blob is not None and blob.mode == _SUBMODULE:
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
        if not _is_file(blob):
            self._check_link(path, data)
            return None
        return data if is_python(path, data[:_HEAD_BYTES]) and not self._is_in_base(path, data) else None

    def _changed_blob(self, path: str) -> Blob | None:
        """What the index has, if it has something and the base has something else."""
        blob, base = self._tracked.get(path), self._base.get(path)
        if blob is not None and base is not None and blob.id == base.id and _is_file(blob) == _is_file(base):
            return None
        return blob

    def _is_on_disk(self, path: str, blob: Blob) -> bool:
        """Whether the disk has this very file, so that what was found there holds; not asked of large ones."""
        where = self._top / path
        if not _is_file(blob) or where.is_symlink() or not where.is_file():
            return False
        with where.open("rb") as file:
            return blob.id in self._ids(file.read(MAX_BYTES + 1))

    def _is_in_base(self, path: str, data: bytes) -> bool:
        base = self._base.get(path)
        return base is not None and _is_file(base) and base.id in self._ids(data)

    def _check_large(self, path: str) -> None:
        id = _run_git(self._top, ("hash-object", "--no-filters", "--", path)).decode().strip()
        base = self._base.get(path)
        if base is None or base.id != id:
            raise NotReviewable(f"is larger than {MAX_BYTES:,} bytes")

    def _link_target(self, path: str, mode: int) -> bytes | None:
        """Where a link leads; where the system has none, git checks out a file that says so."""
        if stat.S_ISLNK(mode):
            return os.fsencode((self._top / path).readlink())
        tracked = self._tracked.get(path)
        if tracked is not None and tracked.mode == _LINK and stat.S_ISREG(mode):
            with (self._top / path).open("rb") as file:
                data = file.read(_HEAD_BYTES)
            return data if self._id(data) == tracked.id else None
        return None

    def _check_link(self, path: str, target: bytes) -> None:
        """Raise NotReviewable for a changed link that may lead to Python which nobody reviews."""
        base = self._base.get(path)
        if base is not None and base.mode == _LINK and base.id == self._id(target):
            return
        was_python = (
            base is not None
            and _is_file(base)
            and is_python(path, self._kept.first_bytes(base)[:_HEAD_BYTES])
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


class _Blobs:
    """What git keeps in a repository: one process reads it, and only after a large one another."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._reader: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> _Blobs:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def first_bytes(self, blob: Blob) -> bytes:
        """The first MAX_BYTES + 1 bytes of a blob, which may be far larger. Raises GitError."""
        reader = self._reader = self._reader or subprocess.Popen(
            [*_GIT, "cat-file", "--batch"],
            cwd=self._folder,
            env={**os.environ, **_ENVIRONMENT},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert reader.stdin is not None and reader.stdout is not None
        with suppress(OSError):  # It has ended, and so says nothing.
            os.write(reader.stdin.fileno(), f"{blob.id}\n".encode())
        match reader.stdout.readline().split():
            case [_, _, length]:
                size = int(length)
            case _:
                raise GitError(_LACKING)
        data = reader.stdout.read(min(size, MAX_BYTES + 1))
        if len(data) < min(size, MAX_BYTES + 1):
            raise GitError(_LACKING)
        if size > MAX_BYTES:
            self._close()
        else:
            reader.stdout.read(1)  # A line break ends it.
        return data

    def _close(self) -> None:
        if self._reader is not None:
            with self._reader:
                self._reader = None


def git_directory(folder: Path) -> Path | None:
    """The directory in which git keeps the repository around a folder, one for all its worktrees; None outside of any."""
    try:
        return (folder / _found_by_git(folder, "--git-common-dir")).resolve()
    except GitError:
        return None


def _found_by_git(folder: Path, what: str) -> Path:
    """A path that git finds for a folder. Raises GitError also where a branch may have made up what git finds."""

    def ask(what: str) -> Path:
        return Path(os.fsdecode(_run_git(folder, ("rev-parse", what)).removesuffix(b"\n")))

    # A branch can hold an ordinary folder that git takes for a bare repository, with settings of its own. A real .git
    # is never around the folder under review. Git's own safe.bareRepository would not do: it is unknown before 2.38.
    directory, here = ask("--absolute-git-dir"), folder.resolve()
    if any(around.samefile(directory) for around in (here, *here.parents)):
        raise GitError(
            "Git takes this folder for a part of a bare repository, which a branch may have made up; "
            "go to the top of the repository under review."
        )
    return ask(what)


def difference(before: str, after: str, *, context: int = 3) -> str:
    """The hunks of a unified diff of two texts, "" if they are the same."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in {"before": before, "after": after}.items():
            (Path(folder) / name).write_bytes(text.encode())
        # Not by difflib: its time grows with the square of what a hostile author may choose.
        answer = _run_git(
            Path(folder),
            (
                *(
                    "diff",
                    "--no-index",
                    "--text",
                    f"--unified={context}",
                    "--inter-hunk-context=0",
                    "--no-color",
                ),
                *("--no-ext-diff", "--no-textconv", "--diff-algorithm=histogram", "before", "after"),
            ),
            settings={"GIT_CEILING_DIRECTORIES": str(Path(folder).parent)},
            answers=(0, 1),
        )
    _, marker, hunks = answer.decode().partition("\n@@ ")
    return f"{marker[1:]}{hunks}"


def unchanged_lines(before: str, after: str) -> dict[int, int]:
    """The lines of `after` (from 1) that a diff takes over from `before`, each with its number there."""
    if before == after:
        return {number: number for number in range(1, after.removesuffix("\n").count("\n") + 2)}
    kept = {}
    old = new = 1
    for line in difference(before, after, context=MAX_BYTES).split("\n")[1:]:
        if line.startswith(" "):
            kept[new] = old
        old += line.startswith((" ", "-"))
        new += line.startswith((" ", "+"))
    return kept


def _is_file(blob: Blob) -> bool:
    return blob.mode not in (_LINK, _SUBMODULE)


def _records(answer: bytes) -> Iterator[tuple[list[str], str]]:
    for record in answer.split(b"\0")[:-1]:
        facts, _, path = record.partition(b"\t")
        yield facts.decode().split(), os.fsdecode(path)


def _run_git(
    folder: Path,
    arguments: tuple[str, ...],
    stdin: bytes = b"",
    *,
    settings: Mapping[str, str] = MappingProxyType({}),
    answers: Collection[int] = (0,),
) -> bytes:
    try:
        done = subprocess.run(
            [*_GIT, *arguments],
            cwd=folder,
            env={**os.environ, **_ENVIRONMENT, **settings},
            input=stdin,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        raise GitError("There is no git to say what has changed; install it, or name the files.") from None
    if done.returncode in answers:
        return done.stdout
    raise GitError(_why_git_failed(arguments, done.stderr.decode("utf-8", "replace")))


def _why_git_failed(arguments: tuple[str, ...], stderr: str) -> str:
    if "lazy fetching disabled" in stderr or ("transport '" in stderr and "not allowed" in stderr):
        return _LACKING
    if "not a git repository" in stderr:
        return "This folder is not in a git repository; go into one, or name the files without --diff."
    match arguments:
        case ("rev-parse", "--verify", *_, revision):
            return f"Git knows no commit {revision.removesuffix('^{commit}')!r}; name one that it knows after --diff."
        case ("merge-base", *_) if not stderr:
            return (
                "Git finds no commit that both sides share; a shallow clone lacks it, so fetch the history."
            )
    lines = stderr.strip().splitlines() or ["it failed without a word"]
    return f"Git cannot say what has changed: {lines[0].removeprefix('fatal: ')}."
