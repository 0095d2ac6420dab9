"""Memory files as rows of PostgreSQL: one memory for many machines.

A change is one short transaction under the lock of its tenant, so that writers wait for each other instead of losing or
refusing edits; reads take no lock. The server keeps tenants apart (row-level security; see postgres_schema). Where the
connection is lost while a change is committed, the server is asked what became of it.
"""

from __future__ import annotations

import contextlib
import contextvars
import copy
import hashlib
import json
import secrets
import sys
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from memory_stores.postgres_connection import MAX_CONNECTIONS, Query, Rows, Session, database
from memory_stores.postgres_schema import SetupError, check, migrate
from memory_stores.protocol import (
    BadName,
    Busy,
    Entry,
    FileLimit,
    IsDirectory,
    Limits,
    NameTooLong,
    NotADirectory,
    NotAFile,
    NotFound,
    NotKept,
    Occupied,
    Operation,
    Path,
    StoreLimit,
    TooLarge,
    Version,
    parts,
    spelled,
)

__all__ = ["PostgresStore", "SetupError", "check", "migrate"]

MAX_READ_BYTES = 64 * 1024 * 1024
_NAME_BYTES = 255  # what a directory can hold, so that a memory can move between the stores
_VERSIONS_AT_A_TIME = 1000

_MAKE_TENANT = """
INSERT INTO memory_store.tenants (tenant, scope) VALUES (%(tenant)s, %(scope)s) ON CONFLICT (tenant) DO NOTHING"""
_LOCK = """
SELECT files, bytes, last_number, last_change, clock_timestamp() FROM memory_store.tenants
WHERE tenant = '{}' FOR UPDATE"""
_USED = """
UPDATE memory_store.tenants
SET files = %(files)s, bytes = %(bytes)s, last_number = %(last_number)s, last_change = %(last_change)s
WHERE tenant = %(tenant)s"""

_FOUND = """
SELECT content IS NULL, coalesce(octet_length(content), 0) FROM memory_store.files
WHERE tenant = %(tenant)s AND path = %(path)s"""
_READ = """
SELECT content IS NULL, octet_length(content), CASE WHEN octet_length(content) <= %(most)s THEN content END
FROM memory_store.files
WHERE tenant = %(tenant)s AND path = %(path)s"""
_ABOVE = """
SELECT path, content IS NULL, coalesce(octet_length(content), 0){} FROM memory_store.files
WHERE tenant = %(tenant)s AND path = ANY(%(paths)s)"""
_WITH_CONTENT = ", CASE WHEN path = %(path)s AND octet_length(content) <= %(most)s THEN content END"
_WITH_DIGEST = ", CASE WHEN path = %(path)s THEN sha256(content) END"
_ENTRIES = """
SELECT path, content IS NULL, coalesce(octet_length(content), 0) FROM memory_store.files
WHERE tenant = %(tenant)s AND path >= %(path)s AND path < %(after)s AND depth <= %(depth)s
ORDER BY path"""

_MAKE_DIRECTORIES = """
INSERT INTO memory_store.files (tenant, path) SELECT %(tenant)s, unnest(%(paths)s::text[])"""
_WRITE = """
INSERT INTO memory_store.files (tenant, path, content) VALUES (%(tenant)s, %(path)s, %(content)s)
ON CONFLICT (tenant, path) DO UPDATE SET content = excluded.content"""
_PUT_BACK = """
INSERT INTO memory_store.files (tenant, path, content)
SELECT tenant, %(path)s, content FROM memory_store.versions WHERE tenant = %(tenant)s AND id = %(id)s
ON CONFLICT (tenant, path) DO UPDATE SET content = excluded.content"""
_REMOVE = """
WITH removed AS (
    DELETE FROM memory_store.files
    WHERE tenant = %(tenant)s AND path >= %(path)s AND path < %(after)s
    RETURNING content IS NOT NULL AS is_file, octet_length(content) AS size)
SELECT count(*), count(*) FILTER (WHERE is_file), coalesce(sum(size), 0)::bigint FROM removed"""
_MOVE = """
UPDATE memory_store.files SET path = %(new)s::text || substr(path, length(%(path)s) + 1)
WHERE tenant = %(tenant)s AND path >= %(path)s AND path < %(after)s"""

