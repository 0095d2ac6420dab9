"""Git, asked so that nothing of a stranger's repository runs: no hook, no filter, no command that its settings name.

Nothing is fetched, and no folder of a branch is taken for a repository.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from memory_demo.python_source import MAX_BYTES

LINK, SUBMODULE = "120000", "160000"
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

if sys.platform == "win32":
    # Or Windows looks for git in the folder one stands in first, and a branch can hold a git.exe.
    os.environ["NODEFAULTCURRENTDIRECTORYINEXEPATH"] = "1"


class GitError(Exception):
    """Git did not answer; the message is one sentence for the person who asked."""


class Blob(NamedTuple):
    """A file as git keeps it: its mode, in octal, and the id of its content."""

    mode: str
    id: str

    @property
    def is_file(self) -> bool:
        """Neither a link nor a submodule."""
        return self.mode not in (LINK, SUBMODULE)


class Blobs:
    """What git keeps in a repository: one process reads it, and only after a large one another."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._reader: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Blobs:
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
        return (folder / found_by_git(folder, "--git-common-dir")).resolve()
    except GitError:
        return None


def found_by_git(folder: Path, what: str) -> Path:
    """A path that git finds for a folder. Raises GitError also where a branch may have made up what git finds."""

    def ask(what: str) -> Path:
        return Path(os.fsdecode(run_git(folder, ("rev-parse", what)).removesuffix(b"\n")))

    # A branch can hold an ordinary folder that git takes for a bare repository, with settings of its own. A real .git
    # is never around the folder under review. Git's own safe.bareRepository would not do: it is unknown before 2.38.
    directory, here = ask("--absolute-git-dir"), folder.resolve()
    if any(around.samefile(directory) for around in (here, *here.parents)):
        raise GitError(
            "Git takes this folder for a part of a bare repository, which a branch may have made up; "
            "go to the top of the repository under review."
        )
    return ask(what)


def run_git(
    folder: Path,
    arguments: tuple[str, ...],
    stdin: bytes = b"",
    *,
    settings: Mapping[str, str] = MappingProxyType({}),
    answers: Collection[int] = (0,),
) -> bytes:
    """What git says in a folder. Raises GitError for an exit code that is none of the `answers`."""
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
