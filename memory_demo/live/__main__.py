"""A live run: asks the API what the stand-in asserts, records the notebook and a small evaluation, and ends with a table."""

from __future__ import annotations

import argparse
import datetime
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anthropic
import httpx2
from rich.console import Console
from rich.progress import track

from memory_demo.gateway import without_password
from memory_demo.live.budget import Budget, BudgetSpent
from memory_demo.live.comparison import Row, compare, save_answers, stand_in_answers
from memory_demo.live.notebook_run import run_notebook
from memory_demo.live.probes import PROBES, Json, ask_all
from memory_demo.live.recordings import About, RecordingError, RecordingFailed, load, start
from memory_demo.live.transports import recording_client
from memory_demo.settings import BUDGET, RECORD, Connection, Settings, SettingsError, load_settings

NOTEBOOK = Path(__file__).resolve().parents[2] / "memory_cookbook.ipynb"


@dataclass
class Outcome:
    """What a run has come to so far. `problems` say what ended early and why.

    `spent` are dollars, None where the recording does not tell; `unbilled` answers are in it at their highest price.
    """

    rows: list[Row] = field(default_factory=list)
    found: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    spent: float | None = None
    unbilled: int = 0
    stand_in: bool = False


@dataclass(frozen=True)
class Run:
    """One live run: with which key and model, into which directory, for how many dollars, on what day."""

    settings: Settings
    directory: Path
    budget: float
    date: str
    notebook: Path

    def client(self) -> anthropic.Anthropic:
        """A client that records."""
        return recording_client(
            self.directory,
            self.budget,
            api_key=self.settings.api_key,
            auth_token=self.settings.auth_token,
            base_url=self.settings.base_url,
        )

    def environ(self) -> dict[str, str]:
        """Variables under which any `connect()` records."""
        return {**os.environ, RECORD: str(self.directory.resolve()), BUDGET: str(self.budget)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 for a complete run, 1 for one that ended early, 2 for one that did not start."""
    options = _parse(arguments)
    try:
        settings = load_settings()
    except SettingsError as error:
        return _refuse(str(error))
    if settings.offline:
        return _refuse(f"A live run needs a key, and {settings.reason}.")
    date = datetime.date.today().isoformat()
    directory = _new_directory(Path("recordings"), f"{date}-{settings.model}")
    run = Run(settings, directory, options.budget, date, NOTEBOOK)
    print(plan(run))
    if not options.yes:
        if not sys.stdin.isatty():
            return _refuse("Not started: add --yes to run it without being asked.")
        if input("Run it? [y/N] ").strip().lower() not in ("y", "yes"):
            return _refuse("Not started.")
    outcome = carry_out(run)
    print(report(run, outcome))
    return 1 if outcome.problems else 0


def plan(run: Run) -> str:
    """What a run will do and what it can cost."""
    where = without_password(run.settings.base_url)
    return "\n".join(
        [
            f"A live run with {run.settings.model} at {where}, because {run.settings.reason}.",
            f"1. {len(PROBES)} small requests: does the API do what the stand-in asserts?",
            f"2. {run.notebook.name}, top to bottom, with SPEND = False: its short sessions, recorded.",
            "3. The evaluation: what is found with memory and without it, recorded.",
            f"All of it goes to {run.directory}, without the key; what looks like a secret is not written.",
            f"It costs ${run.budget:.2f} at most: no request is sent that could cost more than what is left.",
        ]
    )


def carry_out(run: Run) -> Outcome:
    """Do one part after the other. A part that fails is left.

    A spent budget, a recording that cannot be written, and an interruption end them all.
    """
    outcome = Outcome()
    start(run.directory, About(run.date, run.settings.model))
    for name, part in PARTS.items():
        known = len(outcome.problems)
        try:
            part(run, outcome)
        except BudgetSpent as error:
            outcome.problems.append(f"The budget ended the {name}: {error}")
            break
        except RecordingFailed as error:
            outcome.problems.append(f"The recording ended the {name}: {error}")
            break
        except KeyboardInterrupt:
            outcome.problems.append(f"The {name} was interrupted.")
            break
        except (anthropic.APIError, httpx2.TransportError, OSError) as error:
            outcome.problems.append(f"The {name} ended with an error: {error}")
        if len(outcome.problems) == known:
            outcome.done.append(name)
    budget = Budget(run.directory, run.budget)
    try:
        outcome.spent, outcome.unbilled = budget.spent(), budget.unbilled()
        outcome.stand_in = any("x-offline-stand-in" in exchange.headers for exchange in load(run.directory))
    except RecordingError as error:
        outcome.problems.append(str(error))
    return outcome


def report(run: Run, outcome: Outcome) -> str:
    """The table at the end: what agreed, what differed, what was found, what it cost."""
    facts = [row for row in outcome.rows if row.kind == "fact"]
    differing = [row for row in facts if row.differs]
    lines = ["The stand-in answered, not Claude."] if outcome.stand_in else []
    lines.append(f"{len(facts) - len(differing)} of {len(facts)} facts agree.")
    lines += [f"  differs: {row}" for row in differing]
    lines += [f"  tokens: {row}" for row in outcome.rows if row.kind == "estimate"]
    lines += [f"  in its own words: {row}" for row in outcome.rows if row.kind == "words"]
    lines += outcome.found
    cost = "What it cost is not known" if outcome.spent is None else f"It cost ${outcome.spent:.4f}"
    lines.append(f"Done: {', '.join(outcome.done) or 'nothing'}. {cost}.")
    if outcome.unbilled:
        lines.append(f"Answers without a bill, counted at their highest price: {outcome.unbilled}.")
    lines += outcome.problems
    if "notebook" in outcome.done:
        lines.append(f"Replay it without a key: MEMORY_COOKBOOK_REPLAY={run.directory} make notebook")
    return "\n".join(lines)


def _probe(run: Run, outcome: Outcome) -> None:
    model = run.settings.model
    answers: dict[str, Json] = {}
    client = run.client()
    try:
        for probe in track(PROBES, "probes", console=Console(stderr=True)):
            answers |= ask_all([probe], client, model)
    finally:
        save_answers(run.directory, model, run.date, answers)
        outcome.rows = compare(answers, stand_in_answers(model))


def _notebook(run: Run, outcome: Outcome) -> None:
    problem = run_notebook(run.notebook, run.directory, run.environ())
    if problem:
        outcome.problems.append(f"The notebook ended early: {problem}")


def _evaluate(run: Run, outcome: Outcome) -> None:
    from memory_demo.evaluation import compare_notes, summarise
    from memory_demo.evaluation.ablation import ROWS

    connection = Connection(run.client(), run.settings.model, offline=False)
    result = compare_notes(connection, rows=ROWS[:3], progress=True)
    outcome.found = [
        f"{row.row.name}: {row.found.mean:.0f} of {row.found.mean + row.missed.mean:.0f} labelled bugs found, "
        f"{row.false_alarms.mean:.0f} false alarms"
        for row in summarise(result)
    ]
    if result.stopped:
        outcome.problems.append(f"The evaluation ended early: {result.stopped}")


PARTS: Mapping[str, Callable[[Run, Outcome], None]] = {
    "probes": _probe,
    "notebook": _notebook,
    "evaluation": _evaluate,
}


def _new_directory(parent: Path, name: str) -> Path:
    """A directory of that name that does not exist yet."""
    taken = (parent / f"{name}-{number}" if number > 1 else parent / name for number in range(1, 1000))
    return next(path for path in taken if not path.exists())


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m memory_demo.live", description=__doc__)
    parser.add_argument("--yes", action="store_true", help="start without asking")
    parser.add_argument(
        "--budget",
        type=_dollars,
        default=5.0,
        metavar="DOLLARS",
        help="spend no more; default: %(default).2f",
    )
    return parser.parse_args(arguments)


def _dollars(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 < value < 1_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a sum of dollars, such as 2.00")
    return value


def _refuse(reason: str) -> int:
    print(reason, file=sys.stderr)
    return 2


if __name__ == "__main__":
    raise SystemExit(main())