_VERSION = "id, change_id, path, operation, sha256, size, created_at, created_by, redacted"
_VERSIONS = f"""
SELECT {_VERSION}, number FROM memory_store.versions
WHERE tenant = %(tenant)s AND number > %(number)s{{}}
ORDER BY number LIMIT {_VERSIONS_AT_A_TIME}"""
_VERSION_BY_ID = f"""
SELECT {_VERSION} FROM memory_store.versions
WHERE tenant = %(tenant)s AND id = %(id)s"""
_NEWEST = f"""
SELECT {_VERSION} FROM memory_store.versions
WHERE tenant = %(tenant)s AND path = %(path)s
ORDER BY number DESC LIMIT 1"""
_CONTENT = """
SELECT operation, size, content IS NOT NULL, CASE WHEN size <= %(most)s THEN content END FROM memory_store.versions
WHERE tenant = %(tenant)s AND id = %(id)s"""
_BEGINS = """
SELECT coalesce((SELECT min(created_at) FROM memory_store.versions WHERE tenant = %(tenant)s), pruned_until)
FROM memory_store.tenants
WHERE tenant = %(tenant)s AND pruned_until IS NOT NULL"""

_RECORD = """
INSERT INTO memory_store.versions
    (tenant, number, id, change_id, path, operation, content, sha256, size, created_at, created_by)
SELECT tenant, %(number)s, %(id)s, %(change_id)s, path, %(operation)s, content, sha256(content), octet_length(content),
    %(created_at)s, %(created_by)s
FROM memory_store.files WHERE tenant = %(tenant)s AND path = %(path)s"""
_RECORD_DELETED = """
INSERT INTO memory_store.versions (tenant, number, id, change_id, path, operation, created_at, created_by)
VALUES (%(tenant)s, %(number)s, %(id)s, %(change_id)s, %(path)s, %(operation)s, %(created_at)s, %(created_by)s)"""
_ADOPT = """
INSERT INTO memory_store.versions
    (tenant, number, id, change_id, path, operation, content, sha256, size, created_at, created_by, redacted)
VALUES (%(tenant)s, %(number)s, %(id)s, %(change_id)s, %(path)s, %(operation)s, %(content)s, %(sha256)s, %(size)s,
    %(created_at)s, %(created_by)s, %(redacted)s)"""
_REDACT = """
UPDATE memory_store.versions SET content = NULL, sha256 = NULL, size = NULL, redacted = true
WHERE tenant = %(tenant)s AND sha256 = (
    SELECT sha256 FROM memory_store.versions WHERE tenant = %(tenant)s AND id = %(id)s)"""
_OLDER = """
SELECT max(created_at) FROM memory_store.versions
WHERE tenant = %(tenant)s AND created_at < clock_timestamp() - %(keep)s::interval"""
_TOO_MUCH = """
SELECT max(created_at) FROM (
    SELECT created_at, sum(sum(coalesce(size, 0))) OVER (ORDER BY created_at DESC) AS held
    FROM memory_store.versions WHERE tenant = %(tenant)s GROUP BY created_at) AS changes
WHERE held > %(keep)s"""
_PRUNE = """
DELETE FROM memory_store.versions WHERE tenant = %(tenant)s AND created_at <= %(last)s"""
_PRUNED = """
UPDATE memory_store.tenants SET pruned_until = %(last)s WHERE tenant = %(tenant)s"""
_ERASE = tuple(
    f"DELETE FROM memory_store.{table} WHERE tenant = %(tenant)s"
    for table in ("files", "versions", "tenants")
)


