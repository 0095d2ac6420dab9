"""Where notes are kept: in a directory, by default one of the user's out of the reach of what is reviewed, or in a database."""

from __future__ import annotations

import hashlib
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from memory_demo.command_error import CommandError
from memory_demo.git import git_directory

if TYPE_CHECKING:
    from memory_stores import FileStore, PostgresStore

_PLACES = "a directory, or a database as postgresql://user@host/database"
# How libpq writes an address in words. As the name of a directory it would show the password in it to everybody.
_IN_WORDS = re.compile(r"(?:^|\s)(?:host|hostaddr|port|dbname|user|password|service)\s*=")
_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]*://)")

# An address of which it is certain where a password begins and ends.
_ADDRESS = re.compile(
    r"""postgres(ql)?://
    (?: (?P<user>[^:@/?#]*) (?: :[^@/?#]*)? @)?
    (?P<server>(?: [\w.,-] | \[[\da-fA-F:.]*\] | :\d+(?=[,/?]|\Z) )* (?: /[^@?#:]*)?)
    (?: \?[^@]*)?""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class MemoryLocation:
    """A directory or the address of a database, as --memory names it, and the tenant in it, as --scope names it."""

    where: str
    scope: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise CommandError for what is neither; of an address no more is shown than its scheme."""
        if not self.where.strip():
            raise CommandError(f"An empty name is no place for a memory: write {_PLACES}.")
        if "://" in self.where and not self.is_database:
            scheme = _SCHEME.match(self.where)
            named = scheme[1] if scheme else "What has :// in it"
            raise CommandError(f"{named} is no place for a memory: write {_PLACES}.")
        if not self.is_database and _IN_WORDS.search(self.where):
            raise CommandError(f"An address in words is no place for a memory: write {_PLACES}.")

    @property
    def is_database(self) -> bool:
        return self.where.startswith(("postgresql://", "postgres://"))

    @property
    def directory(self) -> Path | None:
        return None if self.is_database else Path(self.where)

    def __str__(self) -> str:
        """As it may be shown."""
        return f"{self._shown} ({', '.join(self.scope)})" if self.scope else self._shown

    @property
    def options(self) -> list[str]:
        """What names it on the command line, as that may be shown: a password is for whoever has it to add."""
        return ["--memory", self._shown, *(word for part in self.scope for word in ("--scope", part))]

    @property
    def hides_some(self) -> bool:
        """Whether a part of it is not shown, such as a password."""
        return self._shown != self.where

    @property
    def _shown(self) -> str:
        """Without a password, and without options, where one can be as well."""
        if not self.is_database:
            return self.where
        parts = _ADDRESS.fullmatch(self.where)
        user = f"{parts['user']}@" if parts and parts["user"] else ""
        return f"postgresql://{user}{parts['server']}" if parts else "postgresql://..."

    def exists(self) -> bool:
        """Whether there may be something to look at, so that looking need not make a directory."""
        if self.directory is None:
            return True
        from memory_stores import FileStore

        try:
            return FileStore.is_in(self.directory, self.scope)
        except OSError:
            return True  # to make the store says what is wrong

    def store(self, *, unlimited: bool = False) -> FileStore | PostgresStore:
        """The store of the tenant. Raises CommandError."""
        names = ("max_file_bytes", "max_files", "max_total_bytes") if unlimited else ()
        limits = dict.fromkeys(names, sys.maxsize)
        return self._in_database(limits) if self.is_database else self._in_directory(limits)

    def _in_directory(self, limits: dict[str, int]) -> FileStore:
        from memory_stores import FileStore

        try:
            return FileStore(self.where, self.scope, **limits)
        except (FileExistsError, NotADirectoryError) as error:
            which = error.filename or "part of it"
            raise CommandError(
                f"{self} cannot be the memory directory: {which} is not a directory."
            ) from error
        except OSError as error:
            raise CommandError(f"{self} cannot be the memory directory: {error.strerror}.") from error
        except ValueError as error:
            raise CommandError(f"{self} cannot be the memory directory: {error}") from error

    def _in_database(self, limits: dict[str, int]) -> PostgresStore:
        postgres_store = postgres_store_class()
        from memory_stores.postgres import SetupError, check

        try:
            check(self.where)
            return postgres_store(self.where, self.scope, **limits)
        except (SetupError, ValueError) as error:
            raise CommandError(f"{self} cannot hold the memory: {error}") from error


def postgres_store_class() -> type[PostgresStore]:
    """The class, where what it needs is installed. Raises CommandError, which says how to install that."""
    try:
        from memory_stores import PostgresStore
    except ImportError as error:
        raise CommandError(str(error)) from error
    return PostgresStore


def default_memory(folder: Path) -> Path:
    """The memory directory for the repository around a folder, for the folder itself outside of any.

    All worktrees of a repository share one. Nothing is created.
    """
    root = git_directory(folder) or folder.resolve()
    name = re.sub(r"[^\w.-]", "_", (root.parent if root.name == ".git" else root).name)
    digest = hashlib.sha256(bytes(root)).hexdigest()[:12]
    return platformdirs.user_data_path("memory-review", appauthor=False) / f"{name}-{digest}"
