"""Does memory help, answered offline: the result, that memory's `view` carries it, and that it can be redone."""

import json
from collections import Counter

import pytest
from matplotlib.colors import to_rgba

from memory_demo.evaluation import Label, arms_figure, compare_arms, match, summarise
from memory_demo.evaluation.arms import ARMS, EMPTY_MEMORY, UNRELATED_MEMORY, WITH_MEMORY, estimate
from memory_demo.evaluation.matching import read_labels
from memory_demo.evaluation.report import arms_json, arms_report, write_json
from memory_demo.offline import Reply, offline_client
from memory_demo.reviewer import review
from memory_demo.settings import Connection
from memory_demo.source_tools import ReportedFinding
from memory_tool import MemoryToolHandler

MODEL = "claude-sonnet-5-5"
TARGET_LABELS = [label for label in read_labels()[1] if label.learn_from]


def connection(responder=review):
    return Connection(offline_client(responder, max_retries=0), MODEL, offline=True)


@pytest.fixture(scope="module")
def result():
    return compare_arms(connection())


def found_in(result, arm):
    return {label for review in result.reviews if review.arm == arm for label in review.found}


def test_with_memory_every_labelled_bug_of_the_target_files_is_found(result):
    assert found_in(result, WITH_MEMORY) == set(TARGET_LABELS)


@pytest.mark.parametrize("arm", [EMPTY_MEMORY, UNRELATED_MEMORY])
def test_without_the_right_memory_the_bugs_that_need_it_are_missed(result, arm):
    missed = {label for review in result.reviews if review.arm == arm for label in review.missed}
    assert missed == {label for label in TARGET_LABELS if label.learn_from}
    assert not found_in(result, arm)


def test_there_is_no_false_alarm(result):
    assert [review.findings for review in result.reviews if review.fixed and review.findings] == []
    assert [review.unmatched for review in result.reviews if review.unmatched] == []


def test_the_lines_agree_without_slack():
    assert found_in(compare_arms(connection(), line_slack=0), WITH_MEMORY) == set(TARGET_LABELS)


def test_every_target_and_its_twin_are_reviewed_once_in_each_arm(result):
    reviewed = Counter((review.file, review.arm, review.fixed) for review in result.reviews)
    targets = {label.file for label in TARGET_LABELS}
    assert reviewed == Counter((f, arm, fixed) for f in targets for arm in ARMS for fixed in (True, False))


def test_unrelated_memory_is_a_lesson_of_another_category(result):
    category_of = {lesson.file: lesson.category for lesson in result.lessons}
    for item in result.reviews:
        if item.arm == EMPTY_MEMORY:
            assert item.learnt_from == ""
        else:
            assert (category_of[item.learnt_from] == item.category) == (item.arm == WITH_MEMORY)
    assert all(lesson.notes for lesson in result.lessons)


def cries_wolf(prompt):
    """The reviewer, with a finding about nothing beside its other tool uses wherever it reads a file."""
    reply = review(prompt)
    read = [block["input"]["path"] for block in reply.content if block.get("name") == "read_source"]
    wolf = {"line": 1, "end_line": 1, "category": "race-condition", "cause": "Wolf.", "fix": "Run."}
    more = [{"type": "tool_use", "name": "report_finding", "input": {"file": file, **wolf}} for file in read]
    return Reply((*reply.content, *more), reply.thinking)


def test_findings_about_nothing_count_as_unlabelled_and_in_twins_as_false_alarms():
    targets = len({label.file for label in TARGET_LABELS})
    for summary in summarise(compare_arms(connection(cries_wolf))):
        assert summary.unlabelled.mean == summary.false_alarms.mean == targets
        assert summary.found.mean == (len(TARGET_LABELS) if summary.arm == WITH_MEMORY else 0)


class WithoutView:
    """A memory whose `view` does not answer."""

    def __init__(self, folder):
        self.memory = MemoryToolHandler(folder)

    def execute(self, params=None, /):
        if params.get("command") == "view":
            return {"error": "Unknown command 'view'."}
        return self.memory.execute(params)


def test_without_view_memory_is_written_and_does_not_help():
    result = compare_arms(connection(), new_memory=WithoutView)
    assert all(lesson.notes for lesson in result.lessons)
    assert found_in(result, WITH_MEMORY) == set()


