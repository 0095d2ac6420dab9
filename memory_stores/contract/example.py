"""A whole store in one SQLite table: a row for each file, and for each directory one without content.

How little a store needs: SQLite has the lock, the transaction and the recovery after a kill; what is left is what the
protocol says about paths, errors and limits. It keeps no history.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path as FilePath

from memory_stores.protocol import (
    Busy,
    Entry,
    FileLimit,
    IsDirectory,
    NotADirectory,
    NotAFile,
    NotFound,
    Occupied,
    Path,
    StoreLimit,
)

SCHEMA = "CREATE TABLE IF NOT EXISTS files (tenant TEXT, path TEXT, content BLOB, PRIMARY KEY (tenant, path))"


class SqliteStore:
    """The files of one tenant in a database that many tenants may share."""

    def __init__(
        self,
        database: str | FilePath,
        scope: Sequence[str] = (),
        *,
        max_file_bytes: int = 1_000_000,
        max_files: int = 10_000,
        max_total_bytes: int = 100_000_000,
        patience: float = 30.0,
    ) -> None:
        if isinstance(scope, str):
            raise TypeError(
                f"scope is the string {scope!r}: give a sequence of strings, such as ({scope!r},)."
            )
        self.database, self.tenant, self.patience = database, json.dumps(list(scope)), patience
        self.max_file_bytes, self.max_files, self.max_total_bytes = max_file_bytes, max_files, max_total_bytes
        with self._transaction("IMMEDIATE") as db:
            db.execute(SCHEMA)

    def find(self, path: Path) -> Entry | None:
        with self._transaction("DEFERRED") as db:
            return SqliteChange(self, db).find(path)

    def read(self, path: Path) -> bytes:
        with self._transaction("DEFERRED") as db:
            return SqliteChange(self, db).read(path)

    def entries(self, path: Path = (), depth: int | None = None) -> Iterator[Entry]:
        with self._transaction("DEFERRED") as db:
            return SqliteChange(self, db).entries(path, depth)

    @contextmanager
    def change(self) -> Iterator[SqliteChange]:
        with self._transaction("IMMEDIATE") as db:
            yield SqliteChange(self, db)

    @contextmanager
    def _transaction(self, kind: str) -> Iterator[sqlite3.Connection]:
        """A connection of its own for each transaction, so that threads and processes need not share one."""
        try:
            with closing(sqlite3.connect(self.database, timeout=self.patience, isolation_level=None)) as db:
                db.execute(f"BEGIN {kind}")
                yield db
                db.execute("COMMIT")  # not reached on an exception: closing rolls back, as does a kill
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                raise Busy from error
            raise


class SqliteChange:
    """The files as one transaction sees them."""

    def __init__(self, store: SqliteStore, db: sqlite3.Connection) -> None:
        self.store, self.db = store, db

    def find(self, path: Path) -> Entry | None:
        entries = self._select("path = ?", [key_of(path)])
        return entries[0] if entries else None if path else Entry((), 0, True)

    def read(self, path: Path) -> bytes:
        entry = self.find(path)
        if entry is None:
            raise NotFound(path)
        if entry.is_directory:
            raise IsDirectory(path)
        query = "SELECT content FROM files WHERE tenant = ? AND path = ?"
        return bytes(self.db.execute(query, [self.store.tenant, key_of(path)]).fetchone()[0])

    def entries(self, path: Path = (), depth: int | None = None) -> Iterator[Entry]:
        top = self.find(path)
        if top is None:
            raise NotFound(path)
        if not top.is_directory:
            raise NotADirectory(path)
        inner = self._select(*below(path))
        deepest = None if depth is None else len(path) + depth
        return iter(
            sorted([top, *(entry for entry in inner if deepest is None or len(entry.path) <= deepest)])
        )

    def write(self, path: Path, data: bytes) -> None:
        old = self.find(path)
        if old and old.is_directory:
            raise NotAFile(path)
        self._check_limits(path, len(data), old)
        self._make_directories(path[:-1])
        self._insert(path, data)

    def remove(self, path: Path) -> None:
        if self.find(path) is None:
            raise NotFound(path)
        condition, values = below(path)
        query = f"DELETE FROM files WHERE tenant = ? AND (path = ? OR {condition})"
        self.db.execute(query, [self.store.tenant, key_of(path), *values])

    def move(self, old: Path, new: Path) -> None:
        if self.find(old) is None:
            raise NotFound(old)
        if self.find(new):
            raise Occupied(new)
        if new[: len(old)] == old:
            raise NotADirectory(new)
        self._make_directories(new[:-1])
        condition, values = below(old)
        query = f"UPDATE files SET path = ? || substr(path, ?) WHERE tenant = ? AND (path = ? OR {condition})"
        self.db.execute(query, [key_of(new), len(key_of(old)) + 1, self.store.tenant, key_of(old), *values])

    def _make_directories(self, path: Path) -> None:
        for depth in range(1, len(path) + 1):
            entry = self.find(path[:depth])
            if entry is None:
                self._insert(path[:depth], None)
            elif not entry.is_directory:
                raise NotADirectory(path)

    def _check_limits(self, path: Path, size: int, old: Entry | None) -> None:
        if size > max(self.store.max_file_bytes, old.size if old else 0):
            raise FileLimit(path, limit=self.store.max_file_bytes)
        query = "SELECT count(content), total(length(content)) FROM files WHERE tenant = ?"
        files, held = self.db.execute(query, [self.store.tenant]).fetchone()
        growth = size - (old.size if old else 0)
        too_many = old is None and files >= self.store.max_files
        if too_many or (growth > 0 and held + growth > self.store.max_total_bytes):
            raise StoreLimit(limit=self.store.max_files, size=self.store.max_total_bytes)

    def _insert(self, path: Path, content: bytes | None) -> None:
        self.db.execute("REPLACE INTO files VALUES (?, ?, ?)", [self.store.tenant, key_of(path), content])

    def _select(self, condition: str, values: Sequence[str]) -> list[Entry]:
        query = f"SELECT path, length(content) FROM files WHERE tenant = ? AND {condition}"
        rows = self.db.execute(query, [self.store.tenant, *values])
        return [Entry(tuple(key.split("/")), size or 0, size is None) for key, size in rows]


def key_of(path: Path) -> str:
    return "/".join(path)


def below(path: Path) -> tuple[str, list[str]]:
    """A condition for what is below a directory: a range, as in LIKE a name with % or _ would stand for others."""
    return ("path >= ? AND path < ?", [f"{key_of(path)}/", f"{key_of(path)}0"]) if path else ("path > ''", [])
