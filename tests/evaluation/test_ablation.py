"""Each row of the ablation, as the command line prints it, and what the rows are made of."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from memory_demo.evaluation.ablation import ROWS, compare_notes, labels_of, summarise
from memory_demo.evaluation.figures import ablation_figure
from memory_demo.evaluation.report import ablation_json, ablation_report, ablation_table
from memory_demo.offline import offline_client
from memory_demo.reviewer import review
from memory_demo.settings import Connection

ROOT = Path(__file__).parents[2]
MODEL = "claude-sonnet-5-5"
LABELS = 14


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """What the command prints offline: the text, and the numbers of each row by the table's columns."""
    folder = tmp_path_factory.mktemp("evaluation")
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("ANTHROPIC", "MEMORY_COOKBOOK"))
    }
    done = subprocess.run(
        [sys.executable, "-m", "memory_demo.evaluation"],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(ROOT), "MEMORY_COOKBOOK_OFFLINE": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=90,
        check=True,
    )
    columns = ("found", "missed", "alarms", "read", "requests", "tokens")
    rows = {}
    for row in ROWS:
        line = re.search(rf"^{row.name} +((?:[\d,]+ *){{6}})$", done.stdout, re.M)
        assert line, f"no row {row.name!r} in:\n{done.stdout}"
        numbers = [int(number.replace(",", "")) for number in line[1].split()]
        rows[row.name] = dict(zip(columns, numbers, strict=True))
    return done.stdout, rows, folder


def test_the_lesson_finds_every_bug_but_the_one_that_only_a_house_rule_knows(printed):
    text, rows, _ = printed
    assert (rows["the lesson"]["found"], rows["the lesson"]["missed"], rows["the lesson"]["alarms"]) == (
        13,
        1,
        0,
    )
    assert "Missed with the lesson:\n  refunds.py:18 house-rule: " in text


@pytest.mark.parametrize("name", ["nothing", "another lesson", "the title alone", "one word"])
def test_without_the_content_of_the_lesson_nothing_is_found(printed, name):
    row = printed[1][name]
    assert (row["found"], row["missed"], row["alarms"]) == (0, LABELS, 0)


def test_a_line_taken_away_loses_what_it_describes_and_nothing_else(printed):
    row = printed[1]["the lesson less one line"]
    assert (row["found"], row["alarms"]) == (13 - 4, 0)


def test_what_files_offer_saves_reads_requests_and_tokens_on_the_same_findings(printed):
    kept, without = (printed[1][name] for name in ("the lesson", "the lesson less what files offer"))
    assert (kept["found"], kept["alarms"]) == (without["found"], without["alarms"])
    assert without["read"] - kept["read"] == 2
    assert kept["requests"] < without["requests"] and kept["tokens"] < without["tokens"]


def test_a_house_rule_adds_a_finding(printed):
    assert printed[1]["a house rule added"]["found"] == LABELS


def test_a_wrong_fact_costs_a_false_alarm_and_its_correction_takes_it_away(printed):
    wrong, right = printed[1]["one fact wrong"], printed[1]["that fact corrected"]
    assert (wrong["alarms"], right["alarms"]) == (1, 0)
    assert wrong["found"] == right["found"] == 13
    assert right["read"] == wrong["read"] + 1  # what excuses is read


def test_a_fact_that_the_file_contradicts_silences_nothing_and_is_looked_up(printed):
    row, lesson = printed[1]["one fact contradicted"], printed[1]["the lesson"]
    assert (row["found"], row["alarms"]) == (lesson["found"], 0)
    assert row["read"] > lesson["read"]


