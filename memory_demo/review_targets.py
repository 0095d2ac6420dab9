"""Which files a review is about: those a person names, or those that a branch changes; and which are not reviewed, and why."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from memory_demo.command_error import CommandError
from memory_demo.git import GitError
from memory_demo.git_change import Repository
from memory_demo.python_source import MAX_BYTES, NotReviewable, is_python, source_text
from memory_demo.working_tree import ChangedFile

SETTINGS_FILE = "pyproject.toml"
_TABLE = "[tool.memory-review]"


@dataclass(frozen=True)
class Target:
    """A file to review, as it was read: it cannot change under the review.

    `name` is for people, relative to where they stand; `path` is for tools, relative to the repository's top if there is
    a base. `base` is the text before the change, None for a file that is new, and without a base.
    """

    name: str
    path: str
    text: str
    base: str | None = None


@dataclass(frozen=True)
class NotReviewed:
    """A file in scope that was not reviewed, and the rest of the sentence that begins with its name."""

    file: str
    path: str
    reason: str


@dataclass(frozen=True)
class Selection:
    """What is to be reviewed, what cannot be, and what a person has excluded.

    `others` are files of the repository that may be read to judge those, by name; `top` is where it is.
    """

    targets: tuple[Target, ...] = ()
    not_reviewed: tuple[NotReviewed, ...] = ()
    excluded: tuple[str, ...] = ()
    others: Mapping[str, Path] = field(default_factory=dict)
    top: Path | None = None


def named_files(paths: Sequence[Path], exclude: Sequence[str] = ()) -> Selection:
    """The files that a person names. Raises CommandError for one that is not there or is not Python."""
    targets, problems, excluded = [], [], []
    for path in dict.fromkeys(paths):
        name = str(path)
        if _is_excluded(path.as_posix(), exclude):
            excluded.append(name)
            continue
        data = _read(path)
        if not is_python(name, data):
            raise CommandError(f"{path} is not a Python file; name Python files.")
        try:
            targets.append(Target(name, path.as_posix(), source_text(data)))
        except NotReviewable as error:
            problems.append(NotReviewed(name, path.as_posix(), str(error)))
    return Selection(tuple(targets), tuple(problems), tuple(excluded))


def changed_files(
    base: str, folder: Path, only: Sequence[Path] = (), exclude: Sequence[str] = ()
) -> Selection:
    """The Python files that have changed since the working tree and `base` parted; only these, if any are given.

    One that git does not track is new, if it is given, and left out if not.
    What to exclude is also read from pyproject.toml as it is in `base`: a branch has no say in it.
    Raises CommandError, also for what is given and is no file, neither here nor in a commit that is compared.
    """
    try:
        repository = Repository(folder)
        commit = repository.commit(base)
        parted = repository.merge_base(commit)
        wanted = _wanted(only, repository, (parted, commit, "HEAD"))
        changed = repository.changed_files(parted, wanted)
        patterns = (*exclude, *_excluded_in(repository, commit))
        unchanged = set(repository.python_files()) - {file.path for file in changed}
    except GitError as error:
        raise CommandError(str(error)) from None
    targets, problems, excluded = [], [], []
    for file in changed:
        if wanted and file.path not in wanted:
            continue
        name = os.path.relpath(repository.top / file.path, folder)
        if _is_excluded(file.path, patterns):
            excluded.append(name)
            continue
        try:
            targets.append(_target(name, file, patterns))
        except NotReviewable as error:
            problems.append(NotReviewed(name, file.path, str(error)))
    others = {
        os.path.relpath(repository.top / path, folder): repository.top / path for path in sorted(unchanged)
    }
    return Selection(tuple(targets), tuple(problems), tuple(excluded), others, repository.top)


def _wanted(only: Sequence[Path], repository: Repository, commits: Sequence[str]) -> set[str]:
    """What a person names, by path from the top. What git knows may be anything on disk by now, or gone from it."""
    known = repository.names(commits) if only else set()
    spelled = {os.path.normcase(name): name for name in known}
    wanted = set()
    for path in only:
        name = _from_top(path, repository)
        if name not in known:
            name = spelled.get(os.path.normcase(name), name)
        if name not in known:
            _check_file(path)
            if not (path.exists() or path.is_symlink()):
                raise CommandError(f"There is no file {path}.")
        wanted.add(name)
    return wanted


def _from_top(path: Path, repository: Repository) -> str:
    try:
        return _without_links(path).relative_to(repository.top.resolve()).as_posix()
    except ValueError:
        raise CommandError(f"{path} is not in this repository; review it without --diff.") from None


def _target(name: str, file: ChangedFile, patterns: Sequence[str]) -> Target:
    if file.data is None:
        raise NotReviewable(file.reason)
    return Target(name, file.path, source_text(file.data), _base_text(file, patterns))


def _base_text(file: ChangedFile, patterns: Sequence[str]) -> str | None:
    """What the file was when somebody could have reviewed it; data or an excluded file under another name was not."""
    if file.old_path is None or file.base is None or _is_excluded(file.old_path, patterns):
        return None
    if not is_python(file.old_path, file.base):
        return None
    try:
        return source_text(file.base)
    except NotReviewable:
        return None


def _excluded_in(repository: Repository, commit: str) -> list[str]:
    blob = repository.files(commit).get(SETTINGS_FILE)
    if blob is None:
        return []
    where = f"{SETTINGS_FILE} of the base"
    try:
        settings = tomllib.loads(repository.content([blob]).get(blob.id, b"").decode())
        table = settings.get("tool", {}).get("memory-review", {})
        unknown = sorted(table.keys() - {"exclude"})
    except (ValueError, AttributeError) as error:
        raise CommandError(f"{where} cannot be read: {error}.") from None
    if unknown:
        raise CommandError(f"{where} sets {unknown[0]!r} in {_TABLE}, which has only 'exclude'.")
    patterns = table.get("exclude", [])
    if not (isinstance(patterns, list) and all(isinstance(pattern, str) for pattern in patterns)):
        raise CommandError(f"In {where}, 'exclude' in {_TABLE} is not a list of patterns.")
    return patterns


def _is_excluded(path: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def _without_links(path: Path) -> Path:
    """The path with no link in it but, maybe, the last part."""
    return path.parent.resolve() / path.name


def _check_file(path: Path) -> None:
    if path.exists() and not path.is_file():
        raise CommandError(f"{path} is not a file; name Python files.")


def _read(path: Path) -> bytes:
    _check_file(path)
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise CommandError(f"There is no file {path}.") from None
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}.") from None
