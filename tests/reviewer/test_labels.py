"""The labelled bugs of the sample code, and nothing else, are what the rules find."""

import json
from pathlib import Path

import pytest

from memory_demo.reviewer.checks import find_bugs
from memory_demo.reviewer.forms import CATEGORY_OF

PACKAGE = Path(__file__).parents[2] / "memory_demo"
SAMPLES = PACKAGE / "sample_code"
LABELS = json.loads((PACKAGE / "labels.json").read_text(encoding="utf-8"))["labels"]


def overlaps(label, finding):
    same_kind = label["category"] == CATEGORY_OF[finding.form].key
    return same_kind and label["start_line"] <= finding.end_line and finding.line <= label["end_line"]


def findings_in(path):
    return find_bugs(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("label", LABELS, ids=lambda label: f"{label['file']}:{label['start_line']}")
def test_every_labelled_bug_is_found(label):
    assert [f for f in findings_in(SAMPLES / label["file"]) if overlaps(label, f)]


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_nothing_else_is_found_in_the_samples(path):
    labels = [label for label in LABELS if label["file"] == path.name]
    assert labels
    assert [f for f in findings_in(path) if not any(overlaps(label, f) for label in labels)] == []


@pytest.mark.parametrize("path", sorted((SAMPLES / "fixed").glob("*.py")), ids=lambda path: path.name)
def test_no_alarm_on_the_repaired_twins(path):
    assert findings_in(path) == ()


def test_every_sample_has_a_repaired_twin():
    assert {path.name for path in SAMPLES.glob("*.py")} == {
        path.name for path in (SAMPLES / "fixed").glob("*.py")
    }
