"""A memory moves between a directory and the database with its history, byte for byte."""

import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from postgres_server import Server

from memory_stores import FileStore, postgres_connection
from memory_stores.contract.harness import PROCESSES, contents, process
from memory_stores.contract.kills import kill_me
from memory_stores.copying import AdoptingStore, Copied, NotEmpty, copy_memory
from memory_stores.history import HistoryError
from memory_stores.postgres import PostgresStore
from memory_stores.protocol import BadName, StoreError, Unavailable
from memory_tool import MemoryToolHandler

MakeStore = Callable[[], AdoptingStore]

PROCESSES.set_forkserver_preload(["memory_stores.contract", "memory_stores.postgres"])


@pytest.fixture(params=["directory", "database"])
def make_source(request: pytest.FixtureRequest, server: Server, tmp_path: Path) -> MakeStore:
    return _maker(request.param, server, tmp_path)


@pytest.fixture(params=["directory", "database"])
def make_target(request: pytest.FixtureRequest, server: Server, tmp_path: Path) -> MakeStore:
    return _maker(request.param, server, tmp_path)


def _maker(kind: str, server: Server, tmp_path: Path) -> MakeStore:
    scope = (uuid.uuid4().hex,)
    return (
        partial(FileStore, tmp_path, scope)
        if kind == "directory"
        else partial(PostgresStore, server.app, scope)
    )


def _live_a_little(store: AdoptingStore) -> MemoryToolHandler:
    """Files of all kinds, and a history with everything that can be in one."""
    MemoryToolHandler(store=store).execute(command="create", path="/memories/before", file_text="unrecorded")
    handler = MemoryToolHandler(store=store, history="Ada")

    def run(command: str, **params: object) -> None:
        answer = handler.execute(command=command, **params)
        assert "success" in answer, answer

    run("create", path="/memories/a/b/note.md", file_text="one\r\n\u2028two\n")
    run("str_replace", path="/memories/a/b/note.md", old_str="two", new_str="2")
    run("create", path="/memories/secret", file_text="a secret")
    run("create", path="/memories/secret", file_text="")
    [secret, _] = handler.history.versions("/memories/secret")
    assert "success" in handler.history.redact(secret.id)
    run("insert", path="/memories/before", insert_line=0, insert_text="first")
    run("rename", old_path="/memories/a/b", new_path="/memories/\U0001f600")
    run("create", path="/memories/c/d/gone", file_text="x")
    run("delete", path="/memories/c/d/gone")
    with store.change() as change:
        change.write(("binary",), bytes(range(256)) * 100)
    return handler


def _all(store: AdoptingStore) -> tuple[object, ...]:
    history = MemoryToolHandler(store=store).history

    def content(version_id: str) -> bytes | str | None:
        try:
            return history.content(version_id)
        except HistoryError as error:
            return str(error)

    versions = list(store.versions())
    return contents(store), versions, [content(version.id) for version in versions], store.history_begins()


def test_copied_there_and_back_a_memory_is_what_it_was(
    make_source: MakeStore, make_target: MakeStore, server: Server, tmp_path: Path
) -> None:
    source, target = make_source(), make_target()
    _live_a_little(source)
    before = _all(source)
    assert any(version.redacted for version in before[1]) and any(v.created_by is None for v in before[1])
    assert copy_memory(source, target) == Copied(files=4, versions=len(before[1]))
    assert _all(target) == before
    back = _maker("directory" if isinstance(source, FileStore) else "database", server, tmp_path / "back")()
    copy_memory(target, back)
    assert _all(back) == before == _all(source)


def test_the_copy_is_used_as_the_original_is(make_source: MakeStore, make_target: MakeStore) -> None:
    source, target = make_source(), make_target()
    _live_a_little(source)
    copy_memory(source, target)
    handler = MemoryToolHandler(store=target, history="Bob")
    versions = handler.history.versions()
    renamed = next(version for version in versions if version.operation == "deleted")
    assert "success" in handler.history.undo(renamed.id)
    assert target.read(("a", "b", "note.md")) == b"one\r\n\xe2\x80\xa82\n"
    assert "success" in handler.history.restore(versions[1].created_at)
    assert "success" in handler.execute(command="create", path="/memories/new", file_text="new")
    times = [version.created_at for version in handler.history.versions()]
    assert times == sorted(times)


def test_a_pruned_history_begins_where_it_did(make_source: MakeStore, make_target: MakeStore) -> None:
    source, target = make_source(), make_target()
    handler = _live_a_little(source)
    with source.change() as change:
        change.prune(40)
    begins = source.history_begins()
    assert begins is not None and handler.history.versions()
    copy_memory(source, target)
    assert _all(target) == _all(source)
    answer = MemoryToolHandler(store=target).history.restore(begins - timedelta(seconds=1))
    assert begins.isoformat() in answer["error"]


