"""One report in four formats, each held against what its readers make of it."""

import json
import os
import sys
from pathlib import Path
from urllib.parse import unquote

import jsonschema
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scripted_reviewer import scripted

from memory_demo.offline import Reply
from memory_demo.report_github import as_commands, as_summary
from memory_demo.report_sarif import as_sarif
from memory_demo.report_text import as_text, print_report
from memory_demo.review_report import Finding, Report, as_document, as_json, as_name, printable
from memory_demo.review_targets import NotReviewed, Target

# OASIS, SARIF 2.1.0-rtm.5, as npm's @microsoft/jest-sarif 1.0.0-beta.0 has it.
SCHEMA = json.loads((Path(__file__).parent / "data" / "sarif-2.1.0-rtm.5.json").read_text("utf-8"))
CODE = "n = 0\n\ndef add():\n    global n\n    n += 1\n"
on_posix = pytest.mark.skipif(
    sys.platform == "win32", reason="needs a pseudo-terminal; CI runs it on Linux and macOS"
)


def report(name="app.py", cause="An update is lost.", **changes):
    found = Finding(name, 5, 5, 5, "race-condition", cause, "Hold a lock.", "/memories/races.md")
    return Report(
        **{
            "reviewer": "nobody",
            "offline": True,
            "base": "main",
            "targets": {name: Target(name, name, CODE, "")},
            "reviews": (),
            "findings": (found,),
            **changes,
        }
    )


NAMES = st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=20).map(
    lambda name: name.encode("utf-8", "replace").decode()
)
REPORTS = st.builds(
    report,
    name=NAMES,
    cause=st.text() | st.lists(st.sampled_from(["%0A", "%25", "%3A", "\n", ":", "##["])).map("".join),
    existing=st.just((Finding("b.py", 1, 1, 2, "x", "y", "z"),)) | st.just(()),
    not_reviewed=NAMES.map(lambda name: (NotReviewed(name, name, "is odd"),)) | st.just(()),
    excluded=NAMES.map(lambda name: (name,)),
    base=st.sampled_from([None, "main"]),
)


def test_a_finding_reads_like_a_compilers():
    lines = as_text(report()).plain.splitlines()
    assert lines[0] == "app.py:5:5: race-condition: An update is lost."
    assert lines[1:4] == ["       3 | def add():", "       4 |     global n", "  >    5 |     n += 1"]
    assert lines[4:6] == ["    fix: Hold a lock.", "    note: /memories/races.md"]


@given(REPORTS)
def test_sarif_is_valid_and_holds_all_findings(given_report):
    log = json.loads(as_json(as_sarif(given_report)))
    jsonschema.Draft4Validator(SCHEMA).validate(log)
    [run] = log["runs"]
    assert len(run["results"]) == len(given_report.findings) + len(given_report.existing)
    assert run["invocations"][0]["executionSuccessful"] == (not given_report.not_reviewed)
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert unquote(place["artifactLocation"]["uri"]) == given_report.findings[0].file
    assert place["region"] == {"startLine": 5, "startColumn": 5, "endLine": 5}
    states = [result.get("baselineState") for result in run["results"]]
    assert states == (["new", "unchanged"][: len(states)] if given_report.base else [None] * len(states))


def test_the_schema_can_refuse():
    log = as_sarif(report())
    log["runs"][0]["results"][0]["level"] = "terrible"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft4Validator(SCHEMA).validate(log)


def as_the_runner_reads(line):
    """What GitHub's runner makes of a line, after Runner.Common/ActionCommand.cs: a command, its properties and data."""
    line = line.lstrip()
    if not line.startswith("::") or "::" not in line[2:]:
        return None
    head, data = line[2:].split("::", 1)
    name, _, rest = head.partition(" ")
    properties = dict(pair.split("=", 1) for pair in rest.strip().split(",") if "=" in pair)
    for code, character in {"%0D": "\r", "%0A": "\n", "%3A": ":", "%2C": ",", "%25": "%"}.items():
        properties = {key: value.replace(code, character) for key, value in properties.items()}
        data = data if code in ("%3A", "%2C") else data.replace(code, character)
    return name, properties, data


@given(REPORTS)
def test_annotations_come_back_from_the_runner_as_they_were(given_report):
    read = [as_the_runner_reads(line) for line in as_commands(given_report)]
    assert all("\n" not in line and "\r" not in line for line in as_commands(given_report))
    count = len(given_report.findings) + len(given_report.existing) + len(given_report.not_reviewed)
    assert len(read) == count + len(given_report.excluded)
    level, properties, data = read[0]
    [found] = given_report.findings
    assert (level, properties["line"], properties["col"]) == ("error", "5", "5")
    assert properties["file"] == as_name(found.file)
    assert data.startswith(printable(found.cause))
    assert [name for name, *_ in read].count("error") == 1 + len(given_report.not_reviewed)


