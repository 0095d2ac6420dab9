"""A report for GitHub Actions: workflow commands, which become annotations of a pull request, and the summary of a job."""

from __future__ import annotations

import html
import os
from collections.abc import Iterator
from pathlib import Path

from memory_demo.review_report import Finding, Report, as_name, printable

# actions/toolkit, packages/core/src/command.ts. The percent sign comes first.
_DATA = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_PROPERTY = {**_DATA, ":": "%3A", ",": "%2C"}

# Of what one step writes; past it GitHub shows nothing of that.
SUMMARY_BYTES = 1024 * 1024


def as_summary(heading: str, text: str) -> str:
    """A `printable` text as HTML in which nothing but its frame is markup: no Markdown, no mention, no way out of it."""
    return f"### {heading}\n\n<pre>\n{html.escape(text)}\n</pre>\n"


def add_to_summary(heading: str, text: str) -> bool:
    """Add a `printable` text to the summary, if there is one; False, and nothing added, if it is too long to be shown."""
    place = os.environ.get("GITHUB_STEP_SUMMARY")
    if not place:
        return True
    page, added = Path(place), as_summary(heading, text).encode("utf-8", "replace")
    if (page.stat().st_size if page.exists() else 0) + len(added) > SUMMARY_BYTES:
        return False
    with page.open("ab") as file:
        file.write(added)
    return True


def as_commands(report: Report) -> Iterator[str]:
    """One command a line: errors for what fails the build, notices for the rest."""
    for finding in report.findings:
        yield _about_finding("error", report, finding, "")
    for finding in report.existing:
        yield _about_finding("notice", report, finding, "The base has this too. ")
    for file in report.not_reviewed:
        yield _command("error", f"{as_name(file.path)} {file.reason}.", file=file.path, title="not reviewed")
    for name in report.excluded:
        yield _command("notice", f"{as_name(name)} is excluded from the review.", title="excluded")


def _about_finding(level: str, report: Report, finding: Finding, before: str) -> str:
    note = f"\nNote: {as_name(finding.note)}" if finding.note else ""
    return _command(
        level,
        f"{before}{finding.cause}\nFix: {finding.fix}{note}",
        file=report.path(finding.file),
        line=str(finding.line),
        endLine=str(finding.end_line),
        col=str(finding.column),
        title=finding.category,
    )


def _command(level: str, message: str, **properties: str) -> str:
    given = ",".join(f"{name}={_escaped(as_name(value), _PROPERTY)}" for name, value in properties.items())
    return f"::{level} {given}::{_escaped(printable(message), _DATA)}"


def _escaped(text: str, escapes: dict[str, str]) -> str:
    return "".join(escapes.get(c, c) for c in text)
