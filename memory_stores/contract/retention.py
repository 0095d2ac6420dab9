"""What goes from a history: redacted, pruned, erased."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory_stores.contract.harness import M, MakeStore, Tenant, contents, files, fill, new_tenant
from memory_stores.contract.recording import (
    COMMANDS,
    Command,
    RecordingTests,
    create,
    delete,
    described,
    moments,
    recorder,
    rename,
    right_before_a_change,
    run,
    versioned,
)
from memory_stores.history import HistoryError
from memory_stores.protocol import MemoryStore, NotKept, Version
from memory_tool import MemoryToolHandler


class RetentionContract(RecordingTests):
    def test_redacted_content_is_gone_and_that_it_was_stays(
        self, recording: MemoryToolHandler, store: MemoryStore, make_store: MakeStore, tenant: Tenant
    ) -> None:
        secret, other = create(recording, "a", "secret\n"), create(recording, "b", "secret\n")
        create(recording, "a", "two\n")
        again, last = create(recording, "a", "secret\n"), create(recording, "a", "three\n")
        delete(recording, "b")
        of_others = recorder(Tenant(make_store, (f"{tenant.scope[0]}-corp",)))
        theirs = create(of_others, "a", "secret\n")
        then = recording.history.versions()
        assert "success" in recording.history.redact(secret.id)
        expected = [
            version._replace(content_sha256=None, size=None, redacted=True)
            if version.id in (secret.id, other.id, again.id)
            else version
            for version in then
        ]
        assert recording.history.versions() == expected
        for version in (secret, other, again):
            with pytest.raises(HistoryError):
                recording.history.content(version.id)
            with pytest.raises(NotKept):
                versioned(store).content(version.id)
        assert recording.history.content(last.id) == b"three\n"
        assert of_others.history.versions() == [theirs]
        assert of_others.history.content(theirs.id) == b"secret\n"

    def test_what_the_memory_holds_under_another_name_cannot_be_redacted(
        self, recording: MemoryToolHandler
    ) -> None:
        secret = create(recording, "d/a", "secret\n")
        rename(recording, "d/a", "e/b")
        then = recording.history.versions()
        assert f"{M}/e/b " in recording.history.redact(secret.id)["error"]
        assert recording.history.versions() == then
        delete(recording, "e/b")
        assert "success" in recording.history.redact(secret.id)
        left = [version for version in recording.history.versions() if version.content_sha256]
        assert left == []

    def test_what_others_have_redacted_or_pruned_meanwhile_is_not_redacted_again(
        self, recording: MemoryToolHandler, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other = recorder(tenant)
        secret = create(recording, "a", "secret\n")
        create(recording, "a", "two\n")
        right_before_a_change(recording.store, monkeypatch, lambda: other.history.redact(secret.id))
        assert "was redacted already" in recording.history.redact(secret.id)["error"]

        two = recording.history.versions()[-1]
        delete(recording, "a")

        def prune() -> None:
            with versioned(other.store).change() as change:
                change.prune(0)

        right_before_a_change(recording.store, monkeypatch, prune)
        assert f"no version {two.id}" in recording.history.redact(two.id)["error"]
        assert "success" in run(recording, {"command": "create", "path": f"{M}/b", "file_text": "works\n"})

    def test_a_store_redacts_nothing_of_what_has_no_content(
        self, recording: MemoryToolHandler, store: MemoryStore
    ) -> None:
        create(recording, "a", "one\n")
        gone = delete(recording, "a")
        then = recording.history.versions()
        with versioned(store).change() as change:
            change.redact(gone.id)
            change.redact("none")
        assert recording.history.versions() == then

    def test_a_reader_in_the_middle_of_the_history_holds_up_no_redaction(
        self, recording: MemoryToolHandler, store: MemoryStore
    ) -> None:
        secret = create(recording, "a", "secret\n")
        two = create(recording, "a", "two\n")
        reader = versioned(store).versions()
        next(reader)
        began = time.monotonic()
        assert "success" in recording.history.redact(secret.id)
        assert time.monotonic() - began < 5
        assert list(reader) == [two]

    def test_what_needs_redacted_content_is_refused(self, recording: MemoryToolHandler) -> None:
        secret = create(recording, "a", "secret\n")
        gone = delete(recording, "a")
        create(recording, "b", "new\n")
        assert "success" in recording.history.redact(secret.id)
        versions = recording.history.versions()
        for answer in (
            recording.history.undo(gone.id),
            recording.history.undo(secret.id),
            recording.history.restore(secret.created_at),
        ):
            assert "error" in answer
            assert files(recording.store) == {("b",): b"new\n"}
            assert recording.history.versions() == versions
        assert "success" in recording.history.restore(gone.created_at)
        assert files(recording.store) == {}

    def test_what_is_live_or_has_no_content_cannot_be_redacted(self, recording: MemoryToolHandler) -> None:
        first = create(recording, "a", "one\n")
        create(recording, "a", "two\n")
        live = create(recording, "a", "one\n")
        for version in (first, live):
            assert "error" in recording.history.redact(version.id)
        gone = delete(recording, "a")
        assert "error" in recording.history.redact(gone.id)
        assert "error" in recording.history.redact("none")
        assert not any(version.redacted for version in recording.history.versions())
        assert "success" in recording.history.redact(live.id)
        assert "error" in recording.history.redact(live.id)

    def test_a_history_may_be_kept_for_a_size(self, tenant: Tenant) -> None:
        handler = recorder(tenant, keep=100)
        versions = [create(handler, "a", f"{number}" * 30) for number in range(6)]
        kept = handler.history.versions()
        assert kept == versions[-3:]
        _check_pruned(handler, versions[:-3], kept)

    def test_a_history_may_be_kept_for_a_time(self, tenant: Tenant) -> None:
        handler = recorder(tenant, keep=timedelta(seconds=0.3))
        gone = [create(handler, "a", "one"), create(handler, "b", "two")]
        time.sleep(0.35)
        kept = [create(handler, "a", "three")]
        assert handler.history.versions() == kept
        _check_pruned(handler, gone, kept)
        assert files(handler.store) == {("a",): b"three", ("b",): b"two"}

    def test_changes_are_pruned_whole(self, tenant: Tenant) -> None:
        handler = recorder(tenant)
        for name in ("d/a", "d/b", "d/c"):
            create(handler, name, "x" * 10)
        rename(handler, "d", "e")
        everything = handler.history.versions()
        with versioned(handler.store).change() as change:
            change.prune(30)
        assert handler.history.versions() == everything[3:]
        with versioned(handler.store).change() as change:
            change.prune(29)
        assert handler.history.versions() == []
        assert len(files(handler.store)) == 3

    def test_a_change_that_met_what_others_wrote_is_pruned_whole(self, tenant: Tenant) -> None:
        fill(tenant.store(), a="theirs", b="theirs")
        handler = recorder(tenant)
        with handler.history.change() as change:
            for name in "ab":
                change.write((name,), b"mine")
        made = handler.history.versions()[2:]
        for keep, left in ((10, made), (7, [])):
            with versioned(handler.store).change() as versions:
                versions.prune(keep)
            assert handler.history.versions() == left

    def test_what_is_kept_long_enough_loses_nothing(self, tenant: Tenant) -> None:
        store = tenant.store()
        for keep in (timedelta(days=1), 1_000_000):
            handler = MemoryToolHandler(store=store, history=True, keep=keep)
            create(handler, "a", "one\n")
        assert len(handler.history.versions()) == 2
        assert versioned(store).history_begins() is None

    def test_restoring_a_pruned_history_gives_what_was_or_nothing(self, make_store: MakeStore) -> None:
        @settings(max_examples=self.examples // 2, deadline=None)
        @given(first=COMMANDS, then=COMMANDS, keep=st.integers(0, 12), which=st.integers(0, 20))
        def check(first: Sequence[Command], then: Sequence[Command], keep: int, which: int) -> None:
            tenant = new_tenant(make_store)
            passed = moments(tenant, first, then)
            handler = recorder(tenant)
            with versioned(handler.store).change() as change:
                change.prune(keep)
            moment = passed[which % len(passed)]
            answer = handler.history.restore(moment.time)
            expected = moment if "success" in answer else passed[-1]
            assert files(handler.store) == expected.files, answer

        check()

    def test_an_erased_tenant_leaves_nothing(self, tenant: Tenant, make_store: MakeStore) -> None:
        other = recorder(Tenant(make_store, (f"{tenant.scope[0]}-corp",)))
        kept = create(other, "a", "theirs\n")
        handler = recorder(tenant)
        version = create(handler, "d/a", "one\n")
        create(handler, "d/a", "two\n")
        versioned(handler.store).erase()
        anew = recorder(tenant)
        assert contents(anew.store) == {(): None} and anew.history.versions() == []
        assert versioned(anew.store).history_begins() is None
        assert "error" in anew.history.undo(version.id)
        create(anew, "a", "new\n")
        assert described(anew.history.versions()) == [("created", "a")]
        assert other.history.versions() == [kept] and other.history.content(kept.id) == b"theirs\n"

    def test_a_version_that_was_pruned_is_not_taken_for_none(self, tenant: Tenant) -> None:
        """Else an undo of the one after it, or a restore, would delete a file that was always there."""
        handler = recorder(tenant)
        create(handler, "a", "one\n")
        other, oldest = create(handler, "b", "x"), create(handler, "a", "two\n")
        with versioned(handler.store).change() as change:
            change.prune(5)
        assert handler.history.versions() == [other, oldest]
        for answer in (handler.history.undo(oldest.id), handler.history.restore(other.created_at)):
            assert "not on record any more" in answer["error"]
        assert files(handler.store) == {("a",): b"two\n", ("b",): b"x"}


def _check_pruned(handler: MemoryToolHandler, gone: Sequence[Version], kept: Sequence[Version]) -> None:
    """Of what is gone nothing can be had, and whoever asks is told when the history begins."""
    begins = versioned(handler.store).history_begins()
    assert begins == kept[0].created_at
    before = files(handler.store)
    for version in gone:
        with pytest.raises(HistoryError):
            handler.history.content(version.id)
        for answer in (handler.history.undo(version.id), handler.history.redact(version.id)):
            assert begins.isoformat() in answer["error"]
        assert begins.isoformat() in handler.history.restore(version.created_at)["error"]
    assert files(handler.store) == before
    assert all(handler.history.content(version.id) is not None for version in kept)
