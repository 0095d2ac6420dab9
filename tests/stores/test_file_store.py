"""The directory of files, by the contract."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from memory_stores import FileStore, confined
from memory_stores.contract import ProposableStoreContract
from memory_stores.contract.files import FilesContract
from memory_stores.contract.harness import MakeStore
from memory_stores.contract.limits import LimitsContract
from memory_stores.contract.retention import RetentionContract
from memory_stores.contract.texts import TextsContract
from memory_stores.contract.undo import UndoContract


class TestFileStore(ProposableStoreContract):
    kills = 8  # test_killed_at_every_call.py leaves no moment out

    @pytest.fixture
    def make_store(self, memory_disk: Path) -> Iterator[MakeStore]:
        yield partial(FileStore, memory_disk)
        left = [path.stat().st_size for path in memory_disk.rglob(".memory.staged/*")]
        assert not any(left), "what killed writers staged is gone"


class TestByResolvedPaths(FilesContract, TextsContract, LimitsContract, UndoContract, RetentionContract):
    """As where nothing opens relative to a directory and no two names can be swapped: what runs in one process."""

    @pytest.fixture
    def make_store(self, memory_disk: Path, monkeypatch: pytest.MonkeyPatch) -> MakeStore:
        monkeypatch.setattr(confined, "DIR_FD", False)
        return partial(FileStore, memory_disk)
