"""Many writers and readers of one tenant: no edit is lost, and a reader sees whole files."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from multiprocessing.connection import Connection

import pytest

from memory_stores.contract.harness import M, StoreTests, Tenant, answer_of, contents, fill, process
from memory_stores.protocol import MemoryStore
from memory_tool import MemoryToolHandler

WORKERS = 4


def edit(handler: MemoryToolHandler, worker: int, edits: int) -> None:
    """Put lines into one file with the two commands that edit."""
    for number in range(edits):
        line = f"{worker}-{number}"
        if number % 2:
            answer = handler.execute(command="insert", path=f"{M}/log", insert_line=1, insert_text=line)
        else:
            answer = handler.execute(
                command="str_replace", path=f"{M}/log", old_str="end", new_str=f"{line}\nend"
            )
        assert "success" in answer, answer


def edit_and_tell(
    connection: Connection, tenant: Tenant, worker: int, edits: int, history: bool = False
) -> None:
    try:
        edit(MemoryToolHandler(store=tenant.store(), history=history), worker, edits)
        connection.send("done")
    except (Exception, AssertionError) as error:
        connection.send(error)


def write_in_turn(connection: Connection, tenant: Tenant, names: str, size: int) -> None:
    """Write two files, whole, again and again, until the other side says something."""
    store = tenant.store()
    connection.send("ready")
    while not connection.poll():
        for letter in names:
            fill(store, one=letter * size, two=letter * size)


class RacesContract(StoreTests):
    edits = 20
    """How many edits each of four workers makes."""

    reads = 200
    """How often a reader looks while another process writes."""

    @pytest.mark.parametrize("workers", ["threads on one store", "threads on a store each", "processes"])
    def test_no_edit_is_lost(self, workers: str, tenant: Tenant) -> None:
        store = tenant.store()
        fill(store, log="start\nend\n")
        if workers == "processes":
            with ExitStack() as stack:
                editors = [
                    stack.enter_context(process(edit_and_tell, tenant, worker, self.edits))
                    for worker in range(WORKERS)
                ]
                assert [answer_of(connection) for _, connection in editors] == ["done"] * WORKERS
        else:
            stores = [store if "one" in workers else tenant.store() for _ in range(WORKERS)]
            with ThreadPoolExecutor(WORKERS) as pool:
                jobs = [
                    pool.submit(edit, MemoryToolHandler(store=each), worker, self.edits)
                    for worker, each in enumerate(stores)
                ]
            assert [job.result() for job in jobs] == [None] * WORKERS
        lines = store.read(("log",)).decode().splitlines()
        made = [f"{worker}-{number}" for worker in range(WORKERS) for number in range(self.edits)]
        assert sorted(lines) == sorted(["start", "end", *made])

    def test_a_reader_sees_whole_files(self, tenant: Tenant) -> None:
        store, size = tenant.store(), 100_000
        fill(store, one="a" * size, two="a" * size)
        with process(write_in_turn, tenant, "ab", size) as (writer, connection):
            assert answer_of(connection) == "ready"
            seen = set[bytes]()
            for _ in range(self.reads):
                for name in ("one", "two"):
                    data = store.read((name,))
                    assert data in {b"a" * size, b"b" * size}
                    seen.add(data[:1])
                assert [(entry.path, entry.size) for entry in store.entries() if not entry.is_directory] == [
                    (("one",), size),
                    (("two",), size),
                ]
            connection.send("stop")
            writer.join(60)
        assert seen == {b"a", b"b"}, "the other process wrote meanwhile"

    def test_a_writer_waits_for_the_one_before(self, tenant: Tenant) -> None:
        store, other, entered = tenant.store(), tenant.store(), threading.Event()

        def write() -> None:
            with other.change() as change:
                entered.set()
                change.write(("count",), change.read(("count",)) + b"2")

        with ThreadPoolExecutor(1) as pool:
            with store.change() as change:
                change.write(("count",), b"0")
                job = pool.submit(write)
                assert not entered.wait(0.2)
                change.write(("count",), b"01")
            job.result()
        assert contents(store) == {(): None, ("count",): b"012"}

    def test_changes_that_do_not_come_to_their_end_hold_up_nobody(self, store: MemoryStore) -> None:
        fill(store, log="")
        failures = 0

        def add(number: int) -> int:
            with store.change() as change:
                change.write(("log",), change.read(("log",)) + b"x")
                if number % 3 == 0:
                    raise ZeroDivisionError
            return 1

        with ThreadPoolExecutor(WORKERS) as pool:
            jobs = [pool.submit(add, number) for number in range(30)]
            for job in jobs:
                failures += isinstance(job.exception(), ZeroDivisionError)
        assert failures == 10
        assert store.read(("log",)) == b"x" * 20
