"""What a session proposes reaches the memory only through a person."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from memory_stores import FileStore
from memory_stores.contract.proposals import PR, approve
from memory_stores.proposals import Draft, ProposalError, digest_of
from memory_stores.protocol import StoreError
from memory_tool import MemoryToolHandler

M = "/memories"


def run(handler: MemoryToolHandler, command: str, **params: object) -> str:
    answer = handler.execute(command=command, **params)
    assert "success" in answer, answer
    return answer["success"]


def create(handler: MemoryToolHandler, name: str, text: str) -> None:
    run(handler, "create", path=f"{M}/{name}", file_text=text)


def notes(handler: MemoryToolHandler) -> dict[str, bytes]:
    files = [entry.path for entry in handler.store.entries() if not entry.is_directory]
    return {"/".join(path): handler.store.read(path) for path in files}


@pytest.fixture
def memory(tmp_path: Path) -> MemoryToolHandler:
    memory = MemoryToolHandler(tmp_path, history=True)
    create(memory, "a.md", "one\ntwo\n")
    create(memory, "d/b.md", "three\n")
    return memory


@pytest.fixture
def session(memory: MemoryToolHandler) -> MemoryToolHandler:
    return MemoryToolHandler(store=memory.store, history=True, proposal=PR)


def test_a_session_reads_what_it_writes_and_nobody_else_does(memory, session) -> None:
    before = notes(memory)
    run(session, "str_replace", path=f"{M}/a.md", old_str="two", new_str="2")
    run(session, "delete", path=f"{M}/d")
    create(session, "new/c.md", "four\n")
    run(session, "rename", old_path=f"{M}/new/c.md", new_path=f"{M}/d.md")
    assert notes(session) == {"a.md": b"one\n2\n", "d.md": b"four\n"}
    assert notes(memory) == before
    assert "proposal" not in run(memory, "view", path=M) and f"{M}/d.md" in run(session, "view", path=M)
    assert len(memory.history.versions()) == 2
    again = MemoryToolHandler(store=memory.store, proposal=PR)
    assert notes(again) == notes(session)
    assert notes(MemoryToolHandler(store=memory.store, proposal="another")) == before


def test_a_session_reads_through_to_what_others_write(memory, session) -> None:
    create(session, "mine.md", "x")
    create(memory, "later.md", "seen")
    assert "seen" in run(session, "view", path=f"{M}/later.md")


def test_approval_is_one_change_by_who_made_it_and_can_be_undone(memory, session) -> None:
    before = notes(memory)
    run(session, "str_replace", path=f"{M}/a.md", old_str="two", new_str="2")
    run(session, "delete", path=f"{M}/d")
    create(session, "c.md", "four\n")
    assert [proposal.name for proposal in memory.proposals.list()] == [PR]
    answer = approve(memory)
    assert answer == {"success": f"{M}/a.md\n{M}/c.md\n{M}/d/b.md"}
    assert notes(memory) == {"a.md": b"one\n2\n", "c.md": b"four\n"}
    made = memory.history.versions()[2:]
    assert {version.created_by for version in made} == {"Ada"} and len(
        {version.change_id for version in made}
    ) == 1
    assert list(memory.proposals.list()) == []
    assert "success" in memory.history.undo(made[0].id)
    assert notes(memory) == before


def test_some_files_can_be_approved_and_the_rest_rejected(memory, session) -> None:
    create(session, "good.md", "good\n")
    create(session, "bad.md", "bad\n")
    assert "success" in approve(memory, [f"{M}/good.md"])
    assert memory.proposals.list()[0].paths == (f"{M}/bad.md",)
    assert "success" in memory.proposals.reject(PR)
    assert "good.md" in notes(memory) and "bad.md" not in notes(memory)
    assert "no proposal" in memory.proposals.reject(PR)["error"]
    assert "no proposal" in memory.proposals.approve("nothing", seen="", by="Ada")["error"]


def test_a_note_that_changed_meanwhile_is_not_overwritten(memory, session) -> None:
    run(session, "str_replace", path=f"{M}/a.md", old_str="two", new_str="2 of the session")
    create(session, "c.md", "new\n")
    run(memory, "str_replace", path=f"{M}/a.md", old_str="two", new_str="2 of another")
    before = notes(memory)
    error = approve(memory)["error"]
    assert "changed since" in error and "2 of another" in error and "2 of the session" in error
    assert notes(memory) == before, "the whole approval is refused"
    assert "success" in approve(memory, [f"{M}/c.md"])


def test_the_diff_shows_each_file_with_marks_and_what_was_read(memory) -> None:
    def no_zebra(path: str, text: str) -> str | None:
        return "it has a zebra" if "zebra" in text else None

    session = MemoryToolHandler(store=memory.store, proposal=PR)
    session.proposals.note_source("src/app.py")
    run(session, "str_replace", path=f"{M}/a.md", old_str="two", new_str="a zebra\n2")
    session.proposals.note_source("src/other.py")
    run(session, "delete", path=f"{M}/d/b.md")
    viewer = MemoryToolHandler(store=memory.store, screens=[no_zebra])
    changed, deleted = viewer.proposals.diff(PR)
    assert "+a zebra\n+2\n" in changed.diff and changed.diff.startswith(f"--- {M}/a.md")
    assert [(mark.line, mark.reason) for mark in changed.marks] == [(2, "it has a zebra")]
    assert changed.sources == ("src/app.py",) and deleted.sources == ("src/app.py", "src/other.py")
    assert (deleted.before, deleted.after) == ("three\n", None)
    with pytest.raises(ProposalError, match="no proposal"):
        viewer.proposals.diff("nothing")


def test_proposals_of_one_tenant_do_not_exist_for_another(tmp_path: Path) -> None:
    a, b = (MemoryToolHandler(tmp_path, scope=(name,), proposal=PR) for name in ("acme", "acme-corp"))
    create(a, "x.md", "of a")
    assert list(b.proposals.list()) == [] and notes(b) == {}
    assert "no proposal" in b.proposals.approve(PR, seen=digest_of(a.proposals.diff(PR)), by="Eve")["error"]


def test_limits_are_those_of_the_memory(tmp_path: Path) -> None:
    limits = {"max_files": 2, "max_file_bytes": 10, "max_total_bytes": 15}
    create(MemoryToolHandler(tmp_path), "a", "x" * 10)
    session = MemoryToolHandler(tmp_path, proposal=PR, **limits)
    write = lambda name, size: session.execute(command="create", path=f"{M}/{name}", file_text="y" * size)  # noqa: E731
    assert "past 10 bytes" in write("b", 11)["error"]
    assert "would grow past 2 files" in write("b", 6)["error"]
    assert "success" in write("b", 5)
    assert "would grow past 2 files" in write("c", 0)["error"]
    assert "success" in write("a", 1) and "success" in write("b", 10)


def test_proposals_end_after_a_time_or_past_a_size(memory, session) -> None:
    create(session, "c.md", "x" * 100)
    newer = MemoryToolHandler(store=memory.store, proposal="newer")
    create(newer, "d.md", "x" * 100)
    assert len(MemoryToolHandler(store=memory.store, keep=timedelta(days=1)).proposals.list()) == 2
    (left,) = MemoryToolHandler(store=memory.store, keep=150).proposals.list()
    assert left.name == "newer"
    assert list(MemoryToolHandler(store=memory.store, keep=timedelta(0)).proposals.list()) == []


def _write_and_die(base: Path) -> None:
    handler = MemoryToolHandler(base, proposal=PR)
    create(handler, "kept.md", "written before the kill\n")
    with handler._change() as change:  # what a kill in the middle of a change leaves
        change.write(("torn.md",), b"never finished")
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX; CI runs Linux and macOS")
def test_a_proposal_that_a_killed_process_left_can_be_approved(memory, tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    writer = context.Process(target=_write_and_die, args=(tmp_path,))
    writer.start()
    writer.join()
    assert writer.exitcode == -signal.SIGKILL
    assert memory.proposals.list()[0].paths == (f"{M}/kept.md",)
    assert "success" in approve(memory)
    assert notes(memory)["kept.md"] == b"written before the kill\n" and "torn.md" not in notes(memory)


@pytest.mark.skipif(sys.platform == "win32", reason="hard links as POSIX has them; CI runs Linux and macOS")
def test_a_file_that_must_not_be_read_is_neither_deleted_nor_proposed_to_be(
    memory, session, tmp_path: Path
) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("canary", encoding="utf-8")
    run(session, "delete", path=f"{M}/a.md")
    run(memory, "delete", path=f"{M}/a.md")
    for name in ("a.md", "link.md"):
        os.link(outside, memory.memory_root / name)
    assert "hard link" in approve(memory)["error"]
    assert "hard link" in session.execute(command="delete", path=f"{M}/link.md")["error"]
    assert [file.before for file in memory.proposals.diff(PR)] == [None]
    assert outside.stat().st_nlink == 3 and f"{M}/link.md" in run(session, "view", path=M)


def test_a_store_that_cannot_hold_proposals_says_so() -> None:
    class Plain:
        find = read = entries = change = None

    with pytest.raises(TypeError, match="takes no proposals"):
        MemoryToolHandler(store=Plain(), proposal=PR)  # type: ignore[arg-type]  # too little on purpose
    assert list(MemoryToolHandler(store=Plain()).proposals.list()) == []  # type: ignore[arg-type]  # as above


def test_erase_takes_proposals_too(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "base")
    create(MemoryToolHandler(store=store, proposal=PR), "a.md", "secret words")
    store.erase()
    assert not (tmp_path / "base").exists()


NAMES = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(tuple)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), NAMES, st.binary(max_size=3)),
        st.tuples(st.just("remove"), NAMES),
        st.tuples(st.just("move"), NAMES, NAMES),
    ),
    max_size=12,
)


EMPTY_DIRECTORY_MOVED = [
    ("write", ("b", "c", "b"), b""),
    ("move", ("b", "c"), ("c", "b")),
    ("remove", ("c", "b", "b")),
    ("write", ("c", "a"), b""),
    ("move", ("c",), ("b", "a")),
]


@example(before=[], proposed=EMPTY_DIRECTORY_MOVED)
@settings(max_examples=60, deadline=None)
@given(before=STEPS, proposed=STEPS)
def test_a_draft_is_what_the_memory_would_be(
    before, proposed, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The oracle is the store itself: the same steps without a proposal. Approval makes the two equal."""
    base = tmp_path_factory.mktemp("draft")
    memory, plain = MemoryToolHandler(base / "memory", history=True), FileStore(base / "plain")
    draft = Draft(memory.store, PR)  # type: ignore[arg-type]  # a FileStore
    for store in (memory.store, plain):
        for step in before:
            _outcome(store.change, step)
    for step in proposed:
        assert _outcome(draft.change, step) == _outcome(plain.change, step), step
        assert _seen(draft) == _seen(plain)
    if memory.proposals.list():
        assert "success" in approve(memory)
    assert _seen(memory.store, files_only=True) == _seen(plain, files_only=True)


def _outcome(change: Callable, step: tuple) -> str:
    name, *arguments = step
    if name == "move" and arguments[1][: len(arguments[0])] == arguments[0]:
        return "the handler refuses a move into itself"
    try:
        with change() as opened:
            getattr(opened, name)(*arguments)
    except StoreError as error:
        return type(error).__name__
    return "done"


def _seen(store, files_only: bool = False) -> list:
    entries = list(store.entries())[1:]
    return [
        (entry.path, entry.is_directory or store.read(entry.path))
        for entry in entries
        if not (files_only and entry.is_directory)
    ]


def test_what_changes_under_an_edit_is_not_approved_over(memory) -> None:
    """Where a proposal has a lock of its own, another session can write between the edit's read and its write."""

    def meanwhile(path: str, text: str) -> None:
        create(memory, "a.md", "of another\n")

    session = MemoryToolHandler(store=memory.store, proposal=PR, screens=[meanwhile])
    run(session, "str_replace", path=f"{M}/a.md", old_str="two", new_str="2 of the session")
    assert "changed since" in approve(memory)["error"]
    assert notes(memory)["a.md"] == b"of another\n"
