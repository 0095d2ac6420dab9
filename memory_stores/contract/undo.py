"""The ways back: undo of a change, restore of a moment."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st

from memory_stores.contract.harness import MakeStore, Tenant, contents, files, fill, new_tenant
from memory_stores.contract.recording import (
    COMMANDS,
    Command,
    RecordingTests,
    create,
    delete,
    moments,
    recorder,
    rename,
)
from memory_stores.protocol import Change, Path
from memory_tool import MemoryToolHandler

Step: TypeAlias = tuple[Path, Path | bytes | None]
"""A path, and what becomes of it: a text, another place, or nothing."""

_PATHS = st.sampled_from([("a",), ("b",), ("d",), ("d", "a"), ("d", "e", "a")])
STEPS = st.lists(st.tuples(_PATHS, _PATHS | st.sampled_from([b"", b"x", b"y"]) | st.none()), max_size=6)


def take(change: Change, steps: Sequence[Step]) -> None:
    """Take those of the steps that can be taken."""
    for path, becomes in steps:
        found = change.find(path)
        if isinstance(becomes, bytes):
            if _is_free(change, path) or (found and not found.is_directory):
                change.write(path, becomes)
        elif found and becomes is None:
            change.remove(path)
        elif found and becomes and _is_free(change, becomes) and becomes[: len(path)] != path:
            change.move(path, becomes)


def _is_free(change: Change, path: Path) -> bool:
    above = [change.find(path[:depth]) for depth in range(1, len(path))]
    return change.find(path) is None and all(entry is None or entry.is_directory for entry in above)


class UndoContract(RecordingTests):
    def test_undoing_every_change_gives_the_files_before_each(self, make_store: MakeStore) -> None:
        @settings(max_examples=self.examples // 2, deadline=None)
        @given(first=COMMANDS, then=COMMANDS)
        def check(first: Sequence[Command], then: Sequence[Command]) -> None:
            tenant = new_tenant(make_store)
            passed = moments(tenant, first, then)
            handler = recorder(tenant)
            last = {version.change_id: version.id for version in handler.history.versions()}
            for before, moment in reversed(list(itertools.pairwise(passed))):
                if moment.change_id is not None:
                    answer = handler.history.undo(last[moment.change_id])
                    assert "success" in answer, answer
                assert files(handler.store) == before.files

        check()

    def test_restoring_any_moment_gives_its_files(self, make_store: MakeStore) -> None:
        @settings(max_examples=self.examples // 2, deadline=None)
        @given(first=COMMANDS, then=COMMANDS, order=st.randoms(use_true_random=False))
        def check(first: Sequence[Command], then: Sequence[Command], order: random.Random) -> None:
            tenant = new_tenant(make_store)
            passed = moments(tenant, first, then)
            handler = recorder(tenant)
            for moment in order.sample(passed, min(4, len(passed))):
                answer = handler.history.restore(moment.time)
                assert "success" in answer, answer
                assert files(handler.store) == moment.files

        check()

    def test_an_undo_is_of_the_whole_change_and_can_be_undone(self, recording: MemoryToolHandler) -> None:
        for name in ("d/a", "d/b", "d/e/c"):
            create(recording, name, f"{name}\n")
        before = files(recording.store)
        rename(recording, "d", "f")
        after = files(recording.store)
        for number in range(6):
            versions = recording.history.versions()[-6:]
            assert len({version.change_id for version in versions}) == 1
            assert {version.created_by for version in versions} == {"writer"}
            answer = recording.history.undo(versions[number].id)
            assert sorted(answer["success"].split("\n")) == sorted(version.path for version in versions)
            assert files(recording.store) == (after if number % 2 else before)

    def test_a_change_of_many_steps_has_one_version_a_path_and_can_be_undone(
        self, make_store: MakeStore
    ) -> None:
        """Whatever it did to a path in between, and whatever others had done there before."""

        @settings(max_examples=self.examples, deadline=None)
        @given(known=STEPS, unknown=STEPS, steps=STEPS)
        def check(known: Sequence[Step], unknown: Sequence[Step], steps: Sequence[Step]) -> None:
            tenant = new_tenant(make_store)
            handler = recorder(tenant)
            with handler.history.change() as change:
                take(change, known)
            with tenant.store().change() as change:
                take(change, unknown)
            before, met = files(handler.store), handler.history.versions()
            with handler.history.change() as change:
                take(change, steps)
            new = handler.history.versions()[len(met) :]
            made = [version for version in new if version.created_by is not None]
            assert new[len(new) - len(made) :] == made, "what others wrote comes first"
            assert len({version.path for version in made}) == len(made)
            times = [version.created_at for version in new if version.created_by is None]
            times += sorted({version.created_at for version in made})
            assert times == sorted(set(times)) and len({version.created_at for version in made}) <= 1
            if made:
                assert "success" in handler.history.undo(made[0].id)
                assert files(handler.store) == before

        check()

    def test_what_others_removed_does_not_come_back_with_an_undo(
        self, recording: MemoryToolHandler, tenant: Tenant
    ) -> None:
        create(recording, "a", "one\n")
        create(recording, "b", "two\n")
        with tenant.store().change() as change:
            change.remove(("b",))
        rename(recording, "a", "b")
        assert "success" in recording.history.undo(recording.history.versions()[-1].id)
        assert files(recording.store) == {("a",): b"one\n"}

    def test_an_undo_is_refused_when_a_path_has_changed_since(
        self, recording: MemoryToolHandler, tenant: Tenant
    ) -> None:
        create(recording, "d/a", "one\n")
        create(recording, "d/b", "one\n")
        gone = delete(recording, "d")
        create(recording, "d/b", "two\n")
        before, versions = files(recording.store), recording.history.versions()
        assert "changed since" in recording.history.undo(gone.id)["error"]
        fill(tenant.store(), d__b="three\n")
        assert "changed since" in recording.history.undo(versions[-1].id)["error"]
        assert files(recording.store) == {**before, ("d", "b"): b"three\n"}
        assert recording.history.versions() == versions

    def test_a_restore_to_the_moment_of_a_version_includes_it(self, recording: MemoryToolHandler) -> None:
        first = create(recording, "a", "one\n")
        second = create(recording, "a", "two\n")
        create(recording, "a", "three\n")
        assert "success" in recording.history.restore(second.created_at)
        assert files(recording.store) == {("a",): b"two\n"}
        assert "success" in recording.history.restore(second.created_at - timedelta(microseconds=1))
        assert files(recording.store) == {("a",): b"one\n"}
        assert "success" in recording.history.restore(first.created_at - timedelta(microseconds=1))
        assert files(recording.store) == {}
        count = len(recording.history.versions())
        assert "success" in recording.history.restore(datetime.now(UTC) + timedelta(days=1))
        assert len(recording.history.versions()) == count

    def test_a_restore_past_a_limit_does_nothing(self, tenant: Tenant) -> None:
        handler = recorder(tenant)
        for name in "abc":
            create(handler, name, name * 30)
        then = handler.history.versions()[-1].created_at
        for name in "abc":
            delete(handler, name)
        create(handler, "d/new", "new")
        fill(tenant.store(), other="x" * 20)
        before, versions = contents(handler.store), handler.history.versions()
        for limits in ({"max_total_bytes": 100}, {"max_files": 3}, {"max_file_bytes": 29}):
            limited = MemoryToolHandler(store=tenant.store(**limits), history=True)
            assert "error" in limited.history.restore(then), limits
            assert contents(limited.store) == before
            assert limited.history.versions() == versions
        assert "success" in handler.history.restore(then)
        assert files(handler.store) == {
            ("other",): b"x" * 20,
            **{(name,): name.encode() * 30 for name in "abc"},
        }

    def test_other_paths_stay_as_they_are(self, recording: MemoryToolHandler, tenant: Tenant) -> None:
        version = create(recording, "d/a", "one\n")
        fill(tenant.store(), d__theirs="theirs")
        assert "success" in recording.history.undo(version.id)
        assert contents(recording.store) == {(): None, ("d",): None, ("d", "theirs"): b"theirs"}
