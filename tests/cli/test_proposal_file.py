"""A proposal that comes as a file: what is approved is what the file says, or nothing is."""

import json
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from proposing import LESSON, NOTE, learns, proposal, remember
from scripted_reviewer import scripted

from memory_demo.assistant import guarded_memory
from memory_demo.code_review_demo import main
from memory_demo.memory_view import read_notes
from memory_demo.proposal_file import read_proposal, taken_in, write_proposal
from memory_demo.report_github import SUMMARY_BYTES
from memory_stores.proposals import digest_of

NAME = "PR 17"
NOTES = {"/memories/a.md": "one\n", "/memories/d/x.md": "two\n"}


@pytest.fixture
def base(tmp_path):
    for path, text in NOTES.items():
        remember(tmp_path / "base", path, text)
    return tmp_path / "base"


@pytest.fixture
def approve(base, tmp_path, capsys):
    """Approve a document, or bytes; the exit code and what was said."""

    def approve(document, *arguments, name=NAME):
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        (tmp_path / "file.json").write_bytes(data)
        given = ("--memory", str(base), "memory", "approve", name, *arguments, "--as", "Ada")
        code = main([*given, "--from", str(tmp_path / "file.json")])
        said = capsys.readouterr()
        return code, said.out + said.err

    return approve


def notes(base):
    return dict(read_notes(guarded_memory(base).store))


@pytest.mark.parametrize(
    ("change", "after"),
    [
        ({"path": "/memories/new/n.md"}, {**NOTES, "/memories/new/n.md": "New.\n"}),
        ({"path": "/memories/a.md", "before": "one\n"}, {**NOTES, "/memories/a.md": "New.\n"}),
        ({"path": "/memories/a.md", "before": "zero\n", "after": "one\n"}, NOTES),
        (
            {"path": "/memories/a.md", "before": "one\n", "after": None},
            {"/memories/d/x.md": "two\n"},
        ),
    ],
)
def test_a_proposal_is_approved_by_name_in_one_change(base, approve, change, after):
    assert approve(proposal(NAME, **change)) == (0, f"Approved by Ada:\n{change['path']}\n")
    assert notes(base) == after
    assert guarded_memory(base).history.versions(change["path"])[-1].created_by in ("Ada", "")
    assert list(guarded_memory(base).proposals.list()) == []


def test_some_of_its_files_can_be_approved_and_the_rest_is_dropped(base, approve):
    document = proposal(NAME)
    document["files"].append({"path": "/memories/other.md", "before": None, "after": "Other.\n"})
    assert approve(document, "/memories/other.md")[0] == 0
    assert notes(base) == {**NOTES, "/memories/other.md": "Other.\n"}
    assert list(guarded_memory(base).proposals.list()) == []


def test_a_memory_that_is_not_there_is_made(base, approve):
    shutil.rmtree(base)
    assert approve(proposal(NAME))[0] == 0
    assert notes(base) == {"/memories/new.md": "New.\n"}


NO_PROPOSAL = "does not hold a proposal as review --to writes it"


