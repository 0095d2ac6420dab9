"""The directory of files, by the contract."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from memory_stores import FileStore, confined
from memory_stores.contract import ProposableStoreContract
from memory_stores.contract.files import FilesContract
from memory_stores.contract.harness import MakeStore, contents
from memory_stores.contract.limits import LimitsContract
from memory_stores.contract.retention import RetentionContract
from memory_stores.contract.texts import TextsContract
from memory_stores.contract.undo import UndoContract
from memory_stores.protocol import BadName


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


@pytest.mark.parametrize(
    "path",
    [
        ("..", "..", "canary"),
        ("d", "..", "..", "..", "canary"),
        ("d/../../../canary",),
        ("..",),
        (".",),
        ("",),
        ("a\0b",),
    ],
)
def test_what_is_no_name_leads_nowhere(path: tuple[str, ...], memory_disk: Path) -> None:
    """A handler sends none, but a memory that is copied may."""
    (memory_disk / "canary").write_text("yellow feathers", encoding="utf-8")
    store = FileStore(memory_disk / "base")
    with store.change() as change:
        change.write(("d", "f"), b"mine")
    for read in (store.find, store.read, lambda path: list(store.entries(path))):
        with pytest.raises(BadName):
            read(path)
    for do in (
        lambda change: change.write(path, b"evil"),
        lambda change: change.remove(path),
        lambda change: change.move(path, ("new",)),
        lambda change: change.move(("d", "f"), path),
        lambda change: change.digest(path),
    ):
        with pytest.raises(BadName), store.change() as change:
            do(change)
    assert contents(store) == {(): None, ("d",): None, ("d", "f"): b"mine"}
    assert {path.name for path in memory_disk.iterdir()} == {"base", "canary"}
    assert (memory_disk / "canary").read_text(encoding="utf-8") == "yellow feathers"