class ForgetsWhatItIsTold:
    """A memory that says it stores and stores nothing."""

    def __init__(self, folder):
        self.memory = MemoryToolHandler(folder)

    def execute(self, params=None, /):
        if params.get("command") == "view":
            return self.memory.execute(params)
        return {"success": f"File created successfully at: {params.get('path')}"}


def test_without_storage_nothing_is_carried_over():
    assert found_in(compare_arms(connection(), new_memory=ForgetsWhatItIsTold), WITH_MEMORY) == set()


def test_the_analysis_can_be_redone_from_the_json_alone(result, tmp_path):
    write_json(arms_json(result), tmp_path / "arms.json")
    data = json.loads((tmp_path / "arms.json").read_text(encoding="utf-8"))
    labels = [Label(**label) for label in data["labels"]]
    for summary in summarise(result):
        reviews = [r for r in data["reviews"] if r["arm"] == summary.arm]
        targets = [r for r in reviews if not r["fixed"]]
        turns = [turn for r in reviews for turn in r["answer"]["turns"]]
        matched = [
            match(
                [ReportedFinding(**f) for f in r["findings"]],
                [label for label in labels if label.file == r["file"]],
                data["line_slack"],
            )
            for r in targets
        ]
        assert sum(len(m.found) for m in matched) == summary.found.mean
        assert sum(len(m.missed) for m in matched) == summary.missed.mean
        assert sum(len(r["findings"]) for r in reviews if r["fixed"]) == summary.false_alarms.mean
        assert len(turns) == summary.turns.mean
        assert sum(turn["input_tokens"] for turn in turns) == summary.input_tokens.mean
        assert sum(turn["output_tokens"] for turn in turns) == summary.output_tokens.mean
        assert sum(turn["seconds"] for turn in turns) == pytest.approx(summary.seconds.mean)
    assert data["model"] == MODEL
    assert data["stand_in"] is True
    assert data["line_slack"] == result.line_slack
    assert [lesson["notes"] for lesson in data["lessons"]] == [lesson.notes for lesson in result.lessons]
    assert all(part["answer"]["request"] for part in (*data["lessons"], *data["reviews"]))


def test_the_report_says_who_answered_and_what_that_means(result):
    text = arms_report(result)
    assert "not Claude" in text
    assert "nothing about Claude's ability" in text
    assert "INCOMPLETE" not in text


def test_the_figure_states_the_finding_and_has_no_background(result):
    figure = arms_figure(result)
    axes = figure.axes[0]
    assert axes.get_title() == "With memory 11 of 11 labelled bugs are found, without it 0"
    widths = Counter(
        (bar.get_width(), bar.get_facecolor()) for bar in axes.patches if bar.get_width() and bar.get_height()
    )
    assert widths == {(11, to_rgba("#0072B2")): 1, (11, to_rgba("#E69F00")): 2}
    legend = axes.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["found", "missed"]
    assert [patch.get_facecolor() for patch in legend.get_patches()] == [
        to_rgba("#0072B2"),
        to_rgba("#E69F00"),
    ]
    assert figure.get_facecolor()[3] == axes.get_facecolor()[3] == 0


def test_repeats_are_each_a_run_of_their_own_and_give_an_interval():
    twice = compare_arms(connection(), repeats=2)
    with_memory = summarise(twice)[0]
    assert {item.repeat for item in (*twice.lessons, *twice.reviews)} == {1, 2}
    assert with_memory.found == (len(TARGET_LABELS), (len(TARGET_LABELS), len(TARGET_LABELS)))
    assert "[11, 11]" in arms_report(twice)


def test_the_interval_is_that_of_the_mean_and_repeatable():
    values = [8.0, 11.0, 9.0, 11.0, 10.0]
    mean, (low, high) = estimate(values)
    assert mean == pytest.approx(9.8)
    assert min(values) <= low < mean < high <= max(values)
    assert estimate(values) == (mean, (low, high))
    assert estimate([9.0]) == (9.0, None)


def test_a_run_that_the_api_ends_keeps_what_it_has():
    answered = 0

    def gives_up(prompt):
        nonlocal answered
        answered += 1
        if answered > 30:
            raise RuntimeError("enough")
        return review(prompt)

    result = compare_arms(connection(gives_up))
    assert "HTTP 500" in result.stopped
    assert len(result.lessons) == 3
    assert 0 < len(result.reviews) < 24
    assert "INCOMPLETE" in arms_report(result)
