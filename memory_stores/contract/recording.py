"""What the tests of a history stand on: handlers that record, and memory at moments of the past."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, TypeAlias

import pytest
from hypothesis import strategies as st

from memory_stores.contract.harness import M, StoreTests, Tenant, files
from memory_stores.protocol import Change, MemoryStore, Path, Version, VersionedStore, spelled
from memory_tool import MemoryToolHandler

Command: TypeAlias = Mapping[str, object]
Files: TypeAlias = dict[Path, bytes]

NAMES = st.sampled_from(["a", "b", "d", "d/a", "d/b", "d/e/a"])
COMMANDS = st.lists(
    st.one_of(
        st.builds(
            lambda name, text: {"command": "create", "path": f"{M}/{name}", "file_text": text},
            NAMES,
            st.text("xyz\n", max_size=3),
        ),
        st.builds(
            lambda name, text: {
                "command": "insert",
                "path": f"{M}/{name}",
                "insert_line": 0,
                "insert_text": text,
            },
            NAMES,
            st.text("xyz", max_size=2),
        ),
        st.builds(lambda name: {"command": "delete", "path": f"{M}/{name}"}, NAMES),
        st.builds(
            lambda old, new: {"command": "rename", "old_path": f"{M}/{old}", "new_path": f"{M}/{new}"},
            NAMES,
            NAMES | st.just("f/g"),
        ),
        st.just({"command": "clear"}),
    ),
    max_size=8,
)


class Moment(NamedTuple):
    """The files after a command, and the change that it made, if any."""

    time: datetime
    files: Files
    change_id: str | None


class RecordingTests(StoreTests):
    @pytest.fixture
    def recording(self, tenant: Tenant) -> MemoryToolHandler:
        return recorder(tenant)


def recorder(
    tenant: Tenant, who: str | bool = "writer", keep: timedelta | int | None = None
) -> MemoryToolHandler:
    return MemoryToolHandler(store=tenant.store(), history=who, keep=keep)


def run(handler: MemoryToolHandler, command: Command) -> dict[str, str]:
    return handler.clear_all_memory() if command["command"] == "clear" else handler.execute(command)


def create(handler: MemoryToolHandler, name: str, text: str) -> Version:
    """Create a file, and give the version that this made."""
    answer = handler.execute(command="create", path=f"{M}/{name}", file_text=text)
    assert "success" in answer, answer
    return handler.history.versions(f"{M}/{name}")[-1]


def delete(handler: MemoryToolHandler, name: str) -> Version:
    """Delete a file or directory, and give the last version that this made."""
    assert "success" in handler.execute(command="delete", path=f"{M}/{name}")
    return handler.history.versions()[-1]


def rename(handler: MemoryToolHandler, old: str, new: str) -> None:
    assert "success" in handler.execute(command="rename", old_path=f"{M}/{old}", new_path=f"{M}/{new}")


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def versioned(store: MemoryStore) -> VersionedStore:
    assert isinstance(store, VersionedStore)
    return store


def described(versions: Sequence[Version]) -> list[tuple[str, str]]:
    return [(version.operation, version.path.removeprefix(f"{M}/")) for version in versions]


def replayed(handler: MemoryToolHandler) -> dict[str, bytes]:
    """The files that the versions lead to."""
    held = dict[str, bytes]()
    for version in handler.history.versions():
        data = handler.history.content(version.id)
        if data is None:
            del held[version.path]
        else:
            held[version.path] = data
            assert (version.size, version.content_sha256) == (len(data), digest(data))
    return held


def by_spelling(held: Files) -> dict[str, bytes]:
    return {spelled(path): data for path, data in held.items()}


def right_before_a_change(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, others: Callable[[], object]
) -> None:
    """Let others do something just as this store is about to begin its next change."""
    change = type(store).change

    def changed(self: MemoryStore) -> AbstractContextManager[Change]:
        if self is store:
            monkeypatch.setattr(type(store), "change", change)
            others()
        return change(self)

    monkeypatch.setattr(type(store), "change", changed)


def moments(tenant: Tenant, first: Sequence[Command], then: Sequence[Command]) -> list[Moment]:
    """Memory before and after each of the commands `then`; those that come `first` leave no record."""
    plain = MemoryToolHandler(store=tenant.store())
    for command in first:
        run(plain, command)
    handler = recorder(tenant)
    passed = [Moment(datetime.now(UTC), files(handler.store), None)]
    for command in then:
        known = {version.change_id for version in handler.history.versions()}
        run(handler, command)
        new = [version for version in handler.history.versions() if version.change_id not in known]
        made = [version.change_id for version in new if version.created_by is not None]
        now = max(datetime.now(UTC), *(version.created_at for version in new), passed[-1].time)
        passed.append(Moment(now, files(handler.store), made[-1] if made else None))
    return passed
