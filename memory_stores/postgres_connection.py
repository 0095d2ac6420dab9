"""Connections and transactions of `PostgresStore`: one tenant each, lost connections, errors in the store's terms.

The tenant is set for the transaction alone, so that a pooler may give the next transaction another connection.
Statements are sent together (pipelined) where no answer is needed in between: a read is one exchange with the server, an
edit with its version three.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias, TypeVar

import psycopg
from psycopg import conninfo, errors
from psycopg.pq import TransactionStatus
from psycopg_pool import ConnectionPool

from memory_stores.postgres_schema import TENANT_SETTING, SetupError, check_login
from memory_stores.protocol import (
    Busy,
    Forbidden,
    Gone,
    NameTooLong,
    OutOfSpace,
    StoreError,
    Unavailable,
)

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 10
CONNECT_SECONDS = 2.5
"""How long a command waits for a connection."""
LOCK_SECONDS, IDLE_SECONDS = 30, 20
"""How long a writer waits for another, and how long one may hold the lock without a statement."""
_IN_DOUBT_SECONDS = 2.0
_QUEUE_BYTES = 4 * 1024 * 1024

# Where the address does not say: give up on a host that does not answer.
_DEFAULTS = {
    "connect_timeout": "2",
    "tcp_user_timeout": "10000",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "application_name": "memory_store",
}

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]
Rows: TypeAlias = list[tuple[Any, ...]]
Query: TypeAlias = tuple[str, Mapping[str, object]]
_Result = TypeVar("_Result")

# The third argument: for this transaction alone. The lock comes as text, in which times can be read in one style only.
_SET_TENANT = f"SELECT set_config('{TENANT_SETTING}', %(tenant)s, true)"
_BEGIN = f"""
BEGIN ISOLATION LEVEL READ COMMITTED;
SELECT pg_current_xact_id()::text, set_config('{TENANT_SETTING}', '{{tenant}}', true),
    set_config('lock_timeout', '{{lock}}s', true), set_config('idle_in_transaction_session_timeout', '{{idle}}s', true),
    set_config('datestyle', 'ISO', true);
