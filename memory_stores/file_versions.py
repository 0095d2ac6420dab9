"""The history of a directory of files: rows in a SQLite file, and the content that is no longer live, by its hash.

A version's content is not copied when it is written: it is the live file. Only when that is replaced or removed is it
moved into `content/`. The rows are written in write-ahead mode with one flush for a change. Whoever may read the
directory can read the history.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path as FilePath

from memory_stores.confined import (
    READ_BYTES,
    Digests,
    Directory,
    Place,
    StoreErrors,
    Tree,
    chunks_of,
    digest_of,
    opened,
    remove_all,
)
from memory_stores.protocol import (
    NotAFile,
    NotKept,
    Operation,
    OutOfSpace,
    Path,
    StoreError,
    TooLarge,
    Unavailable,
    Version,
    parts,
    spelled,
)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS versions (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    change_id TEXT NOT NULL,
    path BLOB NOT NULL,
    operation TEXT NOT NULL,
    sha256 TEXT,
    size INTEGER,
    created_at INTEGER NOT NULL,  -- microseconds since 1970, UTC
    created_by TEXT,
    redacted INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS versions_of_path ON versions (path, number);
CREATE INDEX IF NOT EXISTS versions_of_change ON versions (change_id);
CREATE INDEX IF NOT EXISTS versions_of_content ON versions (sha256);
CREATE INDEX IF NOT EXISTS versions_by_time ON versions (created_at);
CREATE TABLE IF NOT EXISTS pruned (id INTEGER PRIMARY KEY CHECK (id = 0), until INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS dropped (sha256 TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS last_change (id INTEGER PRIMARY KEY CHECK (id = 0), change_id TEXT NOT NULL);
"""
_COLUMNS = "id, change_id, path, operation, sha256, size, created_at, created_by, redacted"
# In `dropped` it says that the write-ahead log may still hold what is gone from the tables.
_IN_THE_LOG = "in the log"
_BUSY_SECONDS, _READER_SECONDS = 30.0, 0.1

Holders = Callable[[Path], Iterable[tuple[Tree, Path]]]
"""Where the content that was once at a path may be now."""


