"""Tenants: none sees, changes or counts what another has, whatever their names."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import pytest

from memory_stores.contract.harness import MakeStore, StoreTests, contents, files, fill
from memory_stores.protocol import MemoryStore, StoreLimit

# A store may refuse a scope with ValueError; two that it takes are two. {} is new for each test.
SCOPES: Sequence[tuple[str, ...]] = (
    ("{}",),
    ("{}-corp",),
    ("{}", "b"),
    ("{}/b",),
    ("{}b",),
    ("{}", "b", "c"),
    ("{}", "b/c"),
    ("{}", ""),
    ("{}", "", ""),
    ("", "{}"),
    ("{} ",),
    ("{}.",),
    ("{}", "."),
    ("{}", ".."),
    ("{}", "..", "{}"),
    ("{}", "memories"),
    ("{}\\b",),
    ("{}", "%"),
    ("{}", "_"),
    ("{}", "B"),
    ("{}", "é"),
    ("{}", "e\u0301"),
    ("{}", "É"),
    ("{}", "ss"),
    ("{}", "ß"),
    ("{}", "'"),
    ("{}", '", "'),
    ("{}", "\n"),
    ("{}\0b",),
    ("{}", "\ud800"),
    ("{}", "x" * 4_000 + "1"),
    ("{}", "x" * 4_000 + "2"),
    ("{}", "con"),
)


def stores(make_store: MakeStore, **limits: int) -> dict[bytes, MemoryStore]:
    """A store for each scope that is taken, by what its own note will hold."""
    unique, made = f"acme{uuid.uuid4().hex}", dict[bytes, MemoryStore]()
    for number, parts in enumerate(SCOPES):
        try:
            scope = tuple(part.replace("{}", unique) for part in parts)
            made[f"note of tenant {number}".encode()] = make_store(scope=scope, **limits)
        except ValueError:
            continue
    return made


class TenantsContract(StoreTests):
    def test_ordinary_scopes_are_taken(self, make_store: MakeStore) -> None:
        assert len(stores(make_store)) > 20

    def test_a_scope_that_is_one_string_is_a_mistake(self, make_store: MakeStore) -> None:
        with pytest.raises(TypeError):
            make_store(scope="acme")

    def test_a_tenant_sees_its_own_files_alone(self, make_store: MakeStore) -> None:
        tenants = stores(make_store, max_files=2)
        for note, store in tenants.items():
            assert contents(store) == {(): None}, note
            fill(store, mine=note.decode(), **{f"d__{note.decode()}": ""})
            with pytest.raises(StoreLimit):
                fill(store, more="")
        for note, store in tenants.items():
            expected = {("mine",): note, ("d", note.decode()): b""}
            assert files(store) == expected and len(list(store.entries())) == 4

    def test_a_tenant_changes_its_own_files_alone(self, make_store: MakeStore) -> None:
        tenants = stores(make_store)
        for note, store in tenants.items():
            fill(store, mine=note.decode())
        gone = set[bytes]()
        for note, store in tenants.items():
            with store.change() as change:
                change.move(("mine",), ("d", "moved"))
                change.remove(())
            gone.add(note)
            for other, others in tenants.items():
                assert files(others) == ({} if other in gone else {("mine",): other}), (note, other)

    def test_writers_of_two_tenants_do_not_wait_for_each_other(self, make_store: MakeStore) -> None:
        one, other = list(stores(make_store).values())[:2]
        with one.change() as change:
            change.write(("a",), b"x")
            fill(other, b="x")
        assert set(files(one)) == {("a",)} and set(files(other)) == {("b",)}