def test_a_store_that_holds_something_is_not_copied_to(
    make_source: MakeStore, make_target: MakeStore
) -> None:
    source = make_source()
    _live_a_little(source)
    holding, remembering = make_target(), make_target()
    with holding.change() as change:
        change.write(("mine",), b"x")
    with pytest.raises(NotEmpty):
        copy_memory(source, holding)
    assert contents(holding) == {(): None, ("mine",): b"x"}
    handler = MemoryToolHandler(store=remembering, history="us")
    handler.clear_all_memory()
    handler.execute(command="create", path="/memories/mine", file_text="x")
    handler.clear_all_memory()
    versions = handler.history.versions()
    with pytest.raises(NotEmpty):
        copy_memory(source, remembering)
    assert handler.history.versions() == versions


@pytest.mark.parametrize("key", ["\x01..\x01..\x01canary", "\x01c/../../../canary", "\x01..", "\x01"])
def test_a_row_whose_name_would_lead_out_of_a_directory_ends_the_copy(
    key: str, server: Server, store: PostgresStore, tmp_path: Path
) -> None:
    """Whoever may write to the database does not write to the machine of who takes a memory home."""
    _live_a_little(store)
    insert = "INSERT INTO memory_store.files (tenant, path, content) VALUES (%s, %s, 'evil')"
    server.sql(insert, [store.tenant, key])
    target = FileStore(tmp_path / "base")
    with pytest.raises(BadName):
        copy_memory(store, target)
    assert [path.name for path in tmp_path.iterdir()] == ["base"]
    assert _all(target) == ({(): None}, [], [], None)


def test_a_copy_that_fails_leaves_nothing(make_source: MakeStore, server: Server) -> None:
    source = make_source()
    _live_a_little(source)
    scope = (uuid.uuid4().hex,)
    small = PostgresStore(server.app, scope, max_total_bytes=100)
    with pytest.raises(StoreError):
        copy_memory(source, small)
    assert _all(PostgresStore(server.app, scope)) == ({(): None}, [], [], None)


def test_a_copy_that_fails_leaves_the_target_as_it_was(
    make_source: MakeStore, make_target: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = make_source(), make_target()
    _live_a_little(source)
    session = MemoryToolHandler(store=target, proposal="PR 17")
    assert "success" in session.execute(command="create", path="/memories/waits", file_text="proposed")
    waiting = session.proposals.diff("PR 17")

    def begins() -> None:
        raise Unavailable

    with monkeypatch.context() as patched:
        patched.setattr(source, "history_begins", begins)  # the last that a copy asks for
        with pytest.raises(Unavailable):
            copy_memory(source, target)
    assert _all(target) == ({(): None}, [], [], None)
    assert MemoryToolHandler(store=target).proposals.diff("PR 17") == waiting
    copy_memory(source, target)
    assert _all(target) == _all(source)
    assert [proposal.name for proposal in MemoryToolHandler(store=target).proposals.list()] == ["PR 17"]


class _Deadly(FileStore):
    """Kills whoever asks for the content of a version."""

    def content(self, version_id: str) -> bytes | None:
        kill_me()
        raise AssertionError


def _copy_until_killed(_: Connection, source: Path, make_target: MakeStore) -> None:
    copy_memory(_Deadly(source), make_target())


def test_a_copy_that_is_killed_leaves_nothing_and_can_be_made_again(
    make_target: MakeStore, tmp_path: Path
) -> None:
    source = FileStore(tmp_path / "source")
    _live_a_little(source)
    with process(_copy_until_killed, tmp_path / "source", make_target) as (copying, _):
        copying.join(60)
        assert copying.exitcode not in (0, 1), "it was killed"
    target = make_target()
    assert _all(target) == ({(): None}, [], [], None)
    copy_memory(source, target)
    assert _all(target) == _all(source)


def test_a_copy_may_take_longer_than_a_writer_may_hang(
    make_source: MakeStore, make_target: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = make_source(), make_target()
    _live_a_little(source)
    content = source.content

    def slow(version_id: str) -> bytes | None:
        time.sleep(0.15)
        return content(version_id)

    monkeypatch.setattr(source, "content", slow)
    monkeypatch.setattr(postgres_connection, "IDLE_SECONDS", 0.8)
    begun = time.monotonic()
    copy_memory(source, target)
    assert time.monotonic() - begun > 1.5
    assert contents(target) == contents(source)
