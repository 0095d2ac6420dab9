"""The two figures: bugs found and missed by what memory holds, and the tokens of a long review."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from memory_demo.evaluation.ablation import AblationResult, RowSummary, labels_of, summarise
from memory_demo.evaluation.long_conversation import LongReview, cumulative_input, summarise_size

# On a ground of their own, so that pages light and dark show the same; contrast with it is 4.5 or more.
GROUND, INK = "#f6f8fa", "#24292f"
KEPT, CLEARED = "#0067a3", "#a84300"

_STYLE: dict[Any, Any] = {
    "figure.facecolor": GROUND,
    "axes.facecolor": GROUND,
    "savefig.facecolor": GROUND,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.labelcolor": INK,
}


def ablation_figure(result: AblationResult) -> Figure:
    """Labelled bugs found and missed with each row's notes, with the range over repeats where there are several."""
    rows = summarise(result)[::-1]
    names, found = [row.row.name for row in rows], [row.found.mean for row in rows]
    by_name = dict(zip(names, found, strict=True))
    with rc_context(_STYLE):
        figure, axes = plt.subplots(figsize=(8, 4.5))
        axes.barh(names, found, color=KEPT, xerr=_error_bars(rows), ecolor=INK, capsize=4, label="found")
        missed = [row.missed.mean for row in rows]
        axes.barh(
            names,
            missed,
            left=found,
            color=CLEARED,
            hatch="//",
            edgecolor="white",
            linewidth=0,
            label="missed",
        )
        title = ""
        if "the lesson" in by_name:
            title = (
                f"With the lesson {by_name['the lesson']:.3g} of {labels_of(result)} labelled bugs are found"
            )
        if "the title alone" in by_name:
            title += f", with its title {by_name['the title alone']:.3g}"
        axes.set_title(title.removeprefix(", "))
        answered = "offline, rule-based" if result.stand_in else result.model
        axes.set_xlabel(f"labelled bugs in the reviewed files (reviewer: {answered})")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
        figure.tight_layout()
    return figure


def long_review_figure(runs: Sequence[LongReview]) -> Figure:
    """Input tokens of each API request, and their sum so far, with and without clearing.

    `runs` are the review without clearing and the one with it, in this order.
    """
    without, clearing = runs
    files = min(len(run.records) for run in runs)
    peaks = [summarise_size(run, files).peak for run in runs]
    with rc_context(_STYLE):
        figure, (each, total) = plt.subplots(1, 2, figsize=(10, 4))
        for run, colour, line in ((without, CLEARED, "--"), (clearing, KEPT, "-")):
            tokens = [turn.input_tokens for turn in run.turns()]
            numbers = range(1, len(tokens) + 1)
            each.plot(numbers, tokens, line, color=colour, label=run.name)
            total.plot(numbers, cumulative_input(run.turns()), line, color=colour, label=run.name)
        each.set_ylabel("input tokens of the request")
        total.set_ylabel("input tokens so far")
        for axes in (each, total):
            axes.set_xlabel("API request")
            axes.set_ylim(bottom=0)
            axes.yaxis.set_major_formatter(FuncFormatter(_thousands))
            axes.legend(loc="upper left")
        figure.suptitle(
            f"Over {files} files the largest request has {peaks[1]:,} tokens with clearing, {peaks[0]:,} without"
        )
        figure.tight_layout()
    return figure


def _error_bars(rows: Sequence[RowSummary]) -> list[list[float]] | None:
    """Distances from the means down and up to the least and the most."""
    found = [row.found for row in rows]
    if all(one.least == one.most for one in found):
        return None
    return [[one.mean - one.least for one in found], [one.most - one.mean for one in found]]


def _thousands(value: float, _: int) -> str:
    return f"{value / 1e6:g}M" if value >= 1e6 else f"{value / 1e3:g}k" if value else "0"
