"""What an experiment prints and saves: tables, what they mean, and JSON to redo the analysis from."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from memory_demo.assistant import SYSTEM_PROMPT
from memory_demo.costs import (
    PRICES_DATE,
    PRICES_SOURCE,
    TARIFFS,
    Tariff,
    billed_for,
    cost,
    cost_without_cache,
)
from memory_demo.demo_helpers import Turn
from memory_demo.evaluation.ablation import (
    AblationResult,
    Measured,
    RowSummary,
    labels_of,
    summarise,
    whole_repeats,
)
from memory_demo.evaluation.long_conversation import (
    PUBLISHED_SAVING,
    PUBLISHED_SOURCE,
    LongReview,
    SizeSummary,
    sizes_up_to,
    summarise_size,
)
from memory_demo.evaluation.matching import LABELS, LABELS_OF_SHOP, LINE_SLACK, read_labels
from memory_demo.evaluation.records import SYMPTOMS, as_json

_STAND_IN_ABLATION = """\
Answered by the offline rule-based reviewer, which is not Claude. It looks only for what the request or a line of memory
describes, so the table shows that the notes carried what was found from one session to the next, and which line did.
It says nothing about Claude's ability. Live, a model finds bugs without notes too; what they add there is for a run
with a key to say."""

_STAND_IN_LONG = """\
Answered by the offline rule-based reviewer, which is not Claude, with estimated token counts. The result shows what
clearing does to a conversation of this shape. It says nothing about Claude's ability. The stand-in edits every request
anew from the whole history, so each tool use moves the point up to which results are cleared, and the prefix cached
before no longer fits; clear_at_least puts off the first clearing and does not make the later ones rarer."""


def ablation_table(result: AblationResult) -> pd.DataFrame:
    """One row for each thing that memory held; means over the repeats, and their range where there are several."""
    labels = labels_of(result)
    rows = {
        row.row.name: {
            f"found (of {labels})": _number(row.found),
            "missed": _number(row.missed),
            "false alarms": _number(row.false_alarms),
            "files read": _number(row.files_read),
            "requests": _number(row.requests),
            "input tokens": _number(row.input_tokens),
        }
        for row in summarise(result)
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("memory holds")


def ablation_report(result: AblationResult) -> str:
    """The text for stdout."""
    rows = summarise(result)
    proves = "\n".join(f"  {row.row.name}: {row.row.proves}." for row in rows)
    parts = [
        f"Does it matter what a note says? ({_repeats(rows)})",
        ablation_table(result).to_string() if rows else "No row was completed.",
        f"What each row proves:\n{proves}" if rows else "",
        _not_found(result),
        "A finding counts as a labelled bug if file and category agree and its lines overlap, give or take "
        f"{LINE_SLACK}. Every other\nfinding is a false alarm: the files with bugs are reviewed with their fixed twins, and "
        "one file has no bugs. A row's numbers\nare those of all its reviews; a lesson was learnt from another file, in "
        "another session.",
        _STAND_IN_ABLATION
        if result.stand_in
        else f"Answered by {result.model} through the API. {_caution(rows)}",
    ]
    if result.stopped:
        parts.append(f"INCOMPLETE: {result.stopped}")
    return "\n\n".join(filter(None, parts))


def _not_found(result: AblationResult) -> str:
    repeats = whole_repeats(result, "the lesson")
    if not repeats:
        return ""
    missed = dict.fromkeys(
        f"  {label.file}:{label.start_line} {label.category}: {label.description}"
        for trials in repeats
        for trial in trials
        for label in trial.missed
    )
    return "Missed with the lesson:\n" + ("\n".join(missed) or "  nothing that is labelled.")


def sizes_table(runs: Sequence[LongReview], files: int) -> pd.DataFrame:
    """One row for each size and run."""
    rows = [_size_row(run, summarise_size(run, size)) for size in sizes_up_to(files) for run in runs]
    return pd.DataFrame(rows).set_index(["files", "context"])


def costs_table(runs: Sequence[LongReview], tariff: Tariff) -> pd.DataFrame:
    """One row a run: input tokens by how they are billed, and dollars; the cheapest is marked if any of them cleared."""
    cheapest = _cheapest(runs, tariff) if any(map(_has_cleared, runs)) else None
    return pd.DataFrame(
        {
            "context": run.name,
            "cache reads": f"{_sum(run, 'cache_read_input_tokens'):,}",
            "cache writes": f"{_sum(run, 'cache_creation_input_tokens'):,}",
            "uncached": f"{_sum(run, 'input_tokens'):,}",
            "output": f"{_sum(run, 'output_tokens'):,}",
            "largest request": f"{max((turn.input_tokens for turn in run.turns()), default=0):,}",
            "cost": f"${cost(run.turns(), tariff):.2f}",
            "without caching": f"${cost_without_cache(run.turns(), tariff):.2f}",
            "": "cheapest" if run is cheapest else "",
        }
        for run in runs
    ).set_index("context")


def long_report(runs: Sequence[LongReview]) -> str:
    """The text for stdout. `runs` are those of `long_reviews`."""
    compared = runs[:2]
    files = min(len(run.records) for run in compared)
    parts = [
        f"One long review of {files} standard library modules, one request a file, in one conversation",
        sizes_table(compared, files).to_string(),
    ]
    if len(compared) == 2 and files:
        parts += [_saving(compared, files), _peaks(compared, files), _same_findings(compared)]
    parts += _bill([run for run in runs if not run.stopped], runs[0].model)
    parts.append(_STAND_IN_LONG if runs[0].stand_in else f"Answered by {runs[0].model} through the API.")
    parts += [f"INCOMPLETE ({run.name}): {run.stopped}" for run in runs if run.stopped]
    return "\n\n".join(parts)


def ablation_json(result: AblationResult) -> dict[str, Any]:
    """Everything to redo the analysis: settings, labels, every conversation, finding and turn."""
    lessons = [
        {**asdict(lesson.pair), "notes": dict(lesson.notes), "review": as_json(lesson.review)}
        for lesson in result.lessons
    ]
    trials = [
        {**vars(trial), "review": as_json(trial.review)}
        | {key: [asdict(one) for one in getattr(trial, key)] for key in ("found", "missed", "unmatched")}
        for trial in result.trials
    ]
    return {
        **_settings(result.stand_in, result.model),
        "repeats": result.repeats,
        "line_slack": LINE_SLACK,
        "symptoms": SYMPTOMS,
        "labels": [asdict(label) for path in (LABELS, LABELS_OF_SHOP) for label in read_labels(path)[1]],
        "lessons": lessons,
        "trials": trials,
        "stopped": result.stopped,
    }


def long_json(runs: Sequence[LongReview], files: Mapping[str, Path]) -> dict[str, Any]:
    """The same for the long reviews; `files` with their sizes in bytes."""
    return {
        **_settings(runs[0].stand_in, runs[0].model),
        "files": {name: path.stat().st_size for name, path in files.items()},
        "runs": [
            {
                **vars(run),
                "lesson": as_json(run.lesson) if run.lesson else None,
                "records": [
                    {**as_json(record.review), "memory_intact": record.memory_intact}
                    for record in run.records
                ],
            }
            for run in runs
        ],
    }


def write_json(data: Mapping[str, Any], path: Path) -> None:
    """Write UTF-8 JSON."""
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def estimate_text(turns: Sequence[Turn], model: str) -> str:
    """What a live run is likely to use, from the turns of an offline run of the same requests."""
    tariff = TARIFFS.get(model)
    dollars = f"about ${cost(turns, tariff):.2f}" if tariff else f"at prices unknown here for {model}"
    return (
        f"A live run with {model}: about {len(turns)} requests, {sum(t.input_tokens for t in turns):,} input and "
        f"{sum(t.output_tokens for t in turns):,} output tokens, {dollars}, judging by an offline run of the same "
        f"requests. A model that thinks and looks around can use several times as much."
    )


def _settings(stand_in: bool, model: str) -> dict[str, Any]:
    return {
        "reviewer": "offline rule-based reviewer, not Claude" if stand_in else model,
        "stand_in": stand_in,
        "model": model,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "system": SYSTEM_PROMPT,
        "prices": {
            "source": PRICES_SOURCE,
            "date": PRICES_DATE,
            "dollars_per_million_tokens": {name: asdict(tariff) for name, tariff in TARIFFS.items()},
        },
        "versions": {"python": platform.python_version(), "anthropic": version("anthropic")},
    }


def _repeats(rows: Sequence[RowSummary]) -> str:
    """How many whole repeats the rows are means of: a run that ended early has fewer of the later rows."""
    counts = sorted({row.repeats for row in rows})
    if not counts or counts == [1]:
        return "one run"
    return f"mean of {' or '.join(map(str, counts))} repeats [least, most]"


def _number(value: Measured) -> str:
    def text(number: float) -> str:
        return f"{number:,.0f}" if number == round(number) else f"{number:,.1f}"

    if value.least == value.most:
        return text(value.mean)
    return f"{text(value.mean)} [{text(value.least)}, {text(value.most)}]"


def _caution(rows: Sequence[RowSummary]) -> str:
    if any(row.repeats > 1 for row in rows):
        return "The ranges are over repeats on these few files; other code may give other results."
    return "One run is one sample: use --repeat to see how much it varies."


def _size_row(run: LongReview, size: SizeSummary) -> dict[str, Any]:
    return {
        "files": size.files,
        "context": run.name,
        "API requests": size.requests,
        "input tokens": f"{size.input_tokens:,}",
        "largest request": f"{size.peak:,}",
        "seconds": f"{size.seconds:.1f}",
        "reviewed": f"{size.reviewed}/{size.files}",
        "findings": size.findings,
        "memory": _memory(size),
    }


def _memory(size: SizeSummary) -> str:
    """Whether it kept what was learnt; where no file was reviewed, nothing has put it to the test."""
    if not size.files:
        return "-"
    return "intact" if size.memory_intact else "DAMAGED"


def _saving(compared: Sequence[LongReview], files: int) -> str:
    savings = []
    for size in sizes_up_to(files):
        full, kept = (summarise_size(run, size).input_tokens for run in compared)
        savings.append(f"{1 - kept / full if full else 0:.0%} at {size} files")
    return (
        f"Input tokens saved by clearing: {', '.join(savings)}.\n"
        f"Published: {PUBLISHED_SAVING:.0%} over 100 turns of web search ({PUBLISHED_SOURCE})."
    )


def _peaks(compared: Sequence[LongReview], files: int) -> str:
    sizes = sizes_up_to(files)
    grown = []
    for run in reversed(compared):
        small, large = (summarise_size(run, size).peak for size in (sizes[0], sizes[-1]))
        grown.append(f"{run.name} {small:,} -> {large:,} tokens ({large / small if small else 0:.1f} times)")
    return f"Largest request from {sizes[0]} to {sizes[-1]} files: {'; '.join(grown)}."


def _same_findings(compared: Sequence[LongReview]) -> str:
    both = zip(*(run.records for run in compared), strict=False)
    different = [one.review.file for one, other in both if one.review.findings != other.review.findings]
    if not different:
        return "Every file got the same findings with and without clearing."
    return f"{len(different)} files got other findings with clearing: {', '.join(different[:10])}."


def _bill(runs: Sequence[LongReview], model: str) -> list[str]:
    tariff = TARIFFS.get(model)
    if tariff is None:
        return [f"No bill: the table of prices has none for {model}."]
    if not any(run.context_management for run in runs):
        return []
    clearing = [run for run in runs if _has_cleared(run)]
    return [
        f"The bill with prompt caching ({model}, prices of {PRICES_DATE}, {PRICES_SOURCE}):",
        costs_table(runs, tariff).to_string(),
        _verdict(_cheapest(runs, tariff), _cheapest(clearing, tariff))
        if clearing
        else "Clearing never fired, so none of these bills is its doing.",
    ]


def _verdict(cheapest: LongReview, cheapest_clearing: LongReview) -> str:
    if cheapest is cheapest_clearing:
        return f"Cheapest: {cheapest.name}."
    return (
        f"Cheapest: {cheapest.name}; of the clearing settings: {cheapest_clearing.name}.\n"
        "With caching, carrying old results along costs less than writing the prefix anew each time it changes. What "
        "clearing\nbuys then is room in the context window, and without caching it is what keeps the bill down."
    )


def _has_cleared(run: LongReview) -> bool:
    return any(turn.cleared_tool_uses for turn in run.turns())


def _cheapest(runs: Sequence[LongReview], tariff: Tariff) -> LongReview:
    """Of the runs without clearing and those in which it fired: where it did not, a run differs by its name only."""
    compared = [run for run in runs if _has_cleared(run) or not run.context_management]
    return min(compared, key=lambda run: cost(run.turns(), tariff))


def _sum(run: LongReview, field: str) -> int:
    return sum(getattr(billed_for(turn), field) for turn in run.turns())
