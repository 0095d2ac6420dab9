"""The rows of PostgreSQL, by the contract that any store must pass."""

import time
from functools import partial
from multiprocessing.process import BaseProcess

import pytest
from postgres_server import Server

from memory_stores.contract import ProposableStoreContract
from memory_stores.contract.harness import PROCESSES, MakeStore
from memory_stores.postgres import PostgresStore

PROCESSES.set_forkserver_preload(["memory_stores.contract", "memory_stores.postgres"])

_AT_WORK = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND state <> 'idle' AND pid <> pg_backend_pid()"""


class TestPostgresStore(ProposableStoreContract):
    @pytest.fixture
    def make_store(self, server: Server) -> MakeStore:
        return partial(PostgresStore, server.app)

    @pytest.fixture(autouse=True)
    def _killed_with_its_last_statement(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        """When a process is gone, the server may still be at work on the last that it sent: a moment, and that is too."""
        join = BaseProcess.join

        def joined(self: BaseProcess, timeout: float | None = None) -> None:
            join(self, timeout)
            while server.sql(_AT_WORK) != [(0,)]:
                time.sleep(0.001)

        monkeypatch.setattr(BaseProcess, "join", joined)
