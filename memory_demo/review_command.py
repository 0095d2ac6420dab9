"""`review`: files that a person names, or what a branch changes."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memory_demo.assistant import guarded_memory
from memory_demo.command_error import CommandError
from memory_demo.console import connect_reviewer, say, writing
from memory_demo.memory_view import as_proposed
from memory_demo.review_report import Report, as_document, as_json, as_name, counted, printable
from memory_demo.review_run import Outcome, carry_out
from memory_demo.review_targets import Selection, Target, changed_files, named_files

if TYPE_CHECKING:
    from rich.console import Console

FORMATS = ("text", "json", "sarif", "github")


def add_review_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add `review`; `common` holds the options that every command takes."""
    review = commands.add_parser(
        "review", parents=[common], help="review your files, or what a branch changes"
    )
    review.add_argument("files", nargs="*", type=Path, metavar="FILE", help="Python file to review")
    review.add_argument(
        "--symptom", default="", metavar="TEXT", help='what was noticed, such as "totals are too low"'
    )
    review.add_argument(
        "--diff",
        nargs="?",
        const="HEAD",
        metavar="BASE",
        help="review the Python files that have changed since the working tree and BASE parted (default: the last "
        "commit), and report what the change brings in; FILEs named before --diff narrow it down; a file that git does "
        "not track is left out unless it is named",
    )
    review.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="PATTERN",
        help="leave out files by path, such as 'tests/data/*' (* goes across folders); may be repeated; with --diff, "
        "also what [tool.memory-review] exclude lists in pyproject.toml as BASE has it",
    )
    review.add_argument(
        "--format",
        choices=FORMATS,
        default="text",
        help="text for people; json; sarif 2.1.0; github: annotations, and the summary of a workflow's job",
    )
    review.add_argument("--fail-on-findings", action="store_true", help="exit with 1 if there are findings")
    review.add_argument(
        "--propose",
        nargs="?",
        const=f"review of {datetime.now():%Y-%m-%d %H:%M}",
        type=_proposal_name,
        metavar="NAME",
        help="what it learns waits under this name for memory approve, and nobody else reads it before",
    )
    review.add_argument(
        "--to",
        type=Path,
        metavar="FILE",
        help="also write what is proposed to FILE, for memory approve --from; without a proposal there is no FILE",
    )
    review.set_defaults(run=run_review, error=review.error)


def _proposal_name(text: str) -> str:
    if not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r} is not one line of printable text")
    return text


def run_review(arguments: argparse.Namespace) -> int:
    """Review, print the report, and say how it ended: 2 comes before 1, and what was found is printed in any case."""
    if not arguments.files and arguments.diff is None:
        arguments.error("name the files to review, or give --diff")
    if arguments.to is not None and arguments.propose is None:
        arguments.error("--to goes with --propose")
    selection = _selection(arguments)
    _check_memory(arguments.memory.directory, selection)
    outcome = _outcome(arguments, selection)
    _print(outcome.report, arguments.format)
    if isinstance(outcome.stopped_by, KeyboardInterrupt):
        raise outcome.stopped_by
    if arguments.propose is not None:
        _hand_on(arguments)
    if outcome.stopped_by is not None:
        raise CommandError(str(outcome.stopped_by))
    if outcome.report.not_reviewed:
        names = ", ".join(as_name(file.file) for file in outcome.report.not_reviewed[:5])
        more = ", ..." if len(outcome.report.not_reviewed) > 5 else ""
        count = counted(len(outcome.report.not_reviewed), "file")
        raise CommandError(f"{count} could not be reviewed: {names}{more}.")
    return int(arguments.fail_on_findings and bool(outcome.report.findings))


def _selection(arguments: argparse.Namespace) -> Selection:
    if arguments.diff is None:
        return named_files(arguments.files, arguments.exclude)
    return changed_files(arguments.diff, Path.cwd(), arguments.files, arguments.exclude)


def _check_memory(memory: Path | None, selection: Selection) -> None:
    """Refuse a memory directory that the branch under review could bring along."""
    if selection.top is None or memory is None:
        return
    named, real = Path(os.path.normpath(memory.absolute())), memory.resolve()
    for folder in (named, *named.parents, real, *real.parents):
        if folder.exists() and folder.samefile(selection.top):
            raise CommandError(
                f"{memory} is inside the repository under review, whose author could write its notes; "
                "name a directory outside of it with --memory."
            )


def _outcome(arguments: argparse.Namespace, selection: Selection) -> Outcome:
    from rich.console import Console

    terminal = Console(stderr=True)
    with_bar = len(selection.targets) > 1 and terminal.is_terminal and not terminal.is_dumb_terminal
    reviewer = connect_reviewer(
        arguments,
        said=sys.stdout if arguments.format == "text" else sys.stderr,
        done=io.StringIO() if with_bar else sys.stderr,
    )
    with _bar(terminal, len(selection.targets)) if with_bar else contextlib.nullcontext(_say_file) as on_file:
        return carry_out(reviewer, selection, symptom=arguments.symptom, base=arguments.diff, on_file=on_file)


@contextlib.contextmanager
def _bar(terminal: Console, files: int) -> Iterator[Callable[[Target], None]]:
    """A progress bar, and what moves it on to the next file."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(
        *columns, console=terminal, transient=True, redirect_stdout=False, redirect_stderr=False
    ) as bar:
        task = bar.add_task("Reviewing", total=files)
        started = 0

        def on_file(target: Target) -> None:
            nonlocal started
            bar.update(task, description=f"Reviewing {as_name(target.name)[-60:]}", completed=started)
            started += 1

        yield on_file


def _say_file(target: Target) -> None:
    say(f"Reviewing {as_name(target.name)}", sys.stderr)


def _print(report: Report, format: str) -> None:
    with writing():
        match format:
            case "text":
                from memory_demo.report_text import print_report

                print_report(report, sys.stdout)
            case "json":
                print(as_json(as_document(report)))
            case "sarif":
                from memory_demo.report_sarif import as_sarif

                print(as_json(as_sarif(report)))
            case "github":
                from memory_demo.report_github import as_commands

                print("".join(f"{line}\n" for line in as_commands(report)), end="")
        sys.stdout.flush()  # here and not on the way out, where nobody would hear that it fails
    if format == "github":
        _summarise(report)


def _summarise(report: Report) -> None:
    from memory_demo.report_github import add_to_summary
    from memory_demo.report_text import as_text

    if not add_to_summary("Review", as_text(report).plain):
        add_to_summary("Review", "The report is too long to be shown here: the annotations have it.")


def _hand_on(arguments: argparse.Namespace) -> None:
    """Show what was proposed where people look at a build, and write it to a file: only what they can have seen."""
    proposals = guarded_memory(store=arguments.memory.store()).proposals
    if all(proposal.name != arguments.propose for proposal in proposals.list()):
        say("Nothing was proposed.", sys.stderr)
        return
    files = proposals.diff(arguments.propose)
    if arguments.format == "github" and not _shown(as_proposed(files)):
        raise CommandError("What was proposed is too long for a summary, so it is not handed on.")
    if arguments.to is not None:
        from memory_demo.proposal_file import write_proposal

        write_proposal(arguments.to, arguments.propose, files)


def _shown(proposed: str) -> bool:
    from memory_demo.report_github import add_to_summary

    return add_to_summary("Proposed to the memory", printable(proposed))
