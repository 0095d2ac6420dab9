"""What people notice, and which kind of bug it points to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

Stems: TypeAlias = tuple[str, ...]
"""Beginnings of words, any of which will do."""


def _stems(words: str) -> Stems:
    return tuple(words.split())


_LOST = _stems(
    "fewer less low miss lost lose losing drop vanish disappear short below undercount incomplete gone"
)
_AMOUNTS = _stems(
    "result record item row entr count total sum event update page number figure order stat metric balance amount sale pages"
)
_VARIES = _stems("differ var random inconsistent unstable chang")
_NOW_AND_THEN = _stems("sometimes occasional random rarely intermittent sporadic")
_AT_ONCE = _stems("thread worker concurren parallel simultaneous load traffic gather async race")
_WRONG = _stems("wrong fail break broke corrupt crash error incorrect off mismatch not don't")
_TWICE = _stems("twice double duplicat same two both")
_DONE = _stems("charg sen book process fetch creat giv gave assign spen count request log pay paid")
_QUOTES = _stems("quote apostrophe o' d'")
_OTHERS = _stems("other another everyone everybody theirs someone somebody foreign all")
_OWNED = _stems("row record customer user tenant account order people data team compan")
_SHOWN = _stems("return match show see saw list get got leak find found read")
_QUERY = _stems("sql quer statement database where select")
_FROM_OUTSIDE = _stems("user client form web caller outside request")
_HOSTILE = _stems("untrusted malicious hostile attack hack inject exploit")
_STILL = _stems(
    "already still keep kept remember previous earlier first old yesterday leftover retain carr stale grow before"
)
_NEW = _stems("new fresh empty second next another other different separate every each")
_THINGS = _stems("instance object cache call basket report session test tenant registr setting")
_SPREADS = _stems("leak bleed share sharing spill spread mix")

_NAMES: Mapping[str, str] = {
    "race-condition": r"races?( conditions?)?|racing|racy|lost updates?|thread[- ]?safe\w*|concurrency bugs?|check[- ]then[- ]act"
    r"|flak\w+|heisenbugs?|non-?determin\w+",
    "sql-injection": r"(sql )?injections?|sqli|unparameteri[sz]ed",
    "shared-mutable-state": r"shared (mutable )?state|mutable (default|class)\w*|default arguments?|class[- ]level|alias(ing|ed)",
}
_SYMPTOMS: Mapping[str, Sequence[tuple[Stems, ...]]] = {
    "race-condition": (
        (_LOST, _AMOUNTS),
        (_AMOUNTS, _VARIES, ("run", "time", "execution", "day")),
        (("com", "result", "vary", "varies"), _VARIES, ("run", "time", "execution")),
        (_NOW_AND_THEN, (*_WRONG, *_LOST)),
        (_AT_ONCE, (*_WRONG, *_LOST)),
        (("under",), ("load", "traffic", "concurren")),
        (_TWICE, _DONE),
    ),
    "sql-injection": (
        (_QUOTES, (*_WRONG, *_SHOWN, "syntax", "cannot")),
        (_SHOWN, _OTHERS, _OWNED),
        (("syntax",), ("sql", "quer", "sqlite", "database", "near")),
        (_FROM_OUTSIDE, ("input", "supplied", "typed", "text"), _QUERY),
        (("drop", "delet", "wip"), ("table",)),
        (_HOSTILE, (*_QUERY, "input", "clause", "search")),
    ),
    "shared-mutable-state": (
        (_SPREADS, (*_THINGS, "user")),
        (_NEW, _STILL, (*_THINGS, "item", "entr", "list")),
        (_STILL, ("between", "previous", "earlier", "last", "first"), ("call", "value", "entr", "run", "item")),
        (("test",), ("order", "alone", "isolation", "together"), ("pass", "fail", "depend")),
        (("one", "single"), ("everybody", "everyone", "all", "other", "another"), ("appear", "show", "get", "hold", "has", "see")),
    ),
}  # fmt: skip


def kinds_in(request: str) -> dict[str, str]:
    """Categories that a request names or shows a symptom of, each with the words that say so."""
    found = {}
    for category, names in _NAMES.items():
        named = re.search(rf"\b(?:{names})\b", request, re.IGNORECASE)
        words = named[0] if named else _symptom_in(request, _SYMPTOMS[category])
        if words:
            found[category] = words
    return found


def _symptom_in(request: str, symptoms: Sequence[tuple[Stems, ...]]) -> str:
    for sentence in re.split(r"[.;!?\n]+(?:\s|$)", request):
        words = re.findall(r"[\w']+", sentence)
        for symptom in symptoms:
            if shown := _shown(words, symptom):
                return shown
    return ""


def _shown(words: Sequence[str], symptom: tuple[Stems, ...]) -> str:
    """The words that show a symptom, one of its own for each of its stems, or ""."""
    picked: list[int] = []
    for stems in symptom:
        hits = (i for i, word in enumerate(words) if word.lower().startswith(stems) and i not in picked)
        hit = next(hits, None)
        if hit is None:
            return ""
        picked.append(hit)
    return " ".join(words[i] for i in sorted(picked))
