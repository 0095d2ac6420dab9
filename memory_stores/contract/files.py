"""Files, directories, listings and changes: what a store does for one writer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory_stores.contract.harness import MakeStore, StoreTests, Tenant, contents, files, fill, new_tenant
from memory_stores.contract.model import Model, Move, Remove, Step, Write, carry_out
from memory_stores.protocol import (
    Change,
    Entry,
    IsDirectory,
    MemoryStore,
    NameTooLong,
    NotADirectory,
    NotAFile,
    NotFound,
    Occupied,
    Reader,
    StoreError,
)

# Characters before "/" too: in the order of the paths, what is in `a` comes before `a-b`.
NAMES = ("a", "a-b", "a.b", "a b", "b")
PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(tuple)
STEPS = st.one_of(
    st.builds(Write, PATHS, st.binary(max_size=9)),
    st.builds(Remove, PATHS | st.just(())),
    # The handler refuses to move a directory into itself.
    st.builds(Move, PATHS, PATHS).filter(
        lambda move: move.new == move.old or move.new[: len(move.old)] != move.old
    ),
)
CHANGES = st.lists(st.tuples(st.lists(STEPS, max_size=4), st.booleans()), max_size=6)

# Wildcards of SQL and shells, quotes, and neighbours of each other in any order.
ODD_NAMES = (
    "a_b",
    "axb",
    "a%",
    "a%b",
    "a*",
    "a?",
    "it's",
    'say "so"',
    "a;b",
    "#",
    "~",
    "$HOME",
    "-rf",
    "[a]",
)
MORE_NAMES = (".hidden", "node_modules", "ünï", "日本", "🦜", "n" * 255)


class Refusal(NamedTuple):
    name: str
    call: Callable[[Change], object]
    error: type[StoreError] | tuple[type[StoreError], ...]


# Of a store with the files `file` and `dir/inner`.
READ_REFUSALS = [
    Refusal("read nothing", lambda store: store.read(("none",)), NotFound),
    Refusal("read in nothing", lambda store: store.read(("none", "x")), NotFound),
    Refusal("read below a file", lambda store: store.read(("file", "x")), NotFound),
    Refusal("read a directory", lambda store: store.read(("dir",)), IsDirectory),
    Refusal("read the root", lambda store: store.read(()), IsDirectory),
    Refusal("list nothing", lambda store: list(store.entries(("none",))), NotFound),
    Refusal("list in nothing", lambda store: list(store.entries(("none", "x"))), NotFound),
    Refusal("list a file", lambda store: list(store.entries(("file",))), NotADirectory),
    Refusal("list below a file", lambda store: list(store.entries(("file", "x"))), (NotFound, NotADirectory)),
]
CHANGE_REFUSALS = [
    Refusal("write over a directory", lambda change: change.write(("dir",), b"x"), NotAFile),
    Refusal("write over the root", lambda change: change.write((), b"x"), NotAFile),
    Refusal("write below a file", lambda change: change.write(("file", "x", "y"), b"x"), NotADirectory),
    Refusal("remove nothing", lambda change: change.remove(("none",)), NotFound),
    Refusal("remove in nothing", lambda change: change.remove(("none", "x")), NotFound),
    Refusal("remove below a file", lambda change: change.remove(("file", "x")), NotFound),
    Refusal("move nothing", lambda change: change.move(("none",), ("new", "x")), NotFound),
    Refusal("move in nothing", lambda change: change.move(("none", "x"), ("new", "x")), NotFound),
    Refusal("move to a file", lambda change: change.move(("dir", "inner"), ("file",)), Occupied),
    Refusal("move to a directory", lambda change: change.move(("file",), ("dir",)), Occupied),
    Refusal("move to itself", lambda change: change.move(("file",), ("file",)), Occupied),
    Refusal("move into itself", lambda change: change.move(("dir",), ("dir", "inside")), NotADirectory),
    Refusal("move below a file", lambda change: change.move(("dir",), ("file", "x")), NotADirectory),
]


class Stop(BaseException):
    """Ends a change in the middle, as an interrupt does."""


class FilesContract(StoreTests):
    def test_a_new_tenant_has_an_empty_directory(self, store: MemoryStore) -> None:
        assert contents(store) == {(): None}
        assert store.find(("a",)) is None
        root = store.find(())
        assert root and root.path == () and root.is_directory

    @pytest.mark.parametrize(
        "data",
        [b"", b"text\n", b"\0", bytes(range(256)), b"\r\n\xff", b"x" * 900_000],
        ids=["empty", "text", "nul", "all bytes", "not utf-8", "large"],
    )
    def test_a_file_holds_any_bytes(self, data: bytes, tenant: Tenant) -> None:
        store = tenant.store()
        with store.change() as change:
            change.write(("d", "f"), data)
            assert change.read(("d", "f")) == data
        for reader in (store, tenant.store()):
            assert reader.read(("d", "f")) == data
            assert reader.find(("d", "f")) == Entry(("d", "f"), len(data))

    def test_each_name_is_a_file_of_its_own(self, store: MemoryStore) -> None:
        names = [*ODD_NAMES, *MORE_NAMES]
        with store.change() as change:
            for name in names:
                change.write((name, "inner"), name.encode())
        expected = {(name, "inner"): name.encode() for name in names}
        assert {path: data for path, data in contents(store).items() if data is not None} == expected
        for name in names:
            with store.change() as change:
                change.move((name,), ("moved",))
                change.remove(("moved",))
            del expected[(name, "inner")]
            assert {path: data for path, data in contents(store).items() if data is not None} == expected

    @pytest.mark.parametrize("name", ["n" * 256, "ü" * 128, "n" * 5_000])
    def test_a_long_name_is_kept_whole_or_refused(self, name: str, store: MemoryStore) -> None:
        try:
            fill(store, **{name: "x"})
        except NameTooLong:
            assert contents(store) == {(): None}
        else:
            assert contents(store) == {(): None, (name,): b"x"}

    @pytest.mark.parametrize("refusal", READ_REFUSALS, ids=lambda refusal: refusal.name)
    def test_what_cannot_be_read_is_an_error(self, refusal: Refusal, store: MemoryStore) -> None:
        fill(store, file="file", dir__inner="inner")
        with pytest.raises(refusal.error):
            refusal.call(store)  # type: ignore[arg-type]  # these calls only read
        with pytest.raises(refusal.error), store.change() as change:
            refusal.call(change)

    @pytest.mark.parametrize("refusal", CHANGE_REFUSALS, ids=lambda refusal: refusal.name)
    def test_what_cannot_be_done_leaves_nothing(self, refusal: Refusal, store: MemoryStore) -> None:
        fill(store, file="file", dir__inner="inner")
        before = contents(store)
        with pytest.raises(refusal.error), store.change() as change:
            change.write(("dir", "inner"), b"changed")
            change.write(("new", "deep", "file"), b"new")
            change.remove(("file",))
            change.write(("file",), b"again")
            refusal.call(change)
        assert contents(store) == before
        fill(store, dir__inner="goes on")

    def test_an_error_names_its_path(self, store: MemoryStore) -> None:
        for path in (("none",), ("no", "such")):
            with pytest.raises(NotFound) as caught:
                store.read(path)
            assert caught.value.path == path

    def test_a_directory_stays_when_its_last_file_goes(self, store: MemoryStore) -> None:
        fill(store, a__b__c="x", a__d="x")
        with store.change() as change:
            change.remove(("a", "b", "c"))
            change.move(("a", "d"), ("e",))
        assert contents(store) == {(): None, ("a",): None, ("a", "b"): None, ("e",): b"x"}

    def test_the_root_stays_when_all_below_it_goes(self, store: MemoryStore) -> None:
        fill(store, a__b="x", c="x")
        with store.change() as change:
            change.remove(())
        assert contents(store) == {(): None}
        with store.change() as change:
            change.remove(())
        fill(store, a="x")

    @pytest.mark.parametrize("error", [ValueError, NotFound, KeyboardInterrupt, GeneratorExit])
    def test_an_exception_in_a_change_takes_it_back(
        self, error: type[BaseException], store: MemoryStore
    ) -> None:
        fill(store, file="file", dir__inner="inner")
        before = contents(store)
        with pytest.raises(error), store.change() as change:
            change.move(("dir",), ("moved",))
            change.write(("file",), b"changed")
            change.write(("dir", "new"), b"new")
            change.remove(("moved", "inner"))
            raise error
        assert contents(store) == before
        fill(store, file="goes on")

    def test_a_change_of_nothing_is_one(self, store: MemoryStore) -> None:
        with store.change() as change:
            assert contents(change) == {(): None}
        assert contents(store) == {(): None}

    def test_any_changes_give_what_a_dictionary_gives(self, make_store: MakeStore) -> None:
        @settings(max_examples=self.examples, deadline=None)
        @given(changes=CHANGES)
        def check(changes: Sequence[tuple[Sequence[Step], bool]]) -> None:
            model = Model(max_file_bytes=8, max_files=4, max_total_bytes=20)
            tenant = new_tenant(make_store)
            store = tenant.store(**model.limits)
            for steps, stops in changes:
                model = _changed(store, model, steps, stops)
                assert contents(store) == model.held
            assert contents(tenant.store()) == model.held

        check()

    def test_entries_come_in_the_order_of_the_paths(self, store: MemoryStore) -> None:
        paths = [
            (*parents, name) for parents in ((), ("a",), ("a-b",), ("a", "b")) for name in ("x", "b-", "é")
        ]
        with store.change() as change:
            for path in reversed(paths):
                change.write(path, b"data")
            assert _paths(change, None) == sorted(contents(change))
        everything = sorted({path[:depth] for path in paths for depth in range(3)} | set(paths))
        assert _paths(store, None) == everything
        assert [entry.size for entry in store.entries() if not entry.is_directory] == [4] * len(paths)
        for top in ((), ("a",), ("a", "b"), ("a-b",)):
            for depth in (1, 2, 3, None):
                levels = 9 if depth is None else depth
                expected = [
                    path for path in everything if path[: len(top)] == top and len(path) <= len(top) + levels
                ]
                assert [entry.path for entry in store.entries(top, depth)] == expected, (top, depth)

    def test_many_files_are_listed_whole(self, store: MemoryStore) -> None:
        paths = sorted((f"d{number % 7}", f"file-{number:04}") for number in range(1_500))
        with store.change() as change:
            for path in paths:
                change.write(path, b"x")
        listed = list(store.entries())
        assert [entry.path for entry in listed if not entry.is_directory] == paths
        assert len(listed) == 1 + 7 + len(paths)
        with store.change() as change:
            change.remove(("d3",))
        assert len(list(store.entries())) == 1 + 6 + sum(path[0] != "d3" for path in paths)

    def test_what_a_change_took_away_it_may_make_anew(self, store: MemoryStore) -> None:
        fill(store, a="x", d__b="y")
        with store.change() as change:
            before = {path: change.read(path) for path in (("a",), ("d", "b"))}
            change.remove(("a",))
            change.move(("d",), ("e",))
            for path, data in before.items():
                change.write(path, data * 2)
        assert files(store) == {("a",): b"xx", ("d", "b"): b"yy", ("e", "b"): b"y"}

    def test_a_listing_may_be_left_early(self, store: MemoryStore) -> None:
        fill(store, a="x", b="x")
        assert next(iter(store.entries())).path == ()
        fill(store, c="x")
        assert len(list(store.entries())) == 4

    def test_what_is_written_twice_is_taken_back_too(self, store: MemoryStore) -> None:
        fill(store, file="file")
        with pytest.raises(ZeroDivisionError), store.change() as change:
            for data in (b"one", b"two"):
                change.write(("file",), data)
            raise ZeroDivisionError
        assert files(store) == {("file",): b"file"}


def _paths(reader: Reader, depth: int | None) -> list[tuple[str, ...]]:
    return [entry.path for entry in reader.entries((), depth)]


def _changed(store: MemoryStore, model: Model, steps: Sequence[Step], stops: bool) -> Model:
    """The model after a change of these steps, which is stopped by its first refusal or at its end."""
    after = model.copy()
    try:
        with store.change() as change:
            for step in steps:
                refusals = after.refusals(step)
                try:
                    carry_out(change, step)
                except StoreError as error:
                    assert type(error) in refusals, (step, error)
                    raise Stop from error
                assert not refusals, (step, refusals)
                after.apply(step)
            assert contents(change) == after.held
            if stops:
                raise Stop
    except Stop:
        return model
    return after
