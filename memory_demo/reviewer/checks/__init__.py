"""The forms of bug that can be recognised in code, each by a check of its own, and what files offer to their callers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from memory_demo.reviewer.checks import house_rules, races, shared_state, sql_text
from memory_demo.reviewer.checks.code import Code, Finding
from memory_demo.reviewer.checks.offers import EXCUSES, offers

__all__ = ["EXCUSES", "Finding", "find_bugs", "offers_of"]

_RACES = (races.lost_updates, races.stale_reads, races.checks_then_acts, races.unguarded_calls)
_SHARED = (shared_state.mutable_defaults, shared_state.class_level_containers)
_CHECKS = (*_RACES, *_SHARED, sql_text.sql_from_values, house_rules.money_as_float)


@lru_cache(maxsize=512)
def find_bugs(source: str) -> tuple[Finding, ...]:
    """Bugs of every form, by line. Raises SyntaxError for what is not Python or too deep to follow."""
    code = Code(source)
    found = {finding for check in _CHECKS for finding in check(code)}
    return tuple(sorted(found, key=lambda finding: finding[1:5]))


@lru_cache(maxsize=512)
def offers_of(source: str) -> Mapping[str, str]:
    """What a file offers to its callers, by function or `Class.method`; nothing for what is not Python."""
    try:
        return offers(Code(source))
    except SyntaxError:
        return {}
