"""Which findings hold, which are excused by another file, and which file has to be looked at first."""

from __future__ import annotations

import sys
from typing import NamedTuple

from memory_demo.reviewer.checks import EXCUSES, Finding, find_bugs
from memory_demo.reviewer.desk import Desk, Source, Use, is_path_of
from memory_demo.reviewer.notes import Fact


class Excuse(NamedTuple):
    """A finding that another file excuses, and the note that said so, "" if none did."""

    finding: Finding
    offer: str
    file: str
    note: str


class Contradiction(NamedTuple):
    """A line of memory that the file it speaks of shows to be wrong."""

    fact: Fact
    shown: str


class Verdict(NamedTuple):
    """What to report of a source, what is excused, which notes were wrong, and what to ask before that is certain.

    `looked_at` are the other files that this was judged by.
    """

    reported: tuple[Finding, ...]
    excused: tuple[Excuse, ...]
    contradicted: tuple[Contradiction, ...]
    open: tuple[Use, ...]
    looked_at: frozenset[str]


class _Judged(NamedTuple):
    holds: bool
    excuse: Excuse | None = None
    open: Use | None = None
    contradicted: tuple[Contradiction, ...] = ()
    looked_at: str = ""


def judge(desk: Desk, source: Source) -> Verdict:
    """Judge what the checks find of the forms that are looked for. Raises SyntaxError for what is not Python."""
    found = [finding for finding in find_bugs(source.code) if finding.form in desk.forms]
    judged = [_judge(desk, source, finding) for finding in found]
    return Verdict(
        reported=tuple(finding for finding, one in zip(found, judged, strict=True) if one.holds),
        excused=tuple(one.excuse for one in judged if one.excuse),
        contradicted=tuple(dict.fromkeys(c for one in judged for c in one.contradicted)),
        open=tuple({one.open.words: one.open for one in judged if one.open}.values()),
        looked_at=frozenset(one.looked_at for one in judged if one.looked_at),
    )


def _judge(desk: Desk, source: Source, finding: Finding) -> _Judged:
    """Nothing but the file itself excuses a finding; that it does not excuse it, a note on the unchanged file may say."""
    if finding.depends is None:
        return _Judged(True)
    module, name = finding.depends
    facts = [fact for fact in desk.facts if _is_about(fact, module, name)]
    module = module or next((fact.file for fact in facts), "")
    is_library = module.partition(".")[0] in sys.stdlib_module_names
    if not module or is_library or "list_sources" not in desk.tools:
        return _Judged(finding.if_unseen)
    part = f"{module.removesuffix('.py').strip('.').replace('.', '/').rpartition('/')[2]}.py"
    if part not in desk.listed:
        return _ask(desk, finding, Use("list_sources", {"containing": part}, f"Listing {part}."))
    file = next((path for path in desk.listed[part] if is_path_of(path, module) and path != source.name), "")
    if not file:
        return _Judged(finding.if_unseen)
    sha256 = desk.listed[part][file]
    if _is_noted(desk, finding, file, sha256):
        return _Judged(True)
    if file not in desk.seen or desk.seen[file].sha256 != sha256:
        return _ask(
            desk, finding, Use("read_source", {"path": file}, f"Reading {file} to judge its callers.")
        )
    return _by_sight(desk, finding, file, facts)


def _by_sight(desk: Desk, finding: Finding, file: str, facts: list[Fact]) -> _Judged:
    offers = desk.seen[file].offers
    name = (finding.depends or ("", ""))[1]
    shown = next((offer for key, offer in offers.items() if key == name or key.endswith(f".{name}")), "")
    wrong = tuple(
        Contradiction(fact, shown or "offers nothing of the kind") for fact in facts if fact.offer != shown
    )
    if shown in EXCUSES:
        note = next((fact.path for fact in facts if fact.offer == shown), "")
        return _Judged(
            False, Excuse(finding, f"`{name}` {shown}", file, note), contradicted=wrong, looked_at=file
        )
    return _Judged(finding.if_unseen or shown != "", contradicted=wrong, looked_at=file)


def _is_noted(desk: Desk, finding: Finding, file: str, sha256: str) -> bool:
    """Whether a note on this very version of the file says that nothing in it excuses the finding."""
    noted = {f.name: f.offer for f in desk.facts if f.sha256 == sha256 and is_path_of(file, f.file)}
    name = (finding.depends or ("", ""))[1]
    offer = next((offer for key, offer in noted.items() if key == name or key.endswith(f".{name}")), "")
    return offer not in EXCUSES if offer else bool(noted) and finding.if_unseen


def _ask(desk: Desk, finding: Finding, use: Use) -> _Judged:
    return _Judged(finding.if_unseen, open=use if desk.may_ask([use]) else None)


def _is_about(fact: Fact, module: str, name: str) -> bool:
    if module and not is_path_of(fact.file, module):
        return False
    return fact.name == name or fact.name.endswith(f".{name}")