class FileVersions:
    """The history in `directory`, which is made with the first version."""

    def __init__(self, directory: FilePath) -> None:
        self._directory, self._file = directory, directory / "versions.sqlite"
        self._database = Place(None, str(self._file))
        self._content = Place(None, str(directory / "content"))
        self._connection: sqlite3.Connection | None = None
        self._process = 0
        self.in_use = threading.RLock()
        """Held by whoever uses the connection that writes: a thread in a change, or one that forks."""
        _KNOWN.add(self)

    # --- reading, without a lock

    def select(self, path: Path | None, change_id: str | None, after: datetime | None) -> Iterator[Version]:
        wanted = {
            "path = ?": None if path is None else _key(path),
            "change_id = ?": change_id,
            "created_at > ?": None if after is None else _microseconds(after),
        }
        given = {condition: value for condition, value in wanted.items() if value is not None}
        where = f"WHERE {' AND '.join(given)}" if given else ""
        with self._reading() as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM versions {where} ORDER BY number", [*given.values()]
            )
            yield from map(_version, rows)

    def find(self, version_id: str) -> Version | None:
        with self._reading() as connection:
            rows = connection.execute(f"SELECT {_COLUMNS} FROM versions WHERE id = ?", [version_id])
            return next(map(_version, rows), None)

    def begins(self) -> datetime | None:
        with self._reading() as connection:
            pruned = connection.execute("SELECT until FROM pruned").fetchone()
            oldest = connection.execute("SELECT min(created_at) FROM versions").fetchone()
            return _time(oldest[0] or pruned[0]) if pruned else None

    def exist(self) -> bool:
        return self._database.looked().found is not None

    def committed(self, change_id: str) -> bool:
        """Whether the last change that was recorded is this one. It may have pruned its own versions."""
        with self._reading() as connection:
            known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'last_change'").fetchone()
            row = connection.execute("SELECT change_id FROM last_change").fetchone() if known else None
            return row == (change_id,)

    def content(self, version_id: str, holders: Holders) -> bytes | None:
        version = self.find(version_id)
        if version and version.operation == "deleted" and not version.redacted:
            return None
        with self.opened_content(version_id, holders) as (file, size):
            if size > READ_BYTES:
                raise TooLarge(size=size)
            return b"".join(chunks_of(file))

    @contextlib.contextmanager
    def opened_content(self, version_id: str, holders: Holders) -> Iterator[tuple[int, int]]:
        """The content of a version, open for reading, and its size. Raises NotKept."""
        with self._reading() as connection:
            row = connection.execute("SELECT sha256 FROM versions WHERE id = ?", [version_id]).fetchone()
            digest = row[0] if row else None
            paths = connection.execute("SELECT DISTINCT path FROM versions WHERE sha256 = ?", [digest])
            live = [holder for (path,) in paths for holder in holders(_path(path))]
        if digest is None:
            raise NotKept
        kept = Tree(self._content.name)
        # Twice, as a change that ends meanwhile moves content from a live file into the history.
        for tree, path in [(kept, (digest,)), *live, (kept, (digest,))]:
            file = _opened_if(tree, path, digest)
            if file is not None:
                try:
                    yield file, os.fstat(file).st_size
                finally:
                    os.close(file)
                return
        raise NotKept

    # --- writing, in a change, under the lock of the store

    def newest(self, path: Path) -> Version | None:
        rows = self._writer().execute(
            f"SELECT {_COLUMNS} FROM versions WHERE path = ? ORDER BY number DESC LIMIT 1", [_key(path)]
        )
        return next(map(_version, rows), None)

    def add(
        self,
        change_id: str,
        path: Path,
        operation: Operation,
        digest: str | None,
        size: int | None,
        created_by: str | None,
    ) -> None:
        connection = self._begun()
        if created_by is None:
            change_id = uuid.uuid4().hex
        at = connection.execute("SELECT created_at FROM versions WHERE change_id = ?", [change_id]).fetchone()
        last = connection.execute("SELECT max(created_at) FROM versions").fetchone()[0] or 0
        moment = at[0] if at else max(time.time_ns() // 1000, last + 1)
        connection.execute(
            f"INSERT INTO versions ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)",
            [secrets.token_hex(8), change_id, _key(path), operation, digest, size, moment, created_by],
        )

    def adopt(self, version: Version) -> None:
        """Add a version as another store has it; its content is given to `keep`."""
        row = {
            **version._asdict(),
            "path": _key(parts(version.path)),
            "at": _microseconds(version.created_at),
        }
        self._begun().execute(
            f"INSERT INTO versions ({_COLUMNS}) VALUES (:id, :change_id, :path, :operation, :content_sha256, :size,"
            " :at, :created_by, :redacted)",
            row,
        )

    def begin(self, begins: datetime) -> None:
        self._begun().execute("INSERT OR REPLACE INTO pruned VALUES (0, ?)", [_microseconds(begins)])

    def redact(self, version_id: str) -> None:
        connection = self._begun()
        found = connection.execute(
            "SELECT sha256 FROM versions WHERE id = ? AND sha256 NOTNULL", [version_id]
        ).fetchone()
        if found:
            connection.execute(
                "UPDATE versions SET sha256 = NULL, size = NULL, redacted = 1 WHERE sha256 = ?", found
            )
            connection.execute("INSERT INTO dropped VALUES (?)", found)

    def prune(self, keep: timedelta | int) -> None:
        connection = self._begun()
        last = _last_to_prune(connection, keep)
        if last is None:
            return
        connection.execute(
            "INSERT INTO dropped SELECT DISTINCT sha256 FROM versions WHERE created_at <= ? AND sha256 NOTNULL",
            [last],
        )
        connection.execute("DELETE FROM versions WHERE created_at <= ?", [last])
        connection.execute("INSERT OR REPLACE INTO pruned VALUES (0, ?)", [last])

    def commit(self, change_id: str) -> None:
        if self._connection and self._connection.in_transaction:
            with _sqlite_errors(self._file):
                self._connection.execute("INSERT OR REPLACE INTO last_change VALUES (0, ?)", [change_id])
                self._connection.execute("COMMIT")

    def roll_back(self) -> None:
        if self._connection and self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def keep(self, place: Place, digests: Digests) -> None:
        """Move files that a version needs out of the staging directory into the history."""
        if place.is_directory:
            with Directory(place) as directory:
                for entry in directory.entries():
                    self.keep(directory.find(entry.name), digests)
        elif place.is_file and not place.has_second_name:
            with opened(place, ()) as file:
                digest = digest_of(file, digests)
            if self._is_used(digest):
                self._make_content_directory()
                with Directory(self._content) as directory:
                    place.replace(directory.place(digest))

    def drop_unused(self) -> None:
        """Remove content that no version has any more, and what the database still holds of its rows.

        What a reader keeps in the write-ahead log goes with the first change that is recorded after it is done.
        """
        connection = self._writer()
        dropped = {row[0] for row in connection.execute("SELECT sha256 FROM dropped")}
        if not dropped:
            return
        for digest in dropped - {_IN_THE_LOG}:
            if not self._is_used(digest):
                remove_all(Place(None, str(FilePath(self._content.name, digest))).looked())
        connection.execute("DELETE FROM dropped")
        if not _empty_the_log(connection):
            connection.execute("INSERT INTO dropped VALUES (?)", [_IN_THE_LOG])

    def close(self) -> None:
        with self.in_use:
            if self._connection and self._process == os.getpid():
                self._connection.close()
            self._connection = None

    def is_in_transaction(self) -> bool:
        return self._connection is not None and self._connection.in_transaction

    def _is_used(self, digest: str) -> bool:
        rows = self._writer().execute("SELECT 1 FROM versions WHERE sha256 = ? LIMIT 1", [digest])
        return rows.fetchone() is not None

    def _begun(self) -> sqlite3.Connection:
        connection = self._writer()
        if not connection.in_transaction:
            connection.execute("BEGIN IMMEDIATE")
        return connection

    def _writer(self) -> sqlite3.Connection:
        """The one connection that writes; a forked process opens its own."""
        if self._connection is None or self._process != os.getpid():
            self._connection, self._process = self._opened_to_write(), os.getpid()
        return self._connection

    def _opened_to_write(self) -> sqlite3.Connection:
        with StoreErrors(), _sqlite_errors(self._file):
            self._directory.mkdir(mode=0o700, exist_ok=True)
            if self._directory.is_symlink():
                raise NotAFile
            os.close(os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600))  # for its mode
            connection = sqlite3.connect(
                self._file, isolation_level=None, check_same_thread=False, timeout=_BUSY_SECONDS
            )
            # FULL flushes each change; secure_delete overwrites what redact takes away.
            connection.executescript(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;"
                f"BEGIN IMMEDIATE;{_SCHEMA}COMMIT;"
            )
            return connection

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that only reads: it needs no right to write, and there may be no history yet."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(_sqlite_errors(self._file))
            connection = stack.enter_context(contextlib.closing(_opened_to_read(self._file)))
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'dropped'").fetchone():
                connection = stack.enter_context(contextlib.closing(sqlite3.connect(":memory:")))
                connection.executescript(_SCHEMA)
            yield connection

    def _make_content_directory(self) -> None:
        with contextlib.suppress(FileExistsError):
            self._content.make()