_under_way: contextvars.ContextVar[tuple[PostgresStore, Session] | None] = contextvars.ContextVar(
    "memory_store_change", default=None
)


def tenant_of(scope: Sequence[str]) -> uuid.UUID:
    """The key of a tenant in the tables: the first half of the SHA-256 of its scope in JSON."""
    if isinstance(scope, str):
        raise TypeError(f"scope is the string {scope!r}: give a sequence of strings, such as ({scope!r},).")
    return uuid.UUID(bytes=hashlib.sha256(json.dumps(list(scope)).encode()).digest()[:16])


class PostgresStore:
    """The memory of one tenant in a database that `migrate` has prepared.

    `scope` names the tenant, by any strings. Stores of one process at one address share up to `max_connections`. An
    unreachable server is no error here, but of each command until it is back. Raises SetupError for a login that could
    see other tenants, ValueError for an address that cannot be read.
    """

    def __init__(
        self,
        conninfo: str,
        scope: Sequence[str] = (),
        *,
        max_file_bytes: int = Limits().max_file_bytes,
        max_files: int = Limits().max_files,
        max_total_bytes: int = Limits().max_total_bytes,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self.tenant, self._scope = tenant_of(scope), json.dumps(list(scope))
        self.limits = Limits(max_file_bytes, max_files, max_total_bytes)
        self._address, self._max_connections, self._top = conninfo, max_connections, ""
        self._kin = object()  # shared with the stores beside this one
        database(conninfo, max_connections).check()

    def find(self, path: Path) -> Entry | None:
        return _entry(path, self._rows(_FOUND, path=self._key(path))) if path else Entry((), 0, True)

    def read(self, path: Path) -> bytes:
        return _content(path, self._rows(_READ, path=self._key(path), most=MAX_READ_BYTES))

    def entries(self, path: Path = (), depth: int | None = None) -> Iterator[Entry]:
        return _entries(path, self._rows(_ENTRIES, **_range(self._key(path)), depth=_deepest(path, depth)))

    @contextlib.contextmanager
    def change(self) -> Iterator[PostgresChange]:
        with self._locked() as (session, held):
            change = PostgresChange(session, held, self.tenant, self.limits, self._top)
            session.at_end = change.end
            token = _under_way.set((self, session))
            try:
                yield change
            finally:
                _under_way.reset(token)

    def beside(self, name: str) -> PostgresStore:
        """Another store of the same tenant, under its lock, without limits: what is in it does not count."""
        other = copy.copy(self)
        other._top, other.limits = _BESIDE + name, Limits(*[sys.maxsize] * len(self.limits))
        return other

    def versions(
        self, path: Path | None = None, *, change_id: str | None = None, after: datetime | None = None
    ) -> Iterator[Version]:
        given = {
            "path": None if path is None else self._key(path),
            "change_id": None if change_id is None else _id(change_id),
            "created_at": after,
        }
        wanted = {name: value for name, value in given.items() if value is not None}
        conditions = {
            name: f" AND {name} {'>' if name == 'created_at' else '='} %({name})s" for name in wanted
        }
        statement, number = _VERSIONS.format("".join(conditions.values())), 0
        while rows := self._history(statement, **wanted, number=number):
            yield from map(_version, rows)
            number = rows[-1][-1]

    def version(self, version_id: str) -> Version | None:
        return next(map(_version, self._history(_VERSION_BY_ID, id=_id(version_id))), None)

    def content(self, version_id: str) -> bytes | None:
        rows = self._history(_CONTENT, id=_id(version_id), most=MAX_READ_BYTES)
        operation, size, is_kept, content = rows[0] if rows else ("", None, False, None)
        if operation == "deleted":
            return None
        if not is_kept:
            raise NotKept
        if content is None:
            raise TooLarge(size=size)
        return bytes(content)

    def history_begins(self) -> datetime | None:
        rows = self._history(_BEGINS)
        return rows[0][0].astimezone(UTC) if rows else None

    def erase(self) -> None:
        """Remove the tenant: files, versions, all. What is left of it for a while: see docs/scaling.md."""
        with self._locked() as (session, _):
            for statement in _ERASE:
                session.queue(statement, {"tenant": self.tenant})

    @contextlib.contextmanager
    def _locked(self) -> Iterator[tuple[Session, tuple[Any, ...]]]:
        """A transaction that holds the lock of the tenant, and the row that is its lock."""
        tenant = {"tenant": self.tenant, "scope": self._scope}
        lock = _LOCK.format(self.tenant)
        with database(self._address, self._max_connections).write(self.tenant, lock) as session:
            held = session.begun
            if not held:
                _, held = session.rows((_MAKE_TENANT, tenant), (lock, {}))
            if not held:
                raise Busy  # erased between the two statements
            yield session, held[0]

    def _key(self, path: Path) -> str:
        return self._top + _key(path)

    def _history(self, statement: str, /, **values: object) -> Rows:
        """Rows of the history: those of the change under way, if there is one."""
        session = self._session_under_way(of_others=False)
        return self._rows(statement, session, **values)

    def _rows(self, statement: str, session: Session | None = None, /, **values: object) -> Rows:
        session = session or self._session_under_way(of_others=True)
        query = (statement, {"tenant": self.tenant, **values})
        if session:
            return session.rows(query)[0]
        return database(self._address, self._max_connections).read(self.tenant, query)[0]

    def _session_under_way(self, *, of_others: bool) -> Session | None:
        """The change under way here by this store (or `of_others`, one beside it): its connection may be the last."""
        store, session = _under_way.get() or (None, None)
        if store is None or store._kin is not self._kin:
            return None
        return None if of_others and store._top == self._top else session


class PostgresChange:
    """One change under the lock of its tenant. What was seen under the lock stays true until it writes itself."""

    def __init__(
        self, session: Session, held: tuple[Any, ...], tenant: uuid.UUID, limits: Limits, top: str
    ) -> None:
        self._session, self._tenant, self._limits, self._top = session, tenant, limits, top
        self._files, self._bytes, self._number, self._last, self._clock = held
        self._id = uuid.uuid4().hex
        self._moment: datetime | None = None
        self._changed = False
        self._seen: dict[Path, _Seen] = {}
        self._digests: dict[Path, str | None] = {}

    def find(self, path: Path) -> Entry | None:
        return self._look(path).entry

    def read(self, path: Path) -> bytes:
        data = _content(path, self._looked(path, _WITH_CONTENT))
        self._digests[path] = hashlib.sha256(data).hexdigest()
        return data

    def entries(self, path: Path = (), depth: int | None = None) -> Iterator[Entry]:
        query = self._query(_ENTRIES, **_range(self._key(path)), depth=_deepest(path, depth))
        return _entries(path, self._session.rows(query)[0])

    def write(self, path: Path, data: bytes) -> None:
        self._put(path, len(data), _WRITE, content=data)

    def remove(self, path: Path) -> None:
        [[(rows, files, size)]] = self._session.rows(self._query(_REMOVE, **_range(self._key(path))))
        if not rows and path:
            raise NotFound(path)
        self._use(-files, -size)

    def move(self, old: Path, new: Path) -> None:
        source, target = self._look(old), self._look(new)
        if source.entry is None or not old:
            raise NotFound(old)
        if target.is_blocked or new[: len(old)] == old != new:
            raise NotADirectory(new)
        if target.entry:
            raise Occupied(new)
        self._make_directories(target)
        self._do(_MOVE, **_range(self._key(old)), new=self._key(new))

    def newest(self, path: Path) -> Version | None:
        return self._look(path).newest

    def digest(self, path: Path) -> str | None:
        if path not in self._digests:
            rows = self._looked(path, _WITH_DIGEST)
            self._digests[path] = rows[0][-1].hex() if rows and rows[0][-1] is not None else None
        return self._digests[path]

    def record(self, path: Path, operation: Operation, created_by: str | None) -> None:
        self._number += 1
        if created_by is None:
            change_id, moment = uuid.uuid4().hex, self._tick()
        else:
            self._moment = self._moment or self._tick()
            change_id, moment = self._id, self._moment
        self._do(
            _RECORD_DELETED if operation == "deleted" else _RECORD,
            number=self._number,
            id=secrets.token_hex(8),
            change_id=change_id,
            path=self._key(path),
            operation=operation,
            created_at=moment,
            created_by=created_by,
        )

    def put_back(self, path: Path, version_id: str) -> None:
        [rows] = self._session.rows(self._query(_CONTENT, id=_id(version_id), most=-1))
        if not rows or not rows[0][2]:
            raise NotKept(path)
        self._put(path, rows[0][1], _PUT_BACK, id=_id(version_id))

    def redact(self, version_id: str) -> None:
        self._do(_REDACT, id=_id(version_id))

    def prune(self, keep: timedelta | int) -> None:
        statement = _OLDER if isinstance(keep, timedelta) else _TOO_MUCH
        [[(last,)]] = self._session.rows(self._query(statement, keep=keep))
        if last is not None:
            self._do(_PRUNE, last=last)
            self._do(_PRUNED, last=last)

    def adopt(self, version: Version, content: bytes | None) -> None:
        """Take over a version of another store as it is; without content, where that is not kept."""
        self._number += 1
        self._last = max(self._last, version.created_at)
        self._do(
            _ADOPT,
            **version._asdict()
            | {
                "number": self._number,
                "path": self._key(parts(version.path)),
                "content": content,
                "sha256": version.content_sha256 and bytes.fromhex(version.content_sha256),
            },
        )

    def begin_history(self, begins: datetime) -> None:
        """Let the history begin at a time, as if what was before had been pruned."""
        self._do(_PRUNED, last=begins)

    def end(self) -> None:
        """Write down what the tenant holds now."""
        if self._changed:
            self._do(
                _USED, files=self._files, bytes=self._bytes, last_number=self._number, last_change=self._last
            )

    def _put(self, path: Path, size: int, statement: str, /, **values: object) -> None:
        seen = self._look(path)
        if seen.is_blocked:
            raise NotADirectory(path)
        if seen.entry and seen.entry.is_directory:
            raise NotAFile(path)
        before = seen.entry.size if seen.entry else 0
        if size > max(self._limits.max_file_bytes, before):
            raise FileLimit(path, limit=self._limits.max_file_bytes)
        self._use(0 if seen.entry else 1, size - before)
        self._make_directories(seen)
        self._do(statement, path=self._key(path), **values)

    def _use(self, files: int, size: int) -> None:
        """Add to what the tenant holds; growth past a limit is refused. What is beside the memory does not count."""
        limits, after = self._limits, (self._files + files, self._bytes + size)
        if (files > 0 or size > 0) and (after[0] > limits.max_files or after[1] > limits.max_total_bytes):
            raise StoreLimit(limit=limits.max_files, size=limits.max_total_bytes)
        if not self._top:
            self._files, self._bytes = after
        self._wrote()

    def _make_directories(self, seen: _Seen) -> None:
        if seen.missing:
            self._do(_MAKE_DIRECTORIES, paths=seen.missing)

    def _tick(self) -> datetime:
        """The time of a change: later than that of the one before, also where the clock is not."""
        moment: datetime = max(self._clock, self._last + timedelta(microseconds=1))
        self._last = moment
        return moment

    def _look(self, path: Path) -> _Seen:
        if path not in self._seen:
            self._looked(path)
        return self._seen[path]

    def _looked(self, path: Path, column: str = "") -> Rows:
        """See what is at `path` and above, in one exchange with the server; the row of `path`, with one more column."""
        key, keys = self._key(path), [self._key(path[:depth]) for depth in range(1, len(path) + 1)]
        values = {"paths": keys, "path": key, "most": MAX_READ_BYTES}
        above, newest = self._session.rows(
            self._query(_ABOVE.format(column), **values), self._query(_NEWEST, path=key)
        )
        found = {row[0]: row[1:] for row in above}
        self._seen[path] = _seen(path, keys, found, next(map(_version, newest), None))
        return [found[key]] if key in found else []

    def _do(self, statement: str, /, **values: object) -> None:
        self._wrote()
        self._session.queue(*self._query(statement, **values))

    def _wrote(self) -> None:
        self._changed = True
        self._seen.clear()
        self._digests.clear()

    def _key(self, path: Path) -> str:
        return self._top + _key(path)

    def _query(self, statement: str, /, **values: object) -> Query:
        return statement, {"tenant": self._tenant, **values}


class _Seen(NamedTuple):
    """What a change saw at a path and above it."""

    entry: Entry | None
    newest: Version | None
    missing: list[str]  # keys of the directories above that are not there
    is_blocked: bool  # by a file above


# What is beside the memory is behind all of it: its keys begin with _BESIDE.
_SEPARATOR, _AFTER = "\x01", "\x02"
_BESIDE = _AFTER


def _key(path: Path) -> str:
    """A path as it is stored. Raises NameTooLong, and BadName for what is no text or would be two names in the key."""
    key = "".join(_SEPARATOR + name for name in path)
    try:
        too_long = any(len(name.encode()) > _NAME_BYTES for name in path)
    except UnicodeEncodeError:
        raise BadName(path) from None
    if "\0" in key or key.count(_SEPARATOR) != len(path):
        raise BadName(path)
    if too_long:
        raise NameTooLong(path)
    return key


def _path(key: str) -> Path:
    return tuple(key.split(_SEPARATOR)[1:])


def _id(text: str) -> str:
    """The id of a version or change; one that nothing has, if the text cannot be one."""
    return text if text.isascii() and text.isprintable() else ""


def _entry(path: Path, rows: Rows) -> Entry | None:
    return Entry(path, rows[0][1], rows[0][0]) if rows else None


def _content(path: Path, rows: Rows) -> bytes:
    if not path:
        raise IsDirectory(path)
    if not rows:
        raise NotFound(path)
    [(is_directory, size, content)] = rows
    if is_directory:
        raise IsDirectory(path)
    if content is None:
        raise TooLarge(path, size=size)
    return bytes(content)


def _range(key: str) -> dict[str, Any]:
    """The keys at and below a path."""
    return {"path": key, "after": key + _AFTER}


def _deepest(path: Path, depth: int | None) -> int:
    return 32767 if depth is None else len(path) + depth


def _entries(path: Path, rows: Rows) -> Iterator[Entry]:
    if not path:
        yield Entry((), 0, True)
    elif not rows:
        raise NotFound(path)
    elif not rows[0][1]:
        raise NotADirectory(path)
    for key, is_directory, size in rows:
        yield Entry(_path(key), size, is_directory)


def _seen(path: Path, keys: list[str], found: dict[str, tuple[Any, ...]], newest: Version | None) -> _Seen:
    """`found` has a row for each of the `keys` that is there: those of the directories above, then that of the path."""
    entry = None if path else Entry((), 0, True)
    if path and keys[-1] in found:
        is_directory, size = found[keys[-1]][:2]
        entry = Entry(path, size, is_directory)
    above = {key: found.get(key) for key in keys[:-1]}
    missing = [key for key, row in above.items() if row is None]
    return _Seen(entry, newest, missing, any(row is not None and not row[0] for row in above.values()))


def _version(row: tuple[Any, ...]) -> Version:
    identity, change, key, operation, digest, size, created_at, created_by, redacted, *_ = row
    return Version(
        identity,
        change,
        spelled(_path(key)),
        operation,
        digest and digest.hex(),
        size,
        created_at.astimezone(UTC),
        created_by,
        redacted,
    )