def test_it_says_what_each_row_proves_who_answered_and_saves_json_and_figure(printed):
    text, _, folder = printed
    for row in ROWS:
        assert f"  {row.name}: {row.proves}." in text
    assert "not Claude" in text
    saved = folder / "evaluation_results"
    data = json.loads((saved / "ablation.json").read_text("utf-8"))
    assert len(data["trials"]) == len(ROWS) * 11 and len(data["lessons"]) == 4
    assert data["trials"][0]["review"]["turns"][0]["billed"]["output_tokens"] > 0
    assert (saved / "ablation.png").read_bytes().startswith(b"\x89PNG")


def connection(responder=review):
    return Connection(offline_client(responder, max_retries=0), MODEL, offline=True)


@pytest.fixture(scope="module")
def twice():
    return compare_notes(connection(), repeats=2, rows=ROWS[:2])


def test_repeats_of_a_deterministic_reviewer_are_the_same(twice):
    assert labels_of(twice) == LABELS
    for row in summarise(twice):
        for value in (row.found, row.requests, row.input_tokens):
            assert value.least == value.mean == value.most
    assert "mean of 2 repeats" in ablation_report(twice)


def test_a_lesson_names_no_file_under_review_and_was_learnt_elsewhere(twice):
    reviewed = {trial.file for trial in twice.trials}
    for lesson in twice.lessons:
        assert lesson.pair.learn not in reviewed
        assert lesson.notes and not any(lesson.pair.learn in text for text in lesson.notes.values())


def test_the_figure_states_the_result(twice):
    figure = ablation_figure(twice)
    assert "With the lesson 13 of 14" in figure.axes[0].get_title()


def test_what_varies_over_repeats_is_shown_with_its_range():
    asked = 0

    def forgets_once(prompt):
        nonlocal asked
        asked += 1
        reply = review(prompt)
        if asked < 150:
            return reply
        kept = tuple(block for block in reply.content if block.get("name") != "report_finding")
        return type(reply)(kept, reply.thinking)

    result = compare_notes(connection(forgets_once), repeats=4, rows=ROWS[:1])
    found = summarise(result)[0].found
    assert found.least < found.mean < found.most
    assert f"{found.mean:,.1f}".removesuffix(".0") in ablation_table(result).iloc[0].iloc[0]


def test_a_run_that_the_api_ends_early_keeps_what_it_has():
    answered = 0

    def gives_up(prompt):
        nonlocal answered
        answered += 1
        if answered > 25:
            raise RuntimeError("enough")
        return review(prompt)

    result = compare_notes(connection(gives_up))
    assert "HTTP 500" in result.stopped
    assert result.trials and "INCOMPLETE" in ablation_report(result)
    assert json.dumps(ablation_json(result))


def stopped_at(request, rows, repeats):
    """The experiment, interrupted at that request."""
    asked = 0

    def stops(prompt):
        nonlocal asked
        asked += 1
        if asked == request:
            raise KeyboardInterrupt
        return review(prompt)

    return compare_notes(connection(stops), repeats=repeats, rows=rows)


def test_a_repeat_that_was_interrupted_is_in_no_mean(twice):
    """The second of two repeats ends within its last row."""
    result = stopped_at(len(twice.turns), ROWS[:2], repeats=2)
    assert result.stopped and 22 < len(result.trials) < 44
    for row, whole in zip(summarise(result), summarise(twice), strict=True):
        assert (row.found, row.requests, row.input_tokens) == (
            whole.found,
            whole.requests,
            whole.input_tokens,
        )
    assert [row.repeats for row in summarise(result)] == [2, 1]
    assert "mean of 1 or 2 repeats" in ablation_report(result)


@pytest.mark.parametrize("request_number", [1, 40])
def test_a_run_that_completes_no_row_says_nothing_of_any(request_number):
    result = stopped_at(request_number, ROWS[:1], repeats=1)
    text = ablation_report(result)
    assert summarise(result) == [] and ablation_table(result).empty
    assert "No row was completed." in text and "INCOMPLETE" in text
    assert "Missed with the lesson" not in text and "What each row proves" not in text
    assert ablation_figure(result).axes[0].get_title() == ""