# No connection goes into a forked process: SQLite would take its parent's locks for its own there, and the parent would
# close the database as its last user. So a fork waits for changes of other threads, and closes what is open.
_KNOWN: weakref.WeakSet[FileVersions] = weakref.WeakSet()
_TAKEN: list[FileVersions] = []
FORK_SECONDS = 30.0


def _before_fork() -> None:
    for versions in sorted(_KNOWN, key=id):
        if versions.in_use.acquire(timeout=FORK_SECONDS):
            _TAKEN.append(versions)
            if not versions.is_in_transaction():
                versions.close()


def _after_fork() -> None:
    while _TAKEN:
        _TAKEN.pop().in_use.release()


def _after_fork_in_child() -> None:
    """What another thread still held is held by nobody here."""
    for versions in set(_KNOWN) - set(_TAKEN):
        versions.in_use = threading.RLock()
    _after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)


def _empty_the_log(connection: sqlite3.Connection) -> bool:
    """Whether the write-ahead log could be emptied: a reader in the middle of the history is not waited for long."""
    connection.execute(f"PRAGMA busy_timeout = {_READER_SECONDS * 1000:.0f}")
    is_busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_SECONDS * 1000:.0f}")
    return not is_busy


def _opened_to_read(file: FilePath) -> sqlite3.Connection:
    """A connection for queries alone.

    Whoever may write lets SQLite bring the write-ahead log of a killed process in order. Without that right SQLite needs
    the log's index to be there; where there is no log, the file alone is all there is to read.
    """
    if not file.exists():
        return sqlite3.connect(":memory:")
    writable = os.access(file.parent, os.W_OK, effective_ids=os.access in os.supports_effective_ids)
    mode = "rw" if writable else "ro" if FilePath(f"{file}-wal").exists() else "ro&immutable=1"
    with _sqlite_errors(file):
        return sqlite3.connect(
            f"{file.as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=_BUSY_SECONDS
        )


def _opened_if(tree: Tree, path: Path, digest: str) -> int | None:
    """The file at `path`, open, if it has this content."""
    with contextlib.suppress(StoreError), tree.at(path) as place, opened(place, path) as file:
        if digest_of(file) == digest:
            os.lseek(file, 0, os.SEEK_SET)
            return os.dup(file)
    return None


def _last_to_prune(connection: sqlite3.Connection, keep: timedelta | int) -> int | None:
    """The time of the newest change to drop."""
    if isinstance(keep, timedelta):
        limit = time.time_ns() // 1000 - keep // timedelta(microseconds=1)
        row = connection.execute("SELECT max(created_at) FROM versions WHERE created_at < ?", [limit])
        newest: int | None = row.fetchone()[0]
        return newest
    left = connection.execute("SELECT total(size) FROM versions").fetchone()[0]
    last = None
    for moment, size in connection.execute(
        "SELECT created_at, total(size) FROM versions GROUP BY created_at ORDER BY created_at"
    ):
        if left <= keep:
            break
        left, last = left - size, moment
    return last


@contextlib.contextmanager
def _sqlite_errors(file: FilePath) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            raise OutOfSpace from error
        raise Unavailable from sqlite3.DatabaseError(f"{file}: {error}")


def _key(path: Path) -> bytes:
    return spelled(path).encode("utf-8", "surrogatepass")


def _path(key: bytes) -> Path:
    return tuple(key.decode("utf-8", "surrogatepass").split("/")[2:])


def _version(row: tuple[str, str, bytes, Operation, str | None, int | None, int, str | None, int]) -> Version:
    identity, change, path, operation, digest, size, at, by, redacted = row
    spelling = path.decode("utf-8", "surrogatepass")
    return Version(identity, change, spelling, operation, digest, size, _time(at), by, bool(redacted))


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _time(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
