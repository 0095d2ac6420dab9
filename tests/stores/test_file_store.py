"""The directory of files, by the contract."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from memory_stores import FileStore
from memory_stores.contract import VersionedStoreContract
from memory_stores.contract.harness import MakeStore


class TestFileStore(VersionedStoreContract):
    @pytest.fixture
    def make_store(self, memory_disk: Path) -> MakeStore:
        return partial(FileStore, memory_disk)
