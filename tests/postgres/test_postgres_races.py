"""Many writers: none is refused, nothing is lost, and the tables are made once."""

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from multiprocessing.connection import Connection

from postgres_server import ROLE, Server

from memory_stores.contract.harness import PROCESSES, Tenant, answer_of, process
from memory_stores.postgres import PostgresStore, migrate
from memory_tool import MemoryToolHandler

PROCESSES.set_forkserver_preload(["memory_stores.contract", "memory_stores.postgres"])
WORKERS, EDITS = 8, 50


def edit(connection: Connection, tenant: Tenant, worker: int) -> None:
    """Wait for the start, then put lines into one file; send how long each edit took."""
    handler = MemoryToolHandler(store=tenant.store(), history=f"worker {worker}")
    connection.send("ready")
    connection.recv()
    took = []
    for number in range(EDITS):
        begun = time.perf_counter()
        answer = handler.execute(
            command="str_replace", path="/memories/log", old_str="end", new_str=f"{worker}-{number}\nend"
        )
        took.append(time.perf_counter() - begun)
        if "success" not in answer:
            connection.send(AssertionError(answer))
            return
    connection.send(took)


def test_eight_processes_edit_one_file(server: Server, scope: tuple[str, str]) -> None:
    tenant = Tenant(partial(PostgresStore, server.app), scope)
    handler = MemoryToolHandler(store=tenant.store(), history="starter")
    handler.execute(command="create", path="/memories/log", file_text="end\n")
    with ExitStack() as stack:
        started = [stack.enter_context(process(edit, tenant, worker)) for worker in range(WORKERS)]
        workers = [connection for _, connection in started]
        assert [answer_of(worker) for worker in workers] == ["ready"] * WORKERS
        for worker in workers:
            worker.send("go")
        took = [seconds for worker in workers for seconds in answer_of(worker)]
    assert len(took) == WORKERS * EDITS
    lines = handler.store.read(("log",)).decode().splitlines()
    assert sorted(lines) == sorted(["end", *(f"{w}-{n}" for w in range(WORKERS) for n in range(EDITS))])
    versions = handler.history.versions()
    assert len(versions) == len({version.id for version in versions}) == 1 + WORKERS * EDITS
    assert statistics.median(took) < 1  # how long it takes on a quiet machine: make bench


def migrate_at_once(connection: Connection, owner: str, app: str, role: str) -> None:
    connection.send("ready")
    connection.recv()
    try:
        migrate(owner, role=role)
        store = PostgresStore(app, ("first",))
        with store.change() as change:
            before = change.read(("starts",)) if change.find(("starts",)) else b""
            change.write(("starts",), before + b"x")
        connection.send("done")
    except Exception as error:
        connection.send(error)


def test_eight_processes_make_the_tables(server: Server) -> None:
    empty = server.new_database()
    role = f"{ROLE}_{empty.name[-8:]}"
    with ExitStack() as stack:
        started = [
            stack.enter_context(process(migrate_at_once, empty.owner, empty.of(role), role)) for _ in range(8)
        ]
        assert [answer_of(connection) for _, connection in started] == ["ready"] * 8
        for _, connection in started:
            connection.send("go")
        assert [answer_of(connection) for _, connection in started] == ["done"] * 8
    assert empty.sql("SELECT number FROM memory_store.migrations") == [(1,)]
    assert PostgresStore(empty.of(role), ("first",)).read(("starts",)) == b"x" * 8


def test_two_databases_of_a_server_are_migrated_at_once(server: Server) -> None:
    """Roles belong to the server, so both make the same one."""
    databases = [server.new_database() for _ in range(4)]
    role = f"{ROLE}_{databases[0].name[-8:]}"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda database: migrate(database.owner, role=role), databases))
    assert all(PostgresStore(database.of(role)).find(("x",)) is None for database in databases)


def test_migrating_again_changes_nothing(server: Server) -> None:
    described = "SELECT relname, relacl::text FROM pg_class WHERE relnamespace = 'memory_store'::regnamespace ORDER BY 1"
    before = server.sql(described)
    migrate(server.owner, role=ROLE)
    assert server.sql(described) == before
