"""A report as people read it: in colour on a terminal, plain elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO

from rich.console import Console
from rich.text import Text

from memory_demo.review_report import Finding, Report, Review, as_name, counted, printable, total_cost

_AROUND = 2
_MARKED = 6
_WIDTH = 160


def print_report(report: Report, out: TextIO) -> None:
    """Print a report, with colour if `out` is a terminal that takes it and NO_COLOR is not set."""
    text = as_text(report)
    console = Console(file=out, highlight=False, soft_wrap=True)
    if console.is_terminal and not (console.no_color or console.is_dumb_terminal):
        console.print(text)
    else:
        print(text.plain, file=out, flush=True)


def as_text(report: Report) -> Text:
    """The whole report. Nothing in it can steer a terminal, or a build that shows it."""
    return Text("\n").join(_parts(report))


def _parts(report: Report) -> Iterator[Text]:
    if report.base is None:
        for review in report.reviews:
            yield _answer(review)
    for finding in report.findings:
        yield _finding(report, finding)
    if report.existing:
        yield _heading("The base has these too, so they are not the change's:")
        for finding in report.existing:
            yield _title(finding)
        yield Text()
    if report.not_reviewed:
        yield _heading("Not reviewed:")
        for file in report.not_reviewed:
            yield _line(f"{as_name(file.file)} {file.reason}.")
        yield Text()
    if report.excluded:
        yield _heading("Excluded:")
        for name in report.excluded:
            yield _line(as_name(name))
        yield Text()
    yield _end(report)


def _end(report: Report) -> Text:
    if not (report.targets or report.not_reviewed):
        return _line(
            f"No Python file in scope has changed since {report.base}."
            if report.base
            else "There is nothing to review."
        )
    found = counted(len(report.findings), "finding")
    return _line(f"{found} in {counted(len(report.reviews), 'file')}. Cost: {total_cost(report.reviews)}")


def _answer(review: Review) -> Text:
    return Text.assemble((f"{as_name(review.file)}\n", "bold"), printable(f"\n{review.text}\n"))


def _finding(report: Report, finding: Finding) -> Text:
    lines = [_title(finding), *_excerpt(report, finding), _line(f"    fix: {_one_line(finding.fix)}")]
    if finding.note:
        lines.append(_line(f"    note: {as_name(finding.note)}"))
    return Text("\n").join([*lines, Text()])


def _title(finding: Finding) -> Text:
    where = f"{as_name(finding.file)}:{finding.line}:{finding.column}: "
    return Text.assemble(
        (printable(where), "bold"), (f"{_one_line(finding.category)}: ", "bold red"), _one_line(finding.cause)
    )


def _excerpt(report: Report, finding: Finding) -> Iterator[Text]:
    """The code around a finding, its lines marked."""
    target = report.targets.get(finding.file)
    lines = [] if target is None else target.text.removesuffix("\n").split("\n")
    last = min(finding.end_line, finding.line + _MARKED - 1)
    for number in range(max(1, finding.line - _AROUND), min(len(lines), last + _AROUND) + 1):
        code = printable(lines[number - 1].expandtabs(4))[:_WIDTH]
        if finding.line <= number <= finding.end_line:
            yield Text.assemble((f"  > {number:4} | {code}".rstrip(), "yellow"))
        else:
            yield Text.assemble((f"    {number:4} | {code}".rstrip(), "dim"))


def _heading(words: str) -> Text:
    return Text(words, "bold")


def _line(words: str) -> Text:
    return Text(printable(words))


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))
