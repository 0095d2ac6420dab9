"""The stand-in against what the API answered in live runs: `recordings/*/probes.json`, written by `make live`."""

from pathlib import Path

from memory_demo.live.comparison import compare, load_answers, save_answers, stand_in_answers
from memory_demo.live.probes import PROBES

RECORDINGS = Path(__file__).parents[2] / "recordings"


def differing(path):
    model, answers = load_answers(path)
    return [str(row) for row in compare(answers, stand_in_answers(model)) if row.differs]


def test_the_stand_in_answers_as_the_api_did():
    """Every live run that is kept; the next test shows that a difference would be seen."""
    assert {path: differing(path) for path in RECORDINGS.glob("*/probes.json") if differing(path)} == {}


def test_a_recorded_answer_that_differs_is_named(tmp_path):
    answers = stand_in_answers("claude-sonnet-5-5")
    assert set(answers) == {probe.name for probe in PROBES}
    path = save_answers(tmp_path, "claude-sonnet-5-5", "2026-11-24", answers)
    assert differing(path) == []
    path = save_answers(
        tmp_path, "claude-sonnet-5-5", "2026-11-24", answers | {"cleared-62": 1, "placeholder": "x"}
    )
    (difference,) = differing(path)
    assert difference.splitlines()[1:] == ["    API:      1", "    stand-in: 3"]
