"""Which labelled bugs a set of reported findings has found."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from memory_demo.source_tools import ReportedFinding

LABELS = Path(__file__).parent.parent / "labels.json"
LABELS_OF_SHOP = Path(__file__).parent.parent / "shop_labels.json"
# The text that read_source gives has no line numbers, so a model has to count.
LINE_SLACK = 2


@dataclass(frozen=True)
class Label:
    """A bug that is known to be in a file; lines are 1-based and inclusive.

    `learn_from` is the file that teaches its category, "" for the bugs of that file itself.
    """

    file: str
    start_line: int
    end_line: int
    category: str
    description: str
    learn_from: str = ""


@dataclass(frozen=True)
class Pair:
    """A file to learn a category from, and the files to review with what was learnt."""

    category: str
    learn: str
    apply: tuple[str, ...]


class Matched(NamedTuple):
    """`found` and `missed` are all labels, in their order; `unmatched` are the findings that no label answers to."""

    found: tuple[Label, ...]
    missed: tuple[Label, ...]
    unmatched: tuple[ReportedFinding, ...]


def read_labels(path: Path = LABELS) -> tuple[tuple[Pair, ...], tuple[Label, ...]]:
    """The pairs of files and the labelled bugs."""
    data = json.loads(path.read_text(encoding="utf-8"))
    pairs = (Pair(pair["category"], pair["learn"], tuple(pair["apply"])) for pair in data["pairs"])
    return tuple(pairs), tuple(Label(**label) for label in data["labels"])


def match(findings: Sequence[ReportedFinding], labels: Sequence[Label], slack: int = 0) -> Matched:
    """Pair findings with labels so that as many labels as possible are found.

    A finding answers to a label of the same file and category whose lines it overlaps, give or take `slack` lines.
    Each label is found at most once and each finding counts for at most one label, so neither one report that spans
    a whole file nor ten reports of one bug count for more than one.
    """
    fits = [[_fits(f, label, slack) for label in labels] for f in findings]
    if not (findings and labels):
        return Matched((), tuple(labels), tuple(findings))
    label_of = maximum_bipartite_matching(csr_array(fits, dtype=bool), perm_type="column")
    taken = set(label_of.tolist())
    return Matched(
        tuple(label for index, label in enumerate(labels) if index in taken),
        tuple(label for index, label in enumerate(labels) if index not in taken),
        tuple(finding for finding, index in zip(findings, label_of, strict=True) if index < 0),
    )


def _fits(finding: ReportedFinding, label: Label, slack: int) -> bool:
    first, last = sorted((finding.line, finding.end_line))
    return (
        _base_name(finding.file) == _base_name(label.file)
        and _slug(finding.category) == _slug(label.category)
        and first <= label.end_line + slack
        and last >= label.start_line - slack
    )


def _base_name(file: str) -> str:
    return re.split(r"[\\/]", file.strip())[-1]


def _slug(category: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", category.lower()).strip("-")
