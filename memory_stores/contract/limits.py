"""Limits: growth past them is refused, what shrinks never is."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from multiprocessing.connection import Connection

import pytest

from memory_stores.contract.harness import StoreTests, Tenant, answer_of, contents, files, fill, process
from memory_stores.protocol import FileLimit, MemoryStore, StoreLimit

RACERS = 4


def write_until_full(name: str, store: MemoryStore) -> int:
    """How many files of 10 bytes a writer got in, with the files of others going in meanwhile."""
    for number in range(100):
        try:
            fill(store, **{f"{name}-{number}": "x" * 10})
        except StoreLimit:
            return number
    raise AssertionError("the store did not refuse")


def write_until_full_and_tell(
    connection: Connection, tenant: Tenant, name: str, limits: dict[str, int]
) -> None:
    try:
        connection.send(write_until_full(name, tenant.store(**limits)))
    except Exception as error:
        connection.send(error)


class LimitsContract(StoreTests):
    def test_a_file_may_not_grow_past_its_limit(self, tenant: Tenant) -> None:
        fill(tenant.store(), large="x" * 30)
        store = tenant.store(max_file_bytes=10)
        fill(store, a="x" * 10)
        for path, size in ((("a",), 11), (("new", "b"), 11), (("large",), 31)):
            with pytest.raises(FileLimit) as caught, store.change() as change:
                change.write(path, b"x" * size)
            assert (caught.value.path, caught.value.limit) == (path, 10)
        fill(store, large="x" * 30)
        fill(store, large="x" * 20)
        fill(store, large="")
        assert contents(store) == {(): None, ("a",): b"x" * 10, ("large",): b""}

    def test_what_is_refused_for_a_limit_makes_no_directory(self, tenant: Tenant) -> None:
        store = tenant.store(max_file_bytes=10, max_files=1)
        with store.change() as change:
            with pytest.raises(FileLimit):
                change.write(("new", "er", "a"), b"x" * 11)
            change.write(("b",), b"x")
            with pytest.raises(StoreLimit):
                change.write(("other", "c"), b"x")
        assert contents(store) == {(): None, ("b",): b"x"}

    def test_a_store_may_not_grow_past_its_files(self, tenant: Tenant) -> None:
        store = tenant.store(max_files=2, max_total_bytes=1_000)
        fill(store, a="x", d__b="x")
        with pytest.raises(StoreLimit) as caught:
            fill(store, c="")
        assert (caught.value.limit, caught.value.size) == (2, 1_000)
        fill(store, a="longer")
        with store.change() as change:
            change.move(("d",), ("e",))
            change.remove(("a",))
            change.write(("c",), b"x")
        with pytest.raises(StoreLimit):
            fill(store, f="")
        assert set(files(store)) == {("e", "b"), ("c",)}
        with store.change() as change:
            change.remove(())
        fill(store, a="x", b="x")

    def test_a_store_may_not_grow_past_its_bytes(self, tenant: Tenant) -> None:
        store = tenant.store(max_total_bytes=100)
        fill(store, a="x" * 60, d__b="x" * 30)
        fill(store, c="x" * 10, empty="")
        for held in ({"f": "x"}, {"c": "x" * 11}):
            with pytest.raises(StoreLimit):
                fill(store, **held)
        fill(store, a="x" * 50, c="x" * 20)
        with store.change() as change:
            change.remove(("d",))
            change.write(("f",), b"x" * 30)
        with pytest.raises(StoreLimit):
            fill(store, g="x")
        assert sum(map(len, files(store).values())) == 100

    def test_over_its_limits_a_store_may_still_shrink(self, tenant: Tenant) -> None:
        fill(tenant.store(), a="x" * 60, b="x" * 60, c="x" * 60)
        store = tenant.store(max_files=1, max_total_bytes=50)
        fill(store, a="x" * 50)
        fill(store, a="y" * 50)
        with store.change() as change:
            change.move(("a",), ("d", "a"))
        for held in ({"b": "x" * 61}, {"new": ""}):
            with pytest.raises(StoreLimit):
                fill(store, **held)
        with store.change() as change:
            change.remove(("b",))
            change.remove(("c",))
        assert contents(store) == {(): None, ("d",): None, ("d", "a"): b"y" * 50}

    def test_what_is_taken_back_takes_no_room(self, tenant: Tenant) -> None:
        store = tenant.store(max_files=2, max_total_bytes=100)
        fill(store, a="x" * 50)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError), store.change() as change:
                change.write(("b",), b"x" * 50)
                change.remove(("a",))
                raise ZeroDivisionError
            with pytest.raises(StoreLimit):
                fill(store, b="x" * 50, c="x")
        fill(store, b="x" * 50)
        with pytest.raises(StoreLimit):
            fill(store, a="x" * 51)

    @pytest.mark.parametrize("workers", ["threads", "processes"])
    @pytest.mark.parametrize("limits", [{"max_files": 21}, {"max_total_bytes": 215}], ids=["files", "bytes"])
    def test_limits_hold_when_many_write(self, workers: str, limits: dict[str, int], tenant: Tenant) -> None:
        if workers == "threads":
            store = tenant.store(**limits)
            with ThreadPoolExecutor(RACERS) as pool:
                written = list(pool.map(lambda name: write_until_full(name, store), "abcd"))
        else:
            with ExitStack() as stack:
                racers = [
                    stack.enter_context(process(write_until_full_and_tell, tenant, name, limits))
                    for name in "abcd"
                ]
                written = [answer_of(connection) for _, connection in racers]
        assert sum(written) == 21
        assert len(files(tenant.store())) == 21
