"""The store that the contract has as an example."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from memory_stores.contract import StoreContract
from memory_stores.contract.example import SqliteStore
from memory_stores.contract.harness import MakeStore
from memory_stores.protocol import Busy
from memory_tool import MemoryToolHandler

ROOT = Path(__file__).parents[2]


def test_stores_can_be_had_without_the_tools_of_tests() -> None:
    code = "import sys, memory_tool, memory_stores; print(*({'pytest', 'hypothesis', 'memory_stores.contract'} & {*sys.modules}))"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == "\n"


class TestSqliteStore(StoreContract):
    @pytest.fixture
    def make_store(self, memory_disk: Path) -> MakeStore:
        return partial(SqliteStore, memory_disk / "memory.db")

    def test_writers_of_two_tenants_do_not_wait_for_each_other(self, make_store: MakeStore) -> None:
        """They do: the lock is that of the whole database, and who does not get it is told."""
        one, other = (make_store(scope=(name,), patience=0.05) for name in ("acme", "acme-corp"))
        with one.change(), pytest.raises(Busy), other.change():
            pass
        with one.change():
            answer = MemoryToolHandler(store=other).execute(
                command="create", path="/memories/a", file_text=""
            )
        assert answer == {"error": "Another program is changing the memory directory: try again later."}

    def test_a_history_is_refused(self, make_store: MakeStore) -> None:
        with pytest.raises(TypeError, match="SqliteStore keeps no versions"):
            MemoryToolHandler(store=make_store(), history=True)
