"""What a history records, and what is known of each version."""

from __future__ import annotations

import itertools
import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection

import pytest

from memory_stores.contract.harness import M, MakeStore, Tenant, answer_of, contents, files, fill, process
from memory_stores.contract.kills import kill_at_some_moment
from memory_stores.contract.races import WORKERS, edit, edit_and_tell
from memory_stores.contract.recording import (
    Command,
    RecordingTests,
    by_spelling,
    create,
    delete,
    described,
    digest,
    recorder,
    rename,
    replayed,
    run,
    versioned,
)
from memory_stores.history import HistoryError, RecordedChange
from memory_stores.protocol import MemoryStore, NotKept
from memory_tool import MemoryToolHandler


def history_until_killed(connection: Connection, tenant: Tenant) -> None:
    """Changes of one file and of several, on record, for ever."""
    handler = recorder(tenant)
    for turn in itertools.count():
        for change in (
            lambda turn: create(handler, "d/one", f"one {turn}\n" * 500),
            lambda turn: create(handler, "d/two", f"two {turn}\n"),
            lambda turn: rename(handler, "d", f"e{turn}"),
            lambda turn: create(handler, f"e{turn}/one", f"changed {turn}\n"),
            lambda turn: delete(handler, f"e{turn}"),
        ):
            connection.send(turn)
            change(turn)


