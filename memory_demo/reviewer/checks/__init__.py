"""The forms of bug that can be recognised in code, each by a check of its own, and what files offer to their callers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache

from memory_demo.reviewer.checks import house_rules, races, shared_state, sql_text
from memory_demo.reviewer.checks.code import Code, Dependency, Finding
from memory_demo.reviewer.checks.offers import EXCUSES, offers

__all__ = ["EXCUSES", "Dependency", "Finding", "find_bugs", "offers_of"]

_CHECKS: Mapping[str, Callable[[Code], Iterator[Finding]]] = {
    "lost-update": races.lost_updates,
    "stale-read": races.stale_reads,
    "check-then-act": races.checks_then_acts,
    "unguarded-call": races.unguarded_calls,
    "sql-text": sql_text.sql_from_values,
    "sql-format": sql_text.sql_from_values,
    "sql-join": sql_text.sql_from_values,
    "mutable-default": shared_state.mutable_defaults,
    "class-level-container": shared_state.class_level_containers,
    "money-as-float": house_rules.money_as_float,
}


@lru_cache(maxsize=512)
def find_bugs(source: str, forms: frozenset[str] = frozenset(_CHECKS)) -> tuple[Finding, ...]:
    """Bugs of these forms in `source`, by line. Raises SyntaxError for what is not Python or too deep to follow."""
    code = Code(source)
    checks = dict.fromkeys(_CHECKS[form] for form in _CHECKS if form in forms)
    found = {finding for check in checks for finding in check(code) if finding.form in forms}
    return tuple(sorted(found, key=lambda finding: finding[:5]))


@lru_cache(maxsize=64)
def offers_of(source: str) -> Mapping[str, str]:
    """What a file offers to its callers, by function or `Class.method`; nothing for what is not Python."""
    try:
        return offers(Code(source))
    except SyntaxError:
        return {}
