"""A report as SARIF 2.1.0, which GitHub's code scanning and many editors read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from memory_demo.review_report import Finding, Report
from memory_demo.review_targets import NotReviewed

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def as_sarif(report: Report) -> dict[str, Any]:
    """The report as a SARIF log. What the base has too is `unchanged` in it, what was not reviewed a notification."""
    results = [*_results(report, report.findings, "new"), *_results(report, report.existing, "unchanged")]
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "memory-review",
                        "fullName": f"memory-review, answered by {report.reviewer}",
                        "rules": [{"id": id} for id in sorted({result["ruleId"] for result in results})],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": results,
                "invocations": [
                    {
                        "executionSuccessful": not report.not_reviewed,
                        "toolExecutionNotifications": [_notification(file) for file in report.not_reviewed],
                    }
                ],
            }
        ],
    }


def _results(report: Report, findings: tuple[Finding, ...], state: str) -> Iterator[dict[str, Any]]:
    for finding in findings:
        region = {"startLine": finding.line, "startColumn": finding.column, "endLine": finding.end_line}
        result = {
            "ruleId": finding.category,
            "level": "error" if state == "new" else "note",
            "message": {"text": f"{finding.cause} Fix: {finding.fix}"},
            "locations": [_location(report.path(finding.file), region)],
            "properties": {"note": finding.note},
        }
        yield result if report.base is None else {**result, "baselineState": state}


def _notification(file: NotReviewed) -> dict[str, Any]:
    return {
        "level": "error",
        "message": {"text": f"The file {file.reason}, so it was not reviewed."},
        "locations": [_location(file.path)],
    }


def _location(path: str, region: dict[str, int] | None = None) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": quote(os.fsencode(path)), "uriBaseId": "%SRCROOT%"}}
    return {"physicalLocation": place if region is None else {**place, "region": region}}
