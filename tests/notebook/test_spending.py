"""What a cell that makes many requests says where it does not run."""

import pytest

from memory_demo.notebook_support import spending

MODEL = "claude-sonnet-5-5"


@pytest.mark.parametrize(
    ("offline", "spend", "replay"), [(True, False, False), (False, True, False), (False, True, True)]
)
def test_it_runs_offline_or_where_a_person_wants_it(capsys, offline, spend, replay):
    assert spending(offline, spend, MODEL, replay)("a review", 40, 100_000)
    assert capsys.readouterr().out == ""


def test_live_it_names_the_price(capsys):
    assert not spending(False, False, MODEL)("a review", 40, 100_000)
    said = " ".join(capsys.readouterr().out.split())
    assert "Skipped: a review" in said and "$0.20 at most" in said and "SPEND = True" in said


def test_a_replay_is_asked_for_no_money(capsys):
    assert not spending(False, False, MODEL, replay=True)("a review", 40, 100_000)
    said = " ".join(capsys.readouterr().out.split())
    assert "Skipped: a review" in said and "recording" in said and "$" not in said
