"""The contract finds what is wrong: stores that are broken in one place, each with the test that must fail on it."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path as FilePath
from types import MappingProxyType
from typing import NamedTuple

import pytest
from hypothesis import Phase, settings

from memory_stores.contract import StoreContract
from memory_stores.contract.example import SqliteChange, SqliteStore, key_of
from memory_stores.contract.files import CHANGE_REFUSALS
from memory_stores.contract.harness import new_tenant
from memory_stores.protocol import Entry, Path
from memory_tool import MemoryToolHandler


class SharedLock(SqliteStore):
    """Two writers can read the same text before either writes."""

    @contextmanager
    def change(self) -> Iterator[SqliteChange]:
        with self._transaction("DEFERRED") as db:
            yield SqliteChange(self, db)


class NoTransaction(SqliteStore):
    """Each step is kept at once."""

    @contextmanager
    def change(self) -> Iterator[SqliteChange]:
        with self._transaction("IMMEDIATE") as db:
            db.execute("COMMIT")
            yield SqliteChange(self, db)
            db.execute("BEGIN")


class PrefixOfTenants(SqliteStore):
    """Joins the parts of a scope, so that two scopes are one."""

    def __init__(self, database: FilePath, scope: Sequence[str] = (), **limits: int) -> None:
        super().__init__(database, ("/".join(scope),), **limits)


class TornWrites(SqliteStore):
    """Writes a file in two steps, which a reader can see."""

    @contextmanager
    def change(self) -> Iterator[SqliteChange]:
        with self._transaction("IMMEDIATE") as db:
            yield TornChange(self, db)


class TornChange(SqliteChange):
    def write(self, path: Path, data: bytes) -> None:
        super().write(path, data[: len(data) // 2])
        self.db.execute("COMMIT")
        self.db.execute("BEGIN IMMEDIATE")
        super().write(path, data)


def wildcards(path: Path) -> tuple[str, list[str]]:
    return "path LIKE ?", [f"{key_of(path)}/%" if path else "%"]


def in_the_order_of_the_keys(
    self: SqliteChange, path: Path = (), depth: int | None = None
) -> Iterator[Entry]:
    entries = SORTED_ENTRIES(self, path, depth)
    return iter(sorted(entries, key=lambda entry: key_of(entry.path)))


def without_directories(self: SqliteChange, path: Path) -> None:
    pass


def off_by_one(self: SqliteChange, path: Path, size: int, old: Entry | None) -> None:
    CHECK_LIMITS(self, path, size - 1, old)


def without_a_look(self: SqliteChange, old: Path, new: Path) -> None:
    self.write(new, self.read(old))
    self.remove(old)


def with_another(self: SqliteChange, path: Path) -> bytes:
    """Two writers have read before either writes: once is enough."""
    data = READ(self, path)
    with suppress(threading.BrokenBarrierError):
        TWO.wait(30)
        TWO.abort()
    return data


SORTED_ENTRIES, CHECK_LIMITS = SqliteChange.entries, SqliteChange._check_limits
READ, TWO = SqliteChange.read, threading.Barrier(2)


class Broken(NamedTuple):
    what: str
    test: Callable[..., None]
    store: type[SqliteStore] = SqliteStore
    patch: tuple[str, object] | None = None
    options: Mapping[str, object] = MappingProxyType({})


BROKEN = [
    Broken(
        "a lock that two can hold",
        StoreContract.test_no_edit_is_lost,
        SharedLock,
        patch=("memory_stores.contract.example.SqliteChange.read", with_another),
        options={"workers": "threads on one store"},
    ),
    Broken(
        "a lock that two can hold",
        StoreContract.test_a_writer_waits_for_the_one_before,
        SharedLock,
    ),
    Broken(
        "no roll back",
        StoreContract.test_an_exception_in_a_change_takes_it_back,
        NoTransaction,
        options={"error": ValueError},
    ),
    Broken(
        "no roll back",
        StoreContract.test_what_cannot_be_done_leaves_nothing,
        NoTransaction,
        options={"refusal": CHANGE_REFUSALS[0]},
    ),
    Broken("no roll back", StoreContract.test_any_changes_give_what_a_dictionary_gives, NoTransaction),
    Broken(
        "no roll back",
        StoreContract.test_killed_before_its_end_a_change_never_was,
        NoTransaction,
        options={"moment": 3},
    ),
    Broken(
        "no roll back",
        StoreContract.test_killed_at_any_moment_a_change_is_whole_or_never_was,
        NoTransaction,
    ),
    Broken("joined scopes", StoreContract.test_a_tenant_sees_its_own_files_alone, PrefixOfTenants),
    Broken("joined scopes", StoreContract.test_a_tenant_changes_its_own_files_alone, PrefixOfTenants),
    Broken("torn writes", StoreContract.test_a_reader_sees_whole_files, TornWrites),
    Broken(
        "names as patterns",
        StoreContract.test_each_name_is_a_file_of_its_own,
        patch=("memory_stores.contract.example.below", wildcards),
    ),
    Broken(
        "another order",
        StoreContract.test_entries_come_in_the_order_of_the_paths,
        patch=("memory_stores.contract.example.SqliteChange.entries", in_the_order_of_the_keys),
    ),
    Broken(
        "no directories",
        StoreContract.test_a_directory_stays_when_its_last_file_goes,
        patch=("memory_stores.contract.example.SqliteChange._make_directories", without_directories),
    ),
    Broken(
        "a limit one too high",
        StoreContract.test_a_file_may_not_grow_past_its_limit,
        patch=("memory_stores.contract.example.SqliteChange._check_limits", off_by_one),
    ),
    Broken(
        "a limit one too high",
        StoreContract.test_a_store_may_not_grow_past_its_bytes,
        patch=("memory_stores.contract.example.SqliteChange._check_limits", off_by_one),
    ),
    Broken(
        "a move that replaces",
        StoreContract.test_what_cannot_be_done_leaves_nothing,
        patch=("memory_stores.contract.example.SqliteChange.move", without_a_look),
        options={"refusal": next(row for row in CHANGE_REFUSALS if row.name == "move to itself")},
    ),
]


def run(
    test: Callable[..., None], store: type[SqliteStore], disk: FilePath, options: Mapping[str, object]
) -> None:
    """Run a test of the contract as pytest does, with the fixtures that it names."""
    make_store = partial(store, disk / "memory.db")
    tenant = new_tenant(make_store)
    given = {
        "make_store": make_store,
        "tenant": tenant,
        "store": tenant.store(),
        "handler": MemoryToolHandler(store=tenant.store()),
        **options,
    }
    wanted = list(inspect.signature(test).parameters)[1:]
    test(StoreContract(), **{name: given[name] for name in wanted})


@pytest.fixture
def unshrunk() -> Iterator[None]:
    """A counterexample is enough: a small one is for people."""
    settings.register_profile("unshrunk", settings.default, phases=[Phase.generate])
    before = settings.get_current_profile_name()
    settings.load_profile("unshrunk")
    yield
    settings.load_profile(before)


@pytest.mark.usefixtures("unshrunk")
@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: f"{broken.what}: {broken.test.__name__}")
def test_a_broken_store_fails(broken: Broken, memory_disk: FilePath, monkeypatch: pytest.MonkeyPatch) -> None:
    run(broken.test, SqliteStore, memory_disk, broken.options)  # the control
    if broken.patch:
        monkeypatch.setattr(*broken.patch)
    with pytest.raises((Exception, pytest.fail.Exception)):
        run(broken.test, broken.store, memory_disk, broken.options)
