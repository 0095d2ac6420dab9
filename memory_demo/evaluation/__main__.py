"""`python -m memory_demo.evaluation [--repeat N]`, and the same with `long [--files N]` or `poisoning`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib

from memory_demo.demo_helpers import Turn
from memory_demo.evaluation.ablation import compare_notes
from memory_demo.evaluation.figures import ablation_figure, long_review_figure
from memory_demo.evaluation.long_conversation import long_reviews, standard_library_files
from memory_demo.evaluation.poisoning import (
    compare_mitigations,
    gullible,
    poisoning_json,
    poisoning_report,
)
from memory_demo.evaluation.report import (
    ablation_json,
    ablation_report,
    estimate_text,
    long_json,
    long_report,
    write_json,
)
from memory_demo.offline import offline_client
from memory_demo.settings import DEFAULT_MODEL, Connection, SettingsError, connect


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 for a complete run, 1 for one that ended early, 2 for one that did not start."""
    options = _parse(arguments)
    matplotlib.use("Agg")
    try:
        connection = connect()
        options.output.mkdir(parents=True, exist_ok=True)
    except SettingsError as error:
        return _refuse(str(error))
    except OSError as error:
        return _refuse(f"{options.output} cannot be written to ({error.strerror}); choose another --output.")
    if not connection.offline and not options.yes:
        print(estimate_text(_dry_run(options), connection.model))
        if not sys.stdin.isatty():
            return _refuse("Not started: add --yes to run it without being asked.")
        if input("Run it? [y/N] ").strip().lower() not in ("y", "yes"):
            return _refuse("Not started.")
    run = {"ablation": _run_ablation, "long": _run_long, "poisoning": _run_poisoning}[options.part]
    return 1 if run(connection, options) else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m memory_demo.evaluation",
        description="Measure what memory and context editing do for a code reviewer.",
    )
    parser.add_argument(
        "part",
        nargs="?",
        choices=["ablation", "long", "poisoning"],
        default="ablation",
        help="ablation: does it matter what a note says (the default); long: what does context editing save; poisoning: how far do poisoned "
        "notes get",
    )
    parser.add_argument(
        "--repeat", type=_positive, default=1, metavar="N", help="ablation: run it all N times"
    )
    parser.add_argument("--files", type=_positive, default=100, metavar="N", help="long: review N modules")
    parser.add_argument(
        "--output", type=Path, default=Path("evaluation_results"), metavar="DIR", help="for JSON and figures"
    )
    parser.add_argument("--yes", action="store_true", help="start a live run without asking")
    options = parser.parse_args(arguments)
    if options.part != "ablation" and options.repeat > 1:
        parser.error(f"--repeat goes with ablation; {options.part} runs once")
    return options


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _run_ablation(connection: Connection, options: argparse.Namespace) -> str:
    """Why the run ended early, "" if it did not. What there is of it is saved and shown in any case."""
    result = compare_notes(connection, repeats=options.repeat, progress=True)
    write_json(ablation_json(result), options.output / "ablation.json")
    print(ablation_report(result))
    ablation_figure(result).savefig(options.output / "ablation.png", dpi=150)
    print(f"\nSaved: {options.output / 'ablation.json'}\nSaved: {options.output / 'ablation.png'}")
    return result.stopped


def _run_long(connection: Connection, options: argparse.Namespace) -> str:
    files = standard_library_files(options.files)
    if len(files) < options.files:
        print(f"This Python has only {len(files)} modules of the size to review.", file=sys.stderr)
    runs = long_reviews(connection, files, progress=True)
    write_json(long_json(runs, files), options.output / "long.json")
    print(long_report(runs))
    print(f"\nSaved: {options.output / 'long.json'}")
    if len(runs) > 1:
        long_review_figure(runs[:2]).savefig(options.output / "long.png", dpi=150)
        print(f"Saved: {options.output / 'long.png'}")
    return runs[-1].stopped


def _run_poisoning(connection: Connection, options: argparse.Namespace) -> str:
    result = compare_mitigations(gullible(connection), progress=True)
    write_json(poisoning_json(result), options.output / "poisoning.json")
    print(poisoning_report(result))
    print(f"\nSaved: {options.output / 'poisoning.json'}")
    return result.stopped


def _dry_run(options: argparse.Namespace) -> Sequence[Turn]:
    """The turns that the offline reviewer takes for the same requests."""
    offline = Connection(offline_client(), DEFAULT_MODEL, offline=True)
    if options.part == "long":
        runs = long_reviews(offline, standard_library_files(options.files), progress=True)
        return [turn for run in runs for turn in run.turns()]
    if options.part == "poisoning":
        return compare_mitigations(gullible(offline), progress=True).turns
    repeats: int = options.repeat
    return compare_notes(offline, progress=True).turns * repeats


def _refuse(reason: str) -> int:
    print(reason, file=sys.stderr)
    return 2


if __name__ == "__main__":
    raise SystemExit(main())
