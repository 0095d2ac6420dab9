"""Every error that a store may raise is one sentence for the model, with no path of this machine."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from memory_stores import protocol
from memory_stores.protocol import Change, Entry, Path, StoreError
from memory_tool import MemoryToolHandler

M = "/memories"
PLACE = "/srv/secret-place/memory.db"


def subclasses(kind: type[StoreError]) -> list[type[StoreError]]:
    return [kind for sub in kind.__subclasses__() for kind in (sub, *subclasses(sub))]


class FailingStore:
    """Every call fails with one error, whose cause names a path of this machine."""

    def __init__(self, error: type[StoreError]) -> None:
        self.error = error

    def fail(self) -> None:
        raise self.error(("d", "f"), limit=1_000, size=2_000) from OSError(5, "broken", PLACE)

    def find(self, path: Path) -> Entry | None:
        self.fail()
        return None

    def read(self, path: Path) -> bytes:
        self.fail()
        return b""

    def entries(self, path: Path = (), depth: int | None = None) -> Iterator[Entry]:
        self.fail()
        return iter(())

    @contextmanager
    def change(self) -> Iterator[Change]:
        self.fail()
        raise AssertionError
        yield


def test_every_error_of_the_protocol_is_here() -> None:
    defined = {
        kind for kind in vars(protocol).values() if isinstance(kind, type) and issubclass(kind, StoreError)
    }
    assert defined == {StoreError, *subclasses(StoreError)} and len(defined) > 15


@pytest.mark.parametrize("error", subclasses(StoreError), ids=lambda error: error.__name__)
def test_the_model_is_told_in_one_sentence(error: type[StoreError], caplog: pytest.LogCaptureFixture) -> None:
    handler = MemoryToolHandler(store=FailingStore(error))
    for command in (
        {"command": "view", "path": f"{M}/d/f"},
        {"command": "create", "path": f"{M}/d/f", "file_text": "x"},
        {"command": "str_replace", "path": f"{M}/d/f", "old_str": "x", "new_str": "y"},
        {"command": "insert", "path": f"{M}/d/f", "insert_line": 0, "insert_text": "y"},
        {"command": "rename", "old_path": f"{M}/d/f", "new_path": f"{M}/g"},
        {"command": "delete", "path": f"{M}/d/f"},
    ):
        with caplog.at_level(logging.WARNING):
            text = handler.execute(command)["error"]
        assert "secret-place" not in text and "internal reason" not in text
        assert len(re.findall(r"[.!?](?=\s|$)", text)) <= 2 and len(text) < 200, text


@pytest.mark.parametrize(
    "error", [protocol.Unavailable, protocol.OutOfSpace, protocol.Forbidden, protocol.Busy]
)
def test_the_cause_is_in_the_log(error: type[StoreError], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        MemoryToolHandler(store=FailingStore(error)).execute(command="delete", path=f"{M}/f")
    assert PLACE in caplog.text
