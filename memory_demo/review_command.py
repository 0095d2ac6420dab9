"""`review`: files that a person names, or what git says has changed."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from memory_demo.console import api_errors, connect_reviewer, say
from memory_demo.review_report import Review, as_document, as_text, counted, total_cost
from memory_demo.review_targets import CommandError, changed_lines, check_python


def run_review(arguments: argparse.Namespace) -> int:
    for path in arguments.files:
        check_python(path)
    changed = None if arguments.diff is None else changed_lines(arguments.diff, Path.cwd(), arguments.files)
    paths = dict.fromkeys(arguments.files) if changed is None else _readable(changed)
    out = sys.stderr if arguments.json else sys.stdout
    reviewer = connect_reviewer(arguments, said=out, done=sys.stderr)
    assistant = reviewer.assistant()
    reviews: list[Review] = []
    for path in paths:
        name = str(path) if changed is None else os.path.relpath(path)
        say(f"\nReviewing {name}", out)
        with api_errors():
            review = assistant.review_file(path, arguments.symptom, name=name)
        reviews.append(review if changed is None else review.touching(changed[path]))
        if not arguments.json:
            _print_review(reviews[-1], with_answer=changed is None)
    if not paths:
        say(f"No Python file has changed since {arguments.diff}.", out)
    if arguments.json:
        document = as_document(reviews, reviewer=reviewer.name, offline=reviewer.offline, base=arguments.diff)
        print(json.dumps(document, indent=2))
    elif paths:
        found = sum(len(review.findings) for review in reviews)
        say(f"\n{counted(found, 'finding')} in {counted(len(reviews), 'file')}. Cost: {total_cost(reviews)}")
    stop_if_incomplete(reviews)
    return int(arguments.fail_on_findings and any(review.findings for review in reviews))


def _readable(paths: Iterable[Path]) -> list[Path]:
    """The paths that can be reviewed. The others were not named by anybody, so they do not end the command."""
    readable = []
    for path in paths:
        try:
            check_python(path)
            readable.append(path)
        except CommandError as error:
            say(f"Left out: {error}", sys.stderr)
    return readable


def _print_review(review: Review, *, with_answer: bool) -> None:
    if with_answer:
        say(f"\n{review.text}\n")
    for finding in review.findings:
        say(as_text(finding))
    if review.left_out:
        say(f"Left out as they are not on changed lines: {counted(review.left_out, 'finding')}.")


def stop_if_incomplete(reviews: Sequence[Review]) -> None:
    for review in reviews:
        if review.problem:
            raise CommandError(f"The review of {review.file} is incomplete: {review.problem}.")
