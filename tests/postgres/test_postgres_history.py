"""What a history in the database keeps, and what goes from it for good."""

import hashlib
import time
import uuid
from datetime import timedelta

import psycopg
import pytest
from postgres_server import Server

from memory_stores.contract.proposals import PR, approve
from memory_stores.postgres import PostgresStore
from memory_tool import MemoryToolHandler

TABLES = ("tenants", "files", "versions")


@pytest.fixture
def secret() -> str:
    return f"canary-{uuid.uuid4().hex}"


@pytest.fixture
def handler(store: PostgresStore) -> MemoryToolHandler:
    return MemoryToolHandler(store=store, history="us")


def create(handler: MemoryToolHandler, name: str, text: str) -> str | None:
    """Write a note; the id of its version, if a history is kept."""
    answer = handler.execute(command="create", path=f"/memories/{name}", file_text=text)
    assert "success" in answer
    return next((version.id for version in handler.history.versions(f"/memories/{name}")[-1:]), None)


def places_of(server: Server, text: str) -> list[str]:
    """The tables that hold a text or its hash, and "dump" if a backup made now holds one."""
    traces = [text, text.encode().hex(), hashlib.sha256(text.encode()).hexdigest()]
    held = {table: str(server.sql(f"SELECT t::text FROM memory_store.{table} t")) for table in TABLES}
    held["dump"] = server.run("pg_dump", "--data-only", "--inserts", "--dbname", server.owner)
    return [place for place, content in held.items() if any(trace in content for trace in traces)]


def test_redacted_content_is_in_no_table_and_no_new_dump(
    server: Server, handler: MemoryToolHandler, secret: str
) -> None:
    first = create(handler, "note", secret)
    create(handler, "note", "harmless")
    assert places_of(server, secret) == ["versions", "dump"]
    assert "success" in handler.history.redact(first)
    assert places_of(server, secret) == []
    assert places_of(server, "harmless") == ["files", "versions", "dump"]
    assert handler.history.versions()[0].redacted


def test_an_erased_tenant_is_in_no_table(server: Server, scope: tuple[str, str], secret: str) -> None:
    scope = (*scope, secret)
    handler = MemoryToolHandler(store=PostgresStore(server.app, scope), history="us")
    drafting = MemoryToolHandler(store=handler.store, proposal="a draft")
    create(handler, "note", secret)
    create(drafting, "draft", secret)
    assert places_of(server, secret) == [*TABLES, "dump"]
    handler.store.erase()
    assert places_of(server, secret) == []
    assert handler.execute(command="view", path="/memories/note")["error"].endswith("provide a valid path.")
    create(handler, "note", "new")
    assert len(handler.history.versions()) == 1


def test_a_pruned_history_takes_no_room(server: Server, store: PostgresStore, secret: str) -> None:
    handler = MemoryToolHandler(store=store, history="us", keep=timedelta(seconds=0.2))
    for number in range(3):
        create(handler, "note", f"{secret}-{number}")
    time.sleep(0.3)
    create(handler, "note", "last")
    assert places_of(server, secret) == []
    assert [version.operation for version in handler.history.versions()] == ["modified"]


def test_the_content_of_a_version_is_put_back_by_the_server(
    handler: MemoryToolHandler, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    """Not over the network and back: nothing that holds it is sent to the server or comes from it."""
    create(handler, "note", secret)
    last = create(handler, "note", "harmless")
    seen = []
    execute = psycopg.Cursor.execute

    def watched(self: psycopg.Cursor, query: str, params: object = None, **options: object) -> psycopg.Cursor:
        seen.append((self, repr(params)))
        return execute(self, query, params, **options)

    monkeypatch.setattr(psycopg.Cursor, "execute", watched)
    assert handler.history.undo(last) == {"success": "/memories/note"}
    assert seen and not any(secret in params for _, params in seen)
    monkeypatch.undo()
    assert handler.store.read(("note",)) == secret.encode()


def test_a_long_history_is_read_in_parts(handler: MemoryToolHandler, monkeypatch: pytest.MonkeyPatch) -> None:
    with handler.store.change() as change:
        change.write(("note",), b"x")
        for number in range(2500):
            change.record(("note",), "modified", f"{number}")
    versions = handler.history.versions()
    assert [version.created_by for version in versions] == [f"{number}" for number in range(2500)]
    assert len({version.id for version in versions}) == 2500


def test_a_transaction_that_the_clock_went_back_for_is_later_still(
    server: Server, store: PostgresStore, handler: MemoryToolHandler
) -> None:
    create(handler, "note", "one")
    server.sql(
        "UPDATE memory_store.tenants SET last_change = now() + interval '1 day' WHERE tenant = %s",
        [store.tenant],
    )
    create(handler, "note", "two")
    create(handler, "note", "three")
    times = [version.created_at for version in handler.history.versions()]
    assert times == sorted(set(times))


def test_a_proposal_waits_beside_the_memory(server: Server, store: PostgresStore) -> None:
    handler = MemoryToolHandler(store=store, history="us")
    create(handler, "note", "one\n")
    drafting = MemoryToolHandler(store=store, proposal=PR)
    assert "success" in drafting.execute(
        command="str_replace", path="/memories/note", old_str="one", new_str="two"
    )
    assert "success" in drafting.execute(command="create", path="/memories/d/new", file_text="new\n")
    assert handler.store.read(("note",)) == b"one\n"
    assert [entry.path for entry in handler.store.entries()] == [(), ("note",)]
    assert server.sql("SELECT files FROM memory_store.tenants WHERE tenant = %s", [store.tenant]) == [(1,)]
    assert approve(handler) == {"success": "/memories/d/new\n/memories/note"}
    assert handler.store.read(("note",)) == b"two\n"
    assert {version.created_by for version in handler.history.versions()[1:]} == {"Ada"}
    assert server.sql("SELECT count(*) FROM memory_store.files WHERE tenant = %s", [store.tenant]) == [(3,)]
