"""Behind a pooler that gives each transaction the connection that is free (pgbouncer in transaction mode)."""

import os
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from postgres_server import Server

from memory_stores.postgres import PostgresStore

pytestmark = pytest.mark.skipif(
    "MEMORY_TEST_POOLER" not in os.environ,
    reason="there is no pooler here: .ci/postgres has one, and CI runs that",
)


def test_statements_prepared_on_a_connection_are_lost_or_there_twice(server: Server) -> None:
    """The control: what a client that prepares statements, as psycopg does by itself, runs into."""
    with pytest.raises((psycopg.errors.InvalidSqlStatementName, psycopg.errors.DuplicatePreparedStatement)):
        clients = [psycopg.connect(server.app, autocommit=True, prepare_threshold=0) for _ in range(4)]
        for _ in range(5):
            for client in clients:
                client.execute("SELECT %s::text", ["x"])


def test_a_store_prepares_none(server: Server, scope: tuple[str, str]) -> None:
    stores = [PostgresStore(server.app, (*scope, f"{number}")) for number in range(4)]

    def use(store: PostgresStore) -> bytes:
        for number in range(30):
            with store.change() as change:
                change.write(("note",), f"{store.tenant} {number}".encode())
            store.read(("note",))
        return store.read(("note",))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(use, stores)) == [f"{store.tenant} 29".encode() for store in stores]