@pytest.mark.parametrize(
    ("document", "told"),
    [
        (b"", NO_PROPOSAL),
        (b"\xff\xfe{}", NO_PROPOSAL),
        (b"[" * 200_000, NO_PROPOSAL),
        (b'{"proposal": "PR 17", "files": [{"path": "\\ud800"', NO_PROPOSAL),
        (json.dumps(proposal(NAME, after="\ud800")).encode(), NO_PROPOSAL),
        (b" " * 20_000_001, "too long for a proposal"),
        ([proposal(NAME)], NO_PROPOSAL),
        ({"proposal": NAME, "files": {"/memories/new.md": "New.\n"}}, NO_PROPOSAL),
        (proposal(NAME, after=["New.\n"]), NO_PROPOSAL),
        (proposal(NAME, path=None), NO_PROPOSAL),
        (proposal("PR 16"), "holds the proposal 'PR 16', not 'PR 17'"),
        ({"proposal": NAME, "files": []}, "There is no proposal 'PR 17'"),
        (proposal(NAME, path="/memories/../../canary"), "may not be stored"),
        (proposal(NAME, path="/memories/..%2f..%2fcanary"), "may not be stored"),
        (proposal(NAME, path="{canary}"), "may not be stored"),
        (proposal(NAME, path="/memories"), "may not be stored"),
        (proposal(NAME, path="/memories", after=None), "There is no proposal 'PR 17'"),
        (proposal(NAME, path="/memories/a.md/b.md"), "may not be stored"),
        (proposal(NAME, after="AKIA" + "Q3EGZ7K2M9XW5RTB\n"), "secret"),
        (proposal(NAME, after="x" * 1_000_001), "may not be stored"),
        (proposal(NAME, path="/memories//new.md"), "changed since it was proposed"),
        (proposal(NAME, path="/memories/a.md"), "changed since it was proposed"),
        (proposal(NAME, path="/memories/a.md", before="zero\n", after=None), "changed since"),
        (proposal(NAME, path="/memories/d"), "changed since it was proposed"),
        (proposal(NAME, path="/memories/d", after=None), "changed since it was proposed"),
        (proposal(NAME, before="gone\n"), "changed since it was proposed"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_is_no_proposal_to_this_memory_changes_nothing(base, approve, tmp_path, document, told):
    if "{canary}" in str(document):
        document["files"][0]["path"] = str(tmp_path / "canary")
    before, versions = notes(base), len(guarded_memory(base).history.versions())
    code, said = approve(document)
    assert code == 2 and told in said
    assert notes(base) == before and len(guarded_memory(base).history.versions()) == versions
    assert list(guarded_memory(base).proposals.list()) == []
    assert not list(tmp_path.rglob("canary*"))


def test_a_proposal_that_waits_in_the_memory_is_not_replaced(base, approve):
    waiting = guarded_memory(base, proposal=NAME)
    waiting.execute(command="create", path="/memories/mine.md", file_text="Mine.\n")
    code, said = approve(proposal(NAME))
    assert code == 2 and "waits in this memory already" in said
    assert [each.paths for each in guarded_memory(base).proposals.list()] == [("/memories/mine.md",)]


def test_a_file_that_cannot_be_read_is_named(base, tmp_path, capsys):
    for place in (tmp_path / "none.json", tmp_path):
        assert main(["memory", "approve", NAME, "--from", str(place), "--memory", str(base)]) == 2
        assert f"{place} cannot be read" in capsys.readouterr().err


PATHS = st.sampled_from(["/memories/a.md", "/memories/d", "/memories/d/x.md", "/memories/d/y/z.md"])
STEPS = st.one_of(
    st.fixed_dictionaries({"command": st.just("create"), "path": PATHS, "file_text": st.text(max_size=4)}),
    st.fixed_dictionaries({"command": st.just("delete"), "path": PATHS}),
    st.fixed_dictionaries({"command": st.just("rename"), "old_path": PATHS, "new_path": PATHS}),
)


@given(st.lists(STEPS, max_size=5))
@settings(max_examples=12, deadline=None)
def test_approved_from_a_file_it_makes_of_a_copy_what_it_makes_of_its_own_memory(steps):
    """The oracle is the approval without a file, which has tests of its own."""
    with tempfile.TemporaryDirectory() as folder:
        ours, copy, file = (Path(folder) / name for name in ("ours", "copy", "file.json"))
        for place in (ours, copy):
            for path, text in NOTES.items():
                remember(place, path, text)
        session = guarded_memory(ours, proposal=NAME)
        for step in steps:
            session.execute(step)
        if not session.proposals.list() or "\ufffd" in str(steps):
            return
        files = session.proposals.diff(NAME)
        looked_at = digest_of(files)
        write_proposal(file, NAME, files)
        with taken_in(read_proposal(file, NAME), guarded_memory(copy, proposal=NAME)) as seen:
            answer = guarded_memory(copy).proposals.approve(NAME, seen=seen)
        assert answer.keys() == session.proposals.approve(NAME, seen=looked_at).keys()
        assert notes(copy) == notes(ours)


def test_only_what_people_could_look_at_is_handed_on(repository, review, serve, tmp_path):
    folder, git = repository
    (folder / "app.py").write_text("n = 0\n", "utf-8")
    git("add", "--all")
    git("commit", "--message", "A start")
    (folder / "app.py").write_text("n = 1\n", "utf-8")
    summary, file = tmp_path / "summary.md", tmp_path / "file.json"
    propose = ("--diff", "--format", "github", "--propose", NAME, "--to", str(file))
    shown = {"GITHUB_STEP_SUMMARY": str(summary)}

    summary.write_bytes(b"x" * (SUMMARY_BYTES - 500))
    done = review(folder, *propose, **serve(learns(NOTE * 2, scripted(lambda read: []))), **shown)
    assert done.code == 2 and "too long for a summary" in done.err
    assert not file.exists() and "Hold a lock" not in summary.read_text("utf-8")

    summary.unlink()
    assert review(folder, *propose, **serve(scripted(lambda read: [])), **shown).code == 0
    assert json.loads(file.read_text("utf-8"))["files"][0]["after"] == NOTE * 2
    assert "Hold a lock" in summary.read_text("utf-8")


def test_bytes_that_are_no_text_are_not_sent_as_text(base, tmp_path, repository, review, serve):
    (base / "memories" / "a.md").write_bytes(b"\xff")
    session = guarded_memory(base, proposal=NAME)
    session.execute(command="rename", old_path="/memories/a.md", new_path="/memories/b.md")
    folder, _ = repository
    (folder / "app.py").write_text("n = 1\n", "utf-8")
    to = ("--propose", NAME, "--to", str(tmp_path / "file.json"), "--memory", str(base))
    done = review(folder, "app.py", *to, **serve(scripted(lambda read: [])))
    assert done.code == 2 and "/memories/b.md may hold bytes that are not text" in done.err
    assert not (tmp_path / "file.json").exists()


def test_a_review_that_proposes_nothing_says_so(review, serve, tmp_path):
    (tmp_path / "app.py").write_text("n = 1\n", "utf-8")
    file = tmp_path / "file.json"
    arguments = ("app.py", "--format", "json", "--propose", NAME, "--to", str(file))
    nothing = review(tmp_path, *arguments, **serve(scripted(lambda read: [])))
    assert nothing.code == 0 and nothing.err.endswith("Nothing was proposed.\n") and not file.exists()
    assert json.loads(nothing.out)["files"]
    something = review(tmp_path, *arguments, **serve(learns(LESSON, scripted(lambda read: []))))
    assert something.code == 0 and file.exists() and "Nothing was proposed" not in something.err


def test_a_file_to_write_to_goes_with_a_proposal(review, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        review(tmp_path, "app.py", "--to", "file.json")
    assert "--to goes with --propose" in capsys.readouterr().err


def test_a_proposal_is_named_by_one_line(review, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        review(tmp_path, "app.py", "--propose", "PR 17\nTo approve what is shown here: ls")
    assert capsys.readouterr().err.splitlines()[-1].endswith("is not one line of printable text")