"""

_ERRORS: list[tuple[tuple[type[psycopg.Error], ...], type[StoreError]]] = [
    ((errors.LockNotAvailable, errors.DeadlockDetected, errors.SerializationFailure), Busy),
    ((errors.DiskFull,), OutOfSpace),
    ((errors.ProgramLimitExceeded,), NameTooLong),  # of an index entry
    ((errors.InsufficientPrivilege, errors.ReadOnlySqlTransaction), Forbidden),
    ((errors.UndefinedTable, errors.InvalidSchemaName), Gone),
    # InternalError: the server has ended the transaction, as it idled or took too long.
    ((psycopg.OperationalError, psycopg.InternalError, psycopg.InterfaceError), Unavailable),
]


@contextlib.contextmanager
def store_errors() -> Iterator[None]:
    """Turn what the server refuses into the errors of a store; the cause stays attached for the log."""
    try:
        yield
    except SetupError as error:
        raise Forbidden from error
    except psycopg.Error as error:
        for kinds, store_error in _ERRORS:
            if isinstance(error, kinds):
                raise store_error from error
        raise


class Database:
    """The connections of this process to one database, shared by the stores of all tenants."""

    def __init__(self, address: str, max_connections: int) -> None:
        self._checked = False
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            address,
            min_size=0,
            max_size=max_connections,
            timeout=CONNECT_SECONDS,
            reconnect_timeout=0,  # no back-off in the background: the next command tries
            kwargs={"autocommit": True},
            configure=_configure,
            open=True,
        )

    def check(self) -> None:
        """Raise SetupError if this login must not be used; an unreachable server is left for later."""
        with contextlib.suppress(psycopg.OperationalError):
            self._done(self._connected(lambda _: None)[0])

    def close(self) -> None:
        self._pool.close()

    def read(self, tenant: uuid.UUID, *queries: Query) -> list[Rows]:
        """The rows of some queries, in one transaction and one exchange with the server."""

        def run(connection: Connection) -> list[Rows]:
            with connection.pipeline():  # one transaction, which its end commits
                connection.execute(_SET_TENANT, {"tenant": str(tenant)})
                cursors = [connection.execute(*query, binary=True) for query in queries]
            return [cursor.fetchall() for cursor in cursors]

        with store_errors():
            connection, rows = self._connected(run)
            self._done(connection)
            return rows

    @contextlib.contextmanager
    def write(self, tenant: uuid.UUID, first: str) -> Iterator[Session]:
        """A transaction that begins with a statement and ends with the block: kept, or rolled back on an exception."""
        with store_errors():
            connection, session = self._connected(lambda new: Session(new, tenant, first))
        try:
            yield session
            with store_errors():
                self._commit(connection, session)
        finally:
            session.close()
            self._done(connection)

    def _commit(self, connection: Connection, session: Session) -> None:
        try:
            session.commit()
        except psycopg.OperationalError:
            if not (connection.closed and self._was_committed(session.transaction)):
                raise

    def _connected(self, start: Callable[[Connection], _Result]) -> tuple[Connection, _Result]:
        """A connection, and what `start` did on it: done anew if the connection turns out to be lost."""
        for last in (False, True):
            connection = self._pool.getconn()
            try:
                if not self._checked:
                    check_login(connection)
                    self._checked = True
                return connection, start(connection)
            except BaseException as error:
                lost = connection.closed and isinstance(error, psycopg.OperationalError)
                self._done(connection)
                if last or not lost:
                    raise
            self._pool.check()  # the others may be lost as well
        raise AssertionError("unreachable")

    def _done(self, connection: Connection) -> None:
        if connection.info.transaction_status != TransactionStatus.IDLE:
            with contextlib.suppress(psycopg.Error):
                connection.rollback()
        self._pool.putconn(connection)

    def _was_committed(self, transaction: str) -> bool:
        """Whether a transaction was kept, where the answer to its COMMIT was lost: the server knows."""
        deadline = time.monotonic() + _IN_DOUBT_SECONDS
        status = "in progress"
        while status == "in progress" and time.monotonic() < deadline:
            connection, status = self._connected(
                lambda new: _value(new.execute("SELECT pg_xact_status(%s::xid8)", [transaction]))
            )
            self._done(connection)
            time.sleep(0.01)
        logger.warning("connection lost while committing: the transaction is %s", status)
        return status == "committed"


class Session:
    """A transaction that has begun. What it `queue`s is sent with the next `rows`, or with the commit."""

    def __init__(self, connection: Connection, tenant: uuid.UUID, first: str) -> None:
        self._connection, self._open = connection, contextlib.ExitStack()
        begin = _BEGIN.format(tenant=tenant, lock=LOCK_SECONDS, idle=IDLE_SECONDS)
        cursor = connection.execute(begin + first)  # all in one message, as nothing in it needs to be quoted
        cursor.nextset()
        self.transaction = str(_value(cursor))
        cursor.nextset()
        self.begun: Rows = cursor.fetchall()
        # To leave the pipeline sends one message more, after which the server does not see any more that a writer hangs.
        # So it stays open, and each exchange ends with a sync.
        self._pipeline = self._open.enter_context(connection.pipeline())
        self._queued: list[Query] = []
        self._queued_bytes, self._sent_at = 0, time.monotonic()
        self._error: StoreError | None = None
        self.at_end: Callable[[], None] = lambda: None

    def rows(self, *queries: Query) -> list[Rows]:
        """The rows of each query, in one exchange with the server."""
        try:
            with store_errors():
                return self._send(*queries)
        except StoreError as error:
            self._error = error
            raise

    def queue(self, statement: str, values: Mapping[str, object]) -> None:
        self._queued.append((statement, values))
        self._queued_bytes += sum(len(value) for value in values.values() if isinstance(value, bytes))
        # Sent in time as well: the server takes a writer from whom it hears nothing for one that hangs.
        if self._queued_bytes > _QUEUE_BYTES or time.monotonic() - self._sent_at > IDLE_SECONDS / 2:
            self.rows()

    def commit(self) -> None:
        if self._error:  # caught by whoever holds the change, but the transaction is broken
            raise self._error
        self.at_end()
        for query in (*self._queued, ("COMMIT", {})):
            self._connection.execute(*query)
        self._open.close()  # sends them

    def close(self) -> None:
        with contextlib.suppress(psycopg.Error):
            self._open.close()

    def _send(self, *queries: Query) -> list[Rows]:
        queued, self._queued, self._queued_bytes = self._queued, [], 0
        cursors = [self._connection.execute(*query, binary=True) for query in (*queued, *queries)]
        self._pipeline.sync()
        self._sent_at = time.monotonic()
        return [cursor.fetchall() if cursor.description else [] for cursor in cursors[len(queued) :]]


_databases: dict[tuple[int, str, int], Database] = {}
_databases_lock = threading.Lock()


def database(address: str, max_connections: int) -> Database:
    """The connections of this process to the database at an address; a forked process opens its own.

    Raises ValueError for an address that cannot be read.
    """
    key = (os.getpid(), address, max_connections)
    with _databases_lock:
        if key not in _databases:
            _databases[key] = Database(_with_defaults(address), max_connections)
        return _databases[key]


def _with_defaults(address: str) -> str:
    try:
        given = conninfo.conninfo_to_dict(address)
    except psycopg.ProgrammingError:  # whose text may hold the password
        raise ValueError("The address cannot be read: write postgresql://user@host/database.") from None
    defaults = {name: value for name, value in _DEFAULTS.items() if name not in given}
    if "PGCONNECT_TIMEOUT" in os.environ:
        defaults.pop("connect_timeout", None)
    return conninfo.make_conninfo(address, **defaults, client_encoding="utf8")


@atexit.register
def _close_all() -> None:
    for (process, _, _), one in _databases.items():
        if process == os.getpid():
            one.close()


def _configure(connection: Connection) -> None:
    if _value(connection.execute("SELECT pg_backend_pid()")) != connection.info.backend_pid:
        connection.prepare_threshold = None  # a pooler is in between: the next transaction may run elsewhere


def _value(cursor: psycopg.Cursor[tuple[Any, ...]]) -> Any:
    row = cursor.fetchone()
    assert row is not None
    return row[0]