@given(REPORTS)
def test_text_and_summary_hold_no_command_and_no_markup(given_report):
    plain = as_text(given_report).plain
    for line in plain.split("\n"):
        assert as_the_runner_reads(line) is None
        assert "##[" not in line
    assert as_summary("Review", plain).count("<") == 2
    assert "&lt;/pre" in as_summary("Review", as_text(report(cause="</pre><img>")).plain)


@given(st.text())
def test_json_that_is_shown_says_the_same_and_holds_no_command(text):
    document = as_document(report(cause=text))
    shown = as_json(document)
    assert json.loads(shown) == json.loads(json.dumps(document))
    assert "##[" not in shown
    assert all(as_the_runner_reads(line) is None for line in shown.splitlines())


@example("##[::")
@given(st.text(st.sampled_from("#[]:e \n\u034f\ufe0f\u200b\x1b"), max_size=12))
def test_no_line_that_is_printed_is_a_command_whatever_marks_are_passed_over(text):
    for line in printable(text).split("\n"):
        for seen in (line, "".join(c for c in line if c.isascii())):
            assert not seen.lstrip().startswith("::")
            assert "##[" not in seen


@pytest.fixture
def change(repository):
    folder, git = repository
    for name in ("app.py", "b.py"):
        (folder / name).write_text("n = 0\n", "utf-8")
    git("add", "--all")
    git("commit", "--message", "Before")
    for name in ("app.py", "b.py"):
        (folder / name).write_text(CODE, "utf-8")
    return folder


@on_posix
def test_colour_and_a_progress_bar_at_a_terminal(change, serve, environment, tmp_path):
    import pexpect

    script = Path(__file__).resolve().parents[2] / "memory_demo" / "code_review_demo.py"
    child = pexpect.spawn(
        sys.executable,
        [str(script), "--memory", str(tmp_path / "notes"), "review", "--diff"],
        cwd=str(change),
        env=environment(TERM="xterm", **serve(scripted(lambda _: [{"line": 5}]))),
        encoding="utf-8",
        timeout=60,
        dimensions=(50, 100),
    )
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert "\x1b[1mapp.py:5:5: \x1b[0m\x1b[1;31mrace-condition" in child.before
    assert "Reviewing b.py" in child.before and "\u2501" in child.before


@on_posix
@pytest.mark.parametrize(
    ("settings", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_colour_where_a_terminal_and_its_user_want_it(monkeypatch, settings, coloured):
    for name, value in {"TERM": "xterm", **settings}.items():
        monkeypatch.setenv(name, value)
    ours, theirs = os.openpty()
    with open(theirs, "w", encoding="utf-8") as out:  # noqa: PTH123 (a descriptor has no path)
        print_report(report(), out)
        shown = os.read(ours, 10_000).decode()
    os.close(ours)
    assert ("\x1b[" in shown) is coloured


def test_no_colour_in_a_pipe(change, review, serve):
    done = review(change, "--diff", **serve(scripted(lambda _: [{"line": 5}])))
    assert "app.py:5:5: race-condition: An update is lost.\n" in done.out
    assert "\x1b" not in done.out + done.err


@pytest.mark.parametrize(("line", "end_line"), [(0, 0), (-3, 2), (99, 1), (5, 10**9), (3, 1)])
def test_lines_that_a_file_does_not_have_become_those_that_it_has(change, review, serve, line, end_line):
    live = serve(scripted(lambda _: [{"line": line, "end_line": end_line}]))
    found = json.loads(review(change, "--diff", "--format", "json", **live).out)["findings"]
    assert len(found) == 2
    assert all(1 <= each["line"] <= each["end_line"] <= 5 for each in found)


def test_the_note_behind_a_finding_is_one_that_was_read(change, review, serve, tmp_path):
    notes = tmp_path / "notes" / "memories"
    notes.mkdir(parents=True)
    for name in ("races.md", "queries.md"):
        (notes / name).write_text("Look.\n", "utf-8")
    claims = iter(["/memories/races.md", "/memories/made_up.md"])
    usual = scripted(lambda _: [{"line": 5, "note": next(claims)}])

    def respond(prompt):
        if '"view"' in json.dumps(prompt.messages):
            return usual(prompt)
        paths = ("/memories", "/memories/queries.md", "/memories/races.md")
        uses = tuple(
            {"type": "tool_use", "name": "memory", "input": {"command": "view", "path": p}} for p in paths
        )
        return Reply(uses)

    found = json.loads(review(change, "--diff", "--format", "json", **serve(respond)).out)["findings"]
    assert [each["note"] for each in found] == ["/memories/races.md", ""]
