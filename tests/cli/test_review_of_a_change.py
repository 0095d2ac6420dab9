"""What a change brings in fails the gate, on whatever line it is; what the base has too does not."""

import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_reviewer import scripted

from memory_demo.code_review_demo import SAMPLE_CODE
from memory_demo.introduced import found_before, untouched
from memory_demo.offline import Reply
from memory_demo.review_report import Finding

SYMPTOMS = {
    "data_processor_v1.py": "There are fewer results than expected, and the count differs between runs.",
    "sql_query_builder.py": "A quote in a name breaks the query.",
    "session_registry.py": "New instances see old entries.",
}


@pytest.fixture
def change(repository):
    """Commits one text of app.py to main, and leaves another in the working tree."""
    folder, git = repository

    def change(before, after, name="app.py"):
        (folder / name).write_text(before, "utf-8")
        git("add", "--all")
        git("commit", "--allow-empty", "--message", "Before")
        (folder / name).write_text(after, "utf-8")
        return folder

    return change


def lines_of(document, key):
    return [finding["line"] for finding in document[key]]


@pytest.mark.parametrize("name", SYMPTOMS)
def test_the_shipped_reviewer_holds_a_change_against_its_base(change, review, name):
    bad = (SAMPLE_CODE / name).read_text("utf-8")
    good = (SAMPLE_CODE / "fixed" / name).read_text("utf-8")
    gate = ("--diff", "main", "--fail-on-findings", "--format", "json", "--symptom", SYMPTOMS[name])
    folder = change(good, bad)
    brought = review(folder, *gate)
    document = json.loads(brought.out)
    assert (brought.code, document["existing"]) == (1, [])
    assert document["findings"]
    change(bad, f'"""Other."""\n\n{bad}\n\nLATER = 1\n')
    kept = review(folder, *gate)
    both = json.loads(kept.out)
    assert (kept.code, both["findings"]) == (0, [])
    assert lines_of(both, "existing") == [line + 2 for line in lines_of(document, "findings")]
    change(bad, good)
    assert review(folder, *gate).code == 0


@pytest.mark.parametrize("name", ["tool", "tool-1.2", "job.cgi", "window.pyw", "LOUD.PY", "plan b", "\u00e9"])
def test_the_shipped_reviewer_reads_python_whatever_its_name_ends_in(change, review, name):
    sample = "sql_query_builder.py"
    folder = change("", "#!/usr/bin/env python3\n" + (SAMPLE_CODE / sample).read_text("utf-8"), name)
    done = review(
        folder, "--diff", "main", "--fail-on-findings", "--format", "json", "--symptom", SYMPTOMS[sample]
    )
    document = json.loads(done.out)
    assert (done.code, document["not_reviewed"]) == (1, [])
    assert {finding["file"] for finding in document["findings"]} == {name}


OLD_UPDATE = """\
import threading

class Counter:
    def __init__(self):
        self.n = 0
        self.lock = threading.Lock()

    def add(self):
        {lock}
            self.n += 1
"""
OLD_FUNCTION = """\
import threading

total = 0

def add():
    global total
    total += 1

def run():
    {call}
"""
OLD_ATTRIBUTE = """\
class Registry:
    entries = []

    def __init__(self):
        {bind}

    def add(self, entry):
        self.entries.append(entry)
"""
OLD_QUERY = """\
def find(db, where):
    return db.execute("SELECT * FROM t WHERE " + where)

def page(db, request):
    return find(db, {where})
"""


@pytest.mark.parametrize(
    ("text", "good", "bad", "line"),
    [
        (OLD_UPDATE, "with self.lock:", "if self:", "self.n += 1"),
        (OLD_FUNCTION, "add()", "threading.Thread(target=add).start()", "total += 1"),
        (OLD_ATTRIBUTE, "self.entries = []", "pass", "self.entries.append(entry)"),
        (OLD_QUERY, '"a = 1"', "request.query", "db.execute"),
    ],
    ids=["a lock goes", "threads run old code", "an attribute is not bound", "a value reaches an old query"],
)
@pytest.mark.parametrize("offline", [True, False])
def test_a_bug_on_a_line_that_the_change_does_not_touch(
    change, review, serve, carry_out_offline, text, good, bad, line, offline
):
    key = next(iter(set(text.split("{")[1].split("}")[:1])))
    before, after = text.format(**{key: good}), text.format(**{key: bad})

    def find(read):
        """Sees the bug where the bad words are, on the line that is in both versions."""
        return [
            {"line": number}
            for code in (text for name, text in read.items() if not name.endswith(".diff"))
            if bad in code
            for number, each in enumerate(code.split("\n"), 1)
            if line in each
        ]

    folder = change(before, after)
    if offline:
        report = carry_out_offline(folder, find)
        assert [line in after.split("\n")[f.line - 1] for f in report.findings] == [True]
        return
    done = review(folder, "--diff", "--fail-on-findings", "--format", "json", **serve(scripted(find)))
    assert done.code == 1
    assert len(json.loads(done.out)["findings"]) == 1


@pytest.fixture
def carry_out_offline(tmp_path, monkeypatch):
    """Review what has changed in a folder with a responder of the test's, as if it were the one that answers offline."""
    from memory_demo.assistant import CodeReviewAssistant
    from memory_demo.console import Reviewer
    from memory_demo.offline import OfflineAPI, client_for
    from memory_demo.review_run import carry_out
    from memory_demo.review_targets import changed_files

    def run(folder, find):
        client = client_for(OfflineAPI(scripted(find)), max_retries=0)
        reviewer = Reviewer("scripted", True, lambda: CodeReviewAssistant(tmp_path / "notes", client=client))
        selection = changed_files("HEAD", folder)
        return carry_out(reviewer, selection, symptom="", base="HEAD", on_file=lambda _: None).report

    return run