class VersionsContract(RecordingTests):
    history_kills = 50
    """How many writers are killed while they record."""

    def test_each_command_makes_the_versions_of_its_files(self, recording: MemoryToolHandler) -> None:
        seen = list[str]()

        def made(command: Command) -> list[tuple[str, str]]:
            assert "success" in run(recording, command)
            new = [version for version in recording.history.versions() if version.id not in seen]
            seen.extend(version.id for version in new)
            assert len({version.change_id for version in new}) <= 1
            assert len({version.created_at for version in new}) <= 1
            return sorted(described(new))

        file = f"{M}/d/a"
        assert made({"command": "create", "path": file, "file_text": "one\n"}) == [("created", "d/a")]
        assert made({"command": "create", "path": file, "file_text": "two\n"}) == [("modified", "d/a")]
        edits = (
            {"command": "str_replace", "path": file, "old_str": "two", "new_str": "2"},
            {"command": "insert", "path": file, "insert_line": 0, "insert_text": "0"},
        )
        for edit_command in edits:
            assert made(edit_command) == [("modified", "d/a")]
        assert made({"command": "create", "path": f"{M}/d/b", "file_text": ""}) == [("created", "d/b")]
        assert made({"command": "view", "path": file}) == []
        renamed = {"command": "rename", "old_path": f"{M}/d", "new_path": f"{M}/e/f"}
        assert made(renamed) == [
            ("created", "e/f/a"),
            ("created", "e/f/b"),
            ("deleted", "d/a"),
            ("deleted", "d/b"),
        ]
        assert made({"command": "delete", "path": f"{M}/e"}) == [("deleted", "e/f/a"), ("deleted", "e/f/b")]
        create(recording, "a", "x")
        create(recording, "g/b", "x")
        seen.extend(version.id for version in recording.history.versions())
        assert made({"command": "clear"}) == [("deleted", "a"), ("deleted", "g/b")]

    def test_a_version_says_what_and_who_and_when(self, tenant: Tenant) -> None:
        before = datetime.now(UTC) - timedelta(seconds=5)
        create(recorder(tenant, "review of PR 17"), "d/a", "é\n")
        create(recorder(tenant, True), "d/a", "two\n")
        delete(recorder(tenant, "someone"), "d/a")
        one, two, three = recorder(tenant).history.versions()
        assert (one.path, one.operation, one.size) == (f"{M}/d/a", "created", 3)
        assert one.content_sha256 == digest("é\n".encode())
        assert (three.operation, three.size, three.content_sha256) == ("deleted", None, None)
        assert one.created_by == "review of PR 17" and three.created_by == "someone"
        assert two.created_by is not None
        assert before < one.created_at < two.created_at < three.created_at < before + timedelta(minutes=5)
        assert one.created_at.utcoffset() == timedelta(0)
        assert not any(version.redacted for version in (one, two, three))
        assert len({version.id for version in (one, two, three)}) == 3
        assert len({version.change_id for version in (one, two, three)}) == 3

    def test_versions_are_found_by_path_change_and_time(self, tenant: Tenant, store: MemoryStore) -> None:
        handler = recorder(tenant)
        create(handler, "a", "1")
        create(handler, "a_b", "2")
        create(handler, "d/a", "3")
        rename(handler, "d", "a-b")
        everything = handler.history.versions()
        found = versioned(store)
        assert list(found.versions()) == everything
        for version in everything:
            assert found.version(version.id) == version
            path = tuple(version.path.split("/")[2:])
            assert list(found.versions(path)) == [other for other in everything if other.path == version.path]
            assert list(found.versions(change_id=version.change_id)) == [
                other for other in everything if other.change_id == version.change_id
            ]
            assert list(found.versions(after=version.created_at)) == [
                other for other in everything if other.created_at > version.created_at
            ]
        assert handler.history.versions(f"{M}/none") == [] == handler.history.versions(f"{M}/d")
        assert found.version("none") is None
        with pytest.raises(NotKept):
            found.content("none")

    def test_content_is_what_the_file_held_after_the_version(self, recording: MemoryToolHandler) -> None:
        texts = ["one\n", "two\n", "one\n", "", "x" * 100_000]
        versions = [create(recording, "a", text) for text in texts]
        rename(recording, "a", "b")
        gone = delete(recording, "b")
        for _ in range(2):
            assert [recording.history.content(version.id) for version in versions] == [
                text.encode() for text in texts
            ]
            assert recording.history.content(gone.id) is None
            recording.clear_all_memory()

    def test_content_can_be_had_while_another_writer_is_at_work(self, tenant: Tenant) -> None:
        handler, other = recorder(tenant), recorder(tenant)
        old = [create(handler, name, f"{name}\n") for name in ("a", "d/b", "e")]
        with versioned(handler.store).change() as change, RecordedChange(change, "writer") as recorded:
            recorded.write(("a",), b"new\n")
            recorded.move(("d",), ("f",))
            recorded.remove(("e",))
            assert [other.history.content(version.id) for version in old] == [b"a\n", b"d/b\n", b"e\n"]
            assert other.history.versions() == old
        assert [other.history.content(version.id) for version in old] == [b"a\n", b"d/b\n", b"e\n"]

    def test_what_is_not_done_makes_no_version(self, recording: MemoryToolHandler) -> None:
        create(recording, "a", "one\n")
        before = recording.history.versions()
        for command in (
            {"command": "create", "path": f"{M}/a/b", "file_text": "x"},
            {"command": "create", "path": f"{M}/b", "file_text": "x" * 2_000_000},
            {"command": "str_replace", "path": f"{M}/a", "old_str": "two", "new_str": "x"},
            {"command": "rename", "old_path": f"{M}/a", "new_path": f"{M}/a"},
            {"command": "delete", "path": f"{M}/none"},
        ):
            assert "error" in recording.execute(command)
        with pytest.raises(ZeroDivisionError), versioned(recording.store).change() as change:
            change.write(("a",), b"two\n")
            change.record(("a",), "modified", "writer")
            raise ZeroDivisionError
        assert recording.history.versions() == before
        assert files(recording.store) == {("a",): b"one\n"}

    def test_without_history_nothing_is_recorded_and_all_can_be_read(self, tenant: Tenant) -> None:
        version = create(recorder(tenant), "a", "one\n")
        plain = MemoryToolHandler(store=tenant.store())
        assert "success" in plain.execute(command="create", path=f"{M}/b", file_text="x")
        assert plain.history.versions() == [version]
        assert plain.history.content(version.id) == b"one\n"
        assert "success" in plain.history.undo(version.id)
        assert files(tenant.store()) == {("b",): b"x"} and plain.history.versions() == [version]

    def test_a_history_begins_with_what_was_there(self, tenant: Tenant) -> None:
        fill(tenant.store(), a="old a\n", d__b="old b\n", d__c="old c\n")
        handler = recorder(tenant)
        create(handler, "a", "new a\n")
        delete(handler, "d")
        met = [version for version in handler.history.versions() if version.created_by is None]
        assert sorted(described(met)) == [("created", "a"), ("created", "d/b"), ("created", "d/c")]
        assert [handler.history.content(version.id) for version in met[:1]] == [b"old a\n"]
        own = {version.change_id for version in handler.history.versions() if version.created_by}
        assert len(own) == 2 and not own & {version.change_id for version in met}
        for version in reversed(handler.history.versions()):
            if version.created_by == "writer" and version.change_id in own:
                own.remove(version.change_id)
                assert "success" in handler.history.undo(version.id)
        assert files(handler.store) == {
            ("a",): b"old a\n",
            ("d", "b"): b"old b\n",
            ("d", "c"): b"old c\n",
        }

    def test_a_history_meets_what_others_wrote_meanwhile(self, tenant: Tenant) -> None:
        handler = recorder(tenant)
        create(handler, "a", "one\n")
        create(handler, "b", "one\n")
        fill(tenant.store(), a="two\n")
        with tenant.store().change() as change:
            change.remove(("b",))
        create(handler, "a", "three\n")
        create(handler, "b", "three\n")
        seen = [(version.operation, version.created_by) for version in handler.history.versions(f"{M}/a")]
        assert seen == [("created", "writer"), ("modified", None), ("modified", "writer")]
        seen = [(version.operation, version.created_by) for version in handler.history.versions(f"{M}/b")]
        assert seen == [("created", "writer"), ("deleted", None), ("created", "writer")]
        assert replayed(handler) == by_spelling(files(handler.store))

    def test_what_others_wrote_comes_before_a_change_of_several_files(self, tenant: Tenant) -> None:
        fill(tenant.store(), a="theirs\n", b="theirs\n")
        handler = recorder(tenant)
        with handler.history.change() as change:
            for name in "ab":
                change.write((name,), b"mine\n")
        versions = handler.history.versions()
        assert [version.created_by for version in versions] == [None, None, "writer", "writer"]
        one, other, mine, mine_too = (version.created_at for version in versions)
        assert one < other < mine == mine_too

    def test_versions_are_no_files(self, tenant: Tenant) -> None:
        store = tenant.store(max_files=1, max_total_bytes=10)
        handler = MemoryToolHandler(store=store, history=True)
        for number in range(5):
            create(handler, "a", f"{number}" * 10)
        assert contents(store) == {(): None, ("a",): b"4" * 10}
        assert f"{M}/" not in handler.execute(command="view", path=M)["success"].replace(f"{M}/a", "")

    def test_another_tenant_s_versions_are_unknown(self, tenant: Tenant, make_store: MakeStore) -> None:
        handler = recorder(tenant)
        version = create(handler, "a", "one\n")
        gone = delete(handler, "a")
        other = recorder(Tenant(make_store, (f"{tenant.scope[0]}-corp",)))
        create(other, "a", "mine\n")
        mine = other.history.versions()
        for identity in (version.id, gone.id):
            for answer in (other.history.undo(identity), other.history.redact(identity)):
                assert "error" in answer and "one" not in answer["error"]
            with pytest.raises(HistoryError):
                other.history.content(identity)
            with pytest.raises(NotKept):
                versioned(other.store).content(identity)
            with pytest.raises(NotKept), versioned(other.store).change() as change:
                change.put_back(("b",), identity)
            assert versioned(other.store).version(identity) is None
        assert list(versioned(other.store).versions(change_id=version.change_id)) == []
        assert other.history.versions() == mine and files(other.store) == {("a",): b"mine\n"}
        assert handler.history.content(version.id) == b"one\n"
        assert "success" in other.history.restore(mine[0].created_at - timedelta(days=1))
        assert handler.history.versions() == [version, gone]

    @pytest.mark.parametrize("workers", ["threads", "processes"])
    def test_each_of_many_edits_has_its_version(self, workers: str, tenant: Tenant) -> None:
        handler, edits = recorder(tenant), 10
        create(handler, "log", "start\nend\n")
        if workers == "threads":
            with ThreadPoolExecutor(WORKERS) as pool:
                jobs = [pool.submit(edit, handler, worker, edits) for worker in range(WORKERS)]
            assert [job.result() for job in jobs] == [None] * WORKERS
        else:
            with ExitStack() as stack:
                editors = [
                    stack.enter_context(process(edit_and_tell, tenant, worker, edits, history=True))
                    for worker in range(WORKERS)
                ]
                assert [answer_of(connection) for _, connection in editors] == ["done"] * WORKERS
        versions = handler.history.versions()
        assert len(versions) == 1 + WORKERS * edits
        texts = [handler.history.content(version.id) or b"" for version in versions]
        lines = [set(text.split()) for text in texts]
        assert all(one < other and len(other - one) == 1 for one, other in itertools.pairwise(lines))
        assert all(one.created_at < other.created_at for one, other in itertools.pairwise(versions))
        assert texts[-1] == handler.store.read(("log",))

    def test_killed_at_any_moment_versions_and_files_agree(self, tenant: Tenant) -> None:
        seed, seen = random.Random(11), 0
        for number in range(self.history_kills):
            with process(history_until_killed, tenant) as (writer, connection):
                kill_at_some_moment(writer, connection, seed)
            handler = recorder(tenant)
            if number % 2:
                create(handler, "after", f"works {number}\n")
            assert replayed(handler) == by_spelling(files(handler.store))
            versions = handler.history.versions()
            for _, change in itertools.groupby(versions, key=lambda version: version.change_id):
                kinds = [version.operation for version in change]
                assert kinds in (
                    ["created"],
                    ["modified"],
                    ["deleted"] * len(kinds),
                    ["deleted"] * 2 + ["created"] * 2,
                )
            seen += len(versions)
            for path in [("d",), *(entry.path for entry in handler.store.entries((), 1) if entry.path)]:
                if handler.store.find(path):
                    delete(handler, "/".join(path))
            versioned(handler.store).erase()
        assert seen > self.history_kills
