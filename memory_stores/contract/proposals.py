"""What is proposed: a person's approval makes it so, of that alone and of nothing that others have done meanwhile."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory_stores.contract.harness import M, MakeStore, Tenant, fill, new_tenant
from memory_stores.contract.harness import files as files_of
from memory_stores.contract.recording import (
    COMMANDS,
    NAMES,
    Command,
    RecordingTests,
    create,
    delete,
    described,
    recorder,
    right_before_a_change,
    run,
)
from memory_stores.history import Answer
from memory_stores.proposals import ProposalError, digest_of
from memory_stores.protocol import MemoryStore, parts, spelled
from memory_tool import MemoryToolHandler

PR, LOOK = "review of PR 17", "look at it again"
Step: TypeAlias = tuple[str, Any]

_EACH = COMMANDS.filter(bool).map(lambda commands: commands[0])
STEPS: st.SearchStrategy[list[Step]] = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["memory", "session"]), _EACH),
        st.tuples(st.just("session"), _EACH),
        st.tuples(st.just("approve"), st.none() | st.lists(NAMES, min_size=1, max_size=3)),
        st.tuples(st.just("reject"), st.none()),
    ),
    max_size=12,
)


def proposing(tenant: Tenant, name: str = PR) -> MemoryToolHandler:
    """A session that proposes, as another program would start it."""
    return MemoryToolHandler(store=tenant.store(), proposal=name)


def write(handler: MemoryToolHandler, name: str, text: str) -> None:
    answer = handler.execute(command="create", path=f"{M}/{name}", file_text=text)
    assert "success" in answer, answer


def remove(handler: MemoryToolHandler, name: str) -> None:
    answer = handler.execute(command="delete", path=f"{M}/{name}")
    assert "success" in answer, answer


def files(handler: MemoryToolHandler) -> dict[str, str]:
    return {"/".join(path): data.decode() for path, data in files_of(handler.store).items()}


def waiting(handler: MemoryToolHandler) -> list[str]:
    """The paths that wait for approval."""
    return [path.removeprefix(f"{M}/") for proposal in handler.proposals.list() for path in proposal.paths]


def look(handler: MemoryToolHandler) -> str:
    """Look at what waits, and say what that was. Raises ProposalError."""
    return digest_of(handler.proposals.diff(PR))


def approve(handler: MemoryToolHandler, paths: Sequence[str] | None = None) -> Answer:
    """Look at what waits, and approve it or some of its files."""
    try:
        seen = look(handler)
    except ProposalError as error:
        return {"error": str(error)}
    return handler.proposals.approve(PR, paths, seen=seen, by="Ada")


def right_after_a_change(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, others: Callable[[], None]
) -> None:
    """Let others do something as soon as the next change of this store is kept."""
    change = type(store).change

    @contextlib.contextmanager
    def changed(self: MemoryStore) -> Iterator[object]:
        with change(self) as opened:
            yield opened
        if self is store:
            monkeypatch.setattr(type(store), "change", change)
            others()

    monkeypatch.setattr(type(store), "change", changed)


class ProposalsContract(RecordingTests):
    approvals = 5
    """How often what a session proposes is approved while it goes on with it."""

    @pytest.fixture
    def session(self, recording: MemoryToolHandler, tenant: Tenant) -> MemoryToolHandler:
        return proposing(tenant)

    def test_an_approval_changes_what_is_proposed_and_a_session_is_blind_to_nothing_else(
        self, make_store: MakeStore
    ) -> None:
        """Whatever others do to the memory meanwhile."""

        @settings(max_examples=self.examples * 2, deadline=None)
        @given(steps=STEPS)
        def check(steps: Sequence[Step]) -> None:
            tenant = new_tenant(make_store)
            memory, session = recorder(tenant), proposing(tenant)
            for step in [*steps, ("approve", None)]:
                _do(memory, session, step)
                proposed, held, seen = waiting(memory), files(memory), files(session)
                assert not any(_is_above(one, other) for one in seen for other in seen)
                for path in {*held, *seen} - {*proposed}:
                    if not any(_is_above(own, path) or _is_above(path, own) for own in {*proposed} & {*seen}):
                        assert held.get(path) == seen.get(path), path

        check()

    def test_a_directory_in_the_place_of_a_file_to_delete_stays(
        self, recording: MemoryToolHandler, session: MemoryToolHandler
    ) -> None:
        create(recording, "x", "to go\n")
        remove(session, "x")
        delete(recording, "x")
        create(recording, "x/important.md", "somebody else's\n")
        assert files(session) == {"x/important.md": "somebody else's\n"}
        assert "success" in approve(recording)
        assert files(recording) == {"x/important.md": "somebody else's\n"}
        assert waiting(recording) == []

    def test_a_file_in_the_place_of_one_whose_deletion_was_approved_is_seen(
        self, recording: MemoryToolHandler, session: MemoryToolHandler
    ) -> None:
        create(recording, "y", "to go\n")
        remove(session, "y")
        write(session, "z", "proposed\n")
        assert "success" in approve(recording, [f"{M}/y"])
        create(recording, "y", "somebody else's\n")
        assert files(session) == {"y": "somebody else's\n", "z": "proposed\n"}
        remove(session, "y")
        create(recording, "y", "somebody else's again\n")
        write(session, "y", "the session's\n")
        assert "changed since" in approve(recording)["error"]
        assert files(recording) == {"y": "somebody else's again\n"}

    def test_a_file_in_a_directory_that_a_session_deleted_is_seen(
        self, recording: MemoryToolHandler, session: MemoryToolHandler
    ) -> None:
        create(recording, "d/a", "to go\n")
        remove(session, "d")
        assert recording.store.find(("d",)) and session.store.find(("d",)) is None
        create(recording, "d/b", "somebody else's\n")
        assert files(session) == {"d/b": "somebody else's\n"}
        assert f"{M}/d/b" in session.execute(command="view", path=M)["success"]
        assert "success" in approve(recording)
        assert files(recording) == files(session) == {"d/b": "somebody else's\n"}

    def test_a_session_that_deletes_an_empty_directory_leaves_nothing_that_a_later_one_is_blind_to(
        self, recording: MemoryToolHandler, session: MemoryToolHandler, tenant: Tenant
    ) -> None:
        create(recording, "d/a", "to go\n")
        delete(recording, "d/a")
        remove(session, "d")
        assert session.store.find(("d",)) is None
        assert recording.proposals.list() == []
        create(recording, "d/b", "somebody else's\n")
        later = proposing(tenant)
        assert files(later) == {"d/b": "somebody else's\n"}
        write(later, "d/b", "the session's\n")
        create(recording, "d/b", "changed\n")
        assert "changed since" in approve(recording)["error"]
        assert "success" in recording.proposals.reject(PR)

    def test_what_a_session_left_without_a_file_ends_as_a_proposal_does(
        self, recording: MemoryToolHandler, session: MemoryToolHandler, tenant: Tenant
    ) -> None:
        for end in (
            lambda: recording.proposals.reject(PR),
            lambda: MemoryToolHandler(store=tenant.store(), keep=timedelta(0)).proposals.list(),
        ):
            write(recording, "d/a", "to go\n")
            remove(recording, "d/a")
            remove(session, "d")
            assert session.store.find(("d",)) is None
            end()
            assert session.store.find(("d",)) is not None
        remove(session, "d")
        before = datetime.now(UTC)
        write(session, "a", "proposed\n")
        (proposal,) = recording.proposals.list()
        assert proposal.created_at >= before, "it began with its first file"

    def test_the_text_of_a_file_in_the_place_of_one_whose_deletion_was_approved_goes_on_waiting(
        self, recording: MemoryToolHandler, session: MemoryToolHandler
    ) -> None:
        create(recording, "y", "to go\n")
        remove(session, "y")
        write(session, "y/inner", "proposed\n")
        assert "success" in approve(recording, [f"{M}/y"])
        assert files(session) == {"y/inner": "proposed\n"}
        assert "success" in approve(recording)
        assert files(recording) == {"y/inner": "proposed\n"}

    def test_what_a_proposal_holds_cannot_be_redacted(
        self, recording: MemoryToolHandler, session: MemoryToolHandler
    ) -> None:
        create(recording, "a", "secret\n")
        version = recording.history.versions()[0].id
        assert "success" in session.execute(command="rename", old_path=f"{M}/a", new_path=f"{M}/z")
        delete(recording, "a")
        assert repr(PR) in recording.history.redact(version)["error"]
        assert recording.history.content(version) == b"secret\n"
        assert "success" in recording.proposals.reject(PR)
        assert "success" in recording.history.redact(version)

    @pytest.mark.parametrize("name", ["two\nlines", "a\x1b[2J", "\u2028"])
    def test_a_name_that_would_show_as_something_else_is_no_name(self, tenant: Tenant, name: str) -> None:
        with pytest.raises(ValueError, match="printable"):
            proposing(tenant, name)

    def test_what_nobody_has_looked_at_is_not_approved(
        self, recording: MemoryToolHandler, session: MemoryToolHandler
    ) -> None:
        write(session, "a", "harmless\n")
        write(session, "b", "harmless\n")
        for name, text in (("a", "poison\n"), ("c", "poison\n"), ("b", None)):
            seen = look(recording)
            remove(session, name) if text is None else write(session, name, text)
            for paths in (None, [f"{M}/a"]):
                assert LOOK in recording.proposals.approve(PR, paths, seen=seen, by="Ada")["error"]
            assert files(recording) == {} and recording.history.versions() == []
        assert "success" in approve(recording, [f"{M}/a"])
        assert files(recording) == {"a": "poison\n"} and waiting(recording) == ["c"]

    def test_what_is_rejected_during_an_approval_is_not_approved(
        self,
        recording: MemoryToolHandler,
        session: MemoryToolHandler,
        tenant: Tenant,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        write(session, "x", "poison\n")
        other, said = recorder(tenant), list[Answer]()
        right_before_a_change(recording.store, monkeypatch, lambda: said.append(other.proposals.reject(PR)))
        assert "no proposal" in approve(recording)["error"]
        assert said == [{"success": f"Rejected {PR}"}]
        assert files(recording) == {} and recording.history.versions() == []

    def test_a_rejection_says_what_an_approval_has_put_into_the_memory(
        self,
        recording: MemoryToolHandler,
        session: MemoryToolHandler,
        tenant: Tenant,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        write(session, "x", "poison\n")
        write(session, "y", "poison\n")
        other, said = recorder(tenant), list[Answer]()
        right_after_a_change(recording.store, monkeypatch, lambda: said.append(other.proposals.reject(PR)))
        assert approve(recording, [f"{M}/x"]) == {"success": f"{M}/x"}
        assert said[0]["success"].startswith(f"Rejected {PR}, but ")
        assert f"{M}/x" in said[0]["success"] and f"{M}/y" not in said[0]["success"]
        assert files(recording) == {"x": "poison\n"} and waiting(recording) == []

    def test_nobody_is_told_that_what_is_in_the_memory_was_rejected(
        self, recording: MemoryToolHandler, session: MemoryToolHandler, tenant: Tenant
    ) -> None:
        """In a race of threads."""
        other = recorder(tenant)
        with ThreadPoolExecutor(2) as pool:
            for number in range(self.approvals * 4):
                names = [f"{number}-{letter}" for letter in "abcdef"]
                for name in names:
                    write(session, name, "poison\n")
                seen = look(recording)
                approval = pool.submit(recording.proposals.approve, PR, seen=seen, by="Ada")
                time.sleep(number * 0.0005)
                rejected = pool.submit(other.proposals.reject, PR).result().get("success", "")
                approved, held = "success" in approval.result(), files(recording)
                assert all((name in held) == approved for name in names)
                assert not (approved and rejected) or all(f"{M}/{name}" in rejected for name in names)

    def test_what_two_approve_at_once_is_recorded_once(
        self,
        recording: MemoryToolHandler,
        session: MemoryToolHandler,
        tenant: Tenant,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        create(recording, "gone", "before\n")
        remove(session, "gone")
        write(session, "x", "proposed\n")
        other, seen, answers = recorder(tenant), look(recording), list[Answer]()

        def approve_too() -> None:
            answers.append(other.proposals.approve(PR, seen=seen, by="Eve"))

        right_after_a_change(recording.store, monkeypatch, approve_too)
        answers.append(recording.proposals.approve(PR, seen=seen, by="Ada"))
        assert answers == [{"success": f"{M}/gone\n{M}/x"}] * 2
        made = recording.history.versions()[1:]
        assert sorted(described(made)) == [("created", "x"), ("deleted", "gone")]
        assert {version.created_by for version in made} == {"Ada"}

    @pytest.mark.parametrize("later", ["another text\n", None])
    def test_what_a_session_writes_during_an_approval_goes_on_waiting(
        self,
        later: str | None,
        recording: MemoryToolHandler,
        session: MemoryToolHandler,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        create(recording, "x", "before\n")
        write(session, "x", "approved\n")
        write(session, "y", "approved too\n")

        def meanwhile() -> None:
            remove(session, "x") if later is None else write(session, "x", later)

        right_after_a_change(recording.store, monkeypatch, meanwhile)
        assert "success" in approve(recording)
        assert files(recording) == {"x": "approved\n", "y": "approved too\n"}
        assert waiting(recording) == ["x"]
        (file,) = recording.proposals.diff(PR)
        assert (file.before, file.after) == ("approved\n", later)
        assert approve(recording) == {"success": f"{M}/x"}
        assert files(recording) == {"y": "approved too\n"} | ({} if later is None else {"x": later})

    def test_a_file_that_is_proposed_anew_during_the_approval_of_its_deletion_goes_on_waiting(
        self, recording: MemoryToolHandler, session: MemoryToolHandler, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        create(recording, "x", "before\n")
        remove(session, "x")
        right_after_a_change(recording.store, monkeypatch, lambda: write(session, "x", "anew\n"))
        assert "success" in approve(recording)
        assert files(recording) == {} and files(session) == {"x": "anew\n"}
        assert approve(recording) == {"success": f"{M}/x"}
        assert files(recording) == {"x": "anew\n"}

    def test_no_edit_of_a_session_is_lost_while_others_are_approved(
        self, recording: MemoryToolHandler, tenant: Tenant
    ) -> None:
        """In a race of threads: each edit adds a line, and all of them arrive."""
        session, answers, done = proposing(tenant), list[dict[str, str]](), threading.Event()
        lines = list[str]()

        def edit() -> None:
            try:
                write(session, "log", "")
                while len(lines) < 10 or sum("success" in answer for answer in answers) < self.approvals:
                    lines.insert(0, f"{len(lines)}\n")
                    insertion = {"path": f"{M}/log", "insert_line": 0, "insert_text": lines[0]}
                    assert "success" in session.execute(command="insert", **insertion)
                    time.sleep(0.002)  # who waits for a lock need not be the next to have it
            finally:
                done.set()

        editor = threading.Thread(target=edit)
        editor.start()
        while not done.is_set() or waiting(recording):
            answers.append(approve(recording))
        editor.join()
        errors = {answer["error"] for answer in answers if "error" in answer and LOOK not in answer["error"]}
        assert errors <= {f"There is no proposal {PR!r}."}
        assert files(recording) == {"log": "".join(lines)}

    def test_a_path_that_is_named_twice_is_approved_once(
        self, recording: MemoryToolHandler, session: MemoryToolHandler
    ) -> None:
        create(recording, "x", "before\n")
        write(session, "x", "after\n")
        assert approve(recording, [f"{M}/x"] * 2) == {"success": f"{M}/x"}
        assert described(recording.history.versions()) == [("created", "x"), ("modified", "x")]
        assert recording.history.undo(recording.history.versions()[-1].id) == {"success": f"{M}/x"}
        assert files(recording) == {"x": "before\n"}

    def test_the_times_of_an_approval_rise_with_its_versions(
        self, recording: MemoryToolHandler, session: MemoryToolHandler, tenant: Tenant
    ) -> None:
        fill(tenant.store(), a="theirs\n", b="theirs\n")
        write(session, "a", "mine\n")
        write(session, "b", "mine\n")
        assert "success" in approve(recording)
        versions = recording.history.versions()
        assert [version.created_by for version in versions] == [None, None, "Ada", "Ada"]
        for one, other in itertools.pairwise(versions):
            same = one.change_id == other.change_id
            assert one.created_at == other.created_at if same else one.created_at < other.created_at

    def test_below_a_file_that_a_session_puts_in_the_place_of_a_directory_it_sees_nothing(
        self, recording: MemoryToolHandler, session: MemoryToolHandler
    ) -> None:
        write(recording, "d/a", "to go\n")
        remove(session, "d")
        write(session, "d", "a file\n")
        write(recording, "d/b", "somebody else's\n")
        assert files(session) == {"d": "a file\n"}
        assert "error" in session.execute(command="view", path=f"{M}/d/b")


def _is_above(one: str, other: str) -> bool:
    """Whether no file can be at both: a directory at one."""
    return other.startswith(f"{one}/")


def _do(memory: MemoryToolHandler, session: MemoryToolHandler, step: Step) -> None:
    who, what = step
    if who in ("memory", "session"):
        command: Command = what
        run(memory if who == "memory" else session, command)
        return
    if who == "reject":
        memory.proposals.reject(PR)
        return
    paths = None if what is None else [f"{M}/{name}" for name in what]
    before, proposed = files(memory), waiting(memory)
    answer = approve(memory, paths)
    after = files(memory)
    changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    approved = set[str]()
    if "success" in answer:
        approved = {spelled(parts(path)).removeprefix(f"{M}/") for path in answer["success"].split("\n")}
    assert changed <= approved <= {*proposed}