def test_live_the_reviewer_gets_the_diff_as_a_file_that_can_be_cleared(change, review, serve):
    seen = {}

    def find(read):
        seen.update(read)
        return []

    folder = change("x = 1\ny = 2\n", "x = 1\ny = 3\n")
    (folder / "new.py").write_text("z = 1\n", "utf-8")
    done = review(folder, "--diff", "--format", "json", **serve(scripted(find)))
    assert done.code == 0
    assert list(seen) == ["app.py.diff", "app.py"]
    assert seen["app.py"].startswith("x = 1\ny = 3\n")
    assert seen["app.py.diff"].startswith("@@ -1,2 +1,2 @@\n x = 1\n-y = 2\n+y = 3\n")


def test_the_reviewer_may_read_the_rest_of_the_repository_to_judge_a_change(
    change, review, repository, serve, tmp_path
):
    folder, git = repository
    (folder / "other.py").write_text("lock = 1\n", "utf-8")
    (folder / "untracked.py").write_text("x = 1\n", "utf-8")
    (tmp_path / "canary.py").write_text("canary = 1\n", "utf-8")
    asked = []

    def respond(prompt):
        asked.append(json.dumps(prompt.messages[-1]))
        if len(asked) > 1:
            return Reply(({"type": "text", "text": "Done."},))
        names = ("app.py", "other.py", "b.py", "untracked.py", "../canary.py")
        return Reply(tuple({"type": "tool_use", "name": "read_source", "input": {"path": n}} for n in names))

    change("x = 1\n", "x = 2\n")
    (folder / "b.py").write_text("second = 1\n", "utf-8")
    git("add", "b.py")
    git("rm", "--cached", "untracked.py")
    review(folder, "--diff", "--format", "json", **serve(respond))
    results = asked[1]
    assert "x = 2" in results and "lock = 1" in results and "second = 1" in results
    assert results.count("There is no file") == 2
    assert "canary = 1" not in results


@pytest.mark.parametrize(("line", "fails"), [(1, False), (2, True)])
def test_live_a_claim_that_the_base_has_it_too_is_believed_where_the_change_does_nothing(
    change, review, serve, line, fails
):
    folder = change("x = 1\ny = 2\n", "x = 1\ny = 3  # old, known, not in this change\n")
    responder = scripted(lambda _: [{"line": line, "existing": True}])
    done = review(folder, "--diff", "--fail-on-findings", "--format", "json", **serve(responder))
    assert done.code == int(fails)
    assert bool(json.loads(done.out)["existing"]) is not fails


def test_a_finding_about_another_file_counts(change, review, serve):
    folder = change("x = 1\n", "x = 2\n")
    responder = scripted(lambda _: [{"line": 700, "file": "else.py", "existing": True}])
    done = review(folder, "--diff", "--fail-on-findings", "--format", "json", **serve(responder))
    assert done.code == 1
    assert lines_of(json.loads(done.out), "findings") == [700]


def test_a_renamed_file_keeps_its_old_bugs_and_a_copied_one_brings_them_in(change, review, repository):
    folder, git = repository
    bad = (SAMPLE_CODE / "sql_query_builder.py").read_text("utf-8")
    change(bad, bad)
    gate = ("--diff", "--fail-on-findings", "--format", "json", "--symptom", SYMPTOMS["sql_query_builder.py"])
    git("mv", "app.py", "moved.py")
    assert review(folder, *gate).code == 0
    git("reset", "--hard")
    shutil.copy(folder / "app.py", folder / "copy.py")
    git("add", "--all")
    done = review(folder, *gate)
    assert done.code == 1
    assert {finding["file"] for finding in json.loads(done.out)["findings"]} == {"copy.py"}


def at(line, category="race-condition"):
    return Finding("a.py", line, 1, line, category, "", "")


def test_a_copied_bug_is_new_and_a_moved_one_is_not():
    code = "def f():\n    n += 1\n"
    other = "def g():\n    pass\n"
    assert found_before([at(2), at(4)], [at(2)], code, code + "def h():\n    n += 1\n".replace("h", "g")) == [
        at(2)
    ]
    assert found_before([at(4)], [at(2)], code + other, other + code) == [at(4)]
    assert found_before([at(2, "other")], [at(2)], code, code) == []
    twice = "def f():\n    n += 1\n    n += 1\n"
    assert len(found_before([at(2), at(3)], [at(2)], code, twice)) == 1


LINES = st.lists(st.sampled_from(["x = 1", "def f(): pass", "y = 2", "z = 3"]), max_size=8)


@given(before=LINES, after=LINES, data=st.data())
def test_no_more_findings_are_old_than_the_base_has(before, after, data):
    base, text = "\n".join(before), "\n".join(after)
    found = [at(n) for n in data.draw(st.sets(st.integers(1, max(1, len(after)))))]
    old = [at(n) for n in data.draw(st.sets(st.integers(1, max(1, len(before)))))]
    same = found_before(found, old, base, text)
    assert len(same) <= len(old)
    assert set(same) <= set(found)
    assert found_before(found, [], base, text) == []
    assert found_before(old, old, base, base) == old
    assert untouched(old, base, base) == old


def test_live_a_claim_about_lines_of_which_the_change_touches_one_is_not_believed(change, review, serve):
    folder = change("x = 1\ny = 2\nz = 3\n", "x = 1\ny = 4\nz = 3\n")
    responder = scripted(lambda _: [{"line": 1, "end_line": 3, "existing": True}])
    done = review(folder, "--diff", "--fail-on-findings", "--format", "json", **serve(responder))
    assert (done.code, lines_of(json.loads(done.out), "findings")) == (1, [1])
