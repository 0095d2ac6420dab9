"""The forms of bug that the reviewer knows: what they are called, how a note describes them, why they go wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Form:
    """One form of bug, found by one check.

    `line` is how a note describes it. A line of a note speaks of the form if it holds one of `names` and all of `signs`,
    which say how to recognise it. `cause` is filled with where a finding is and what it is about.
    """

    key: str
    title: str
    line: str
    names: re.Pattern[str]
    signs: tuple[re.Pattern[str], ...]
    cause: str
    fix: str

    def described_in(self, line: str) -> bool:
        """Whether a line of a note names this form and says how to recognise it."""
        return bool(self.names.search(line)) and all(sign.search(line) for sign in self.signs)


@dataclass(frozen=True)
class Category:
    """A kind of bug: its forms, and the memory file that a lesson about it goes into."""

    key: str
    title: str
    file: str
    heading: str
    fix: str
    forms: tuple[Form, ...] = field(repr=False)


def _form(key: str, title: str, line: str, names: str, signs: Sequence[str], cause: str, fix: str) -> Form:
    patterns = tuple(re.compile(sign, re.IGNORECASE) for sign in signs)
    return Form(key, title, line, re.compile(names, re.IGNORECASE), patterns, cause, fix)


_HOLD = "Hold one lock over the read and the write, or return values and combine them in one place."
_HOLD_ASYNC = "Read again after the await, or hold one asyncio.Lock over the read, the await and the write."
_PASS = "Put a placeholder into the text and pass the value as a parameter of execute()."
_BUILT = "A statement is built from values that a caller chose"
_SQL = r"\bsql\b|statement|quer(y|ies)|\bwhere\b|\bin (list|clause)"
_VALUES = r"value|input|variable|caller|param|name"

RACES = Category(
    "race-condition",
    "race conditions",
    "race_conditions.md",
    "# Race conditions",
    "One lock over the read, the decision and the write; or one place that combines the results.",
    (
        _form(
            "lost-update",
            "lost updates",
            "**Lost update**: threads or pool workers read shared state and write back what they made of it (`x += 1`, "
            "`d[key] = f(d.get(key))`), and no lock covers the two.",
            r"lost[- ]updates?|read[-/ ]modify[-/ ]write|race condition|data race|(unlocked|unsynchroni[sz]ed) (update|write|increment)",
            (
                r"thread|worker|\bpool\b",
                r"\bread|\+=|\bget\(|increment|modify",
                r"\block|mutex|atomic|unlocked|unsynchroni",
            ),
            "`{where}`, which several threads run, reads `{what}` and writes it back with no lock: what others write in "
            "between is lost.",
            _HOLD,
        ),
        _form(
            "stale-read",
            "stale reads across an await",
            "**Stale read**: a coroutine reads shared state, awaits, then writes back what it made of the old value; "
            "without an `await` in between it is none.",
            r"stale|lost[- ]updates?|read[-/ ]modify[-/ ]write|race condition|across (an|the) `?await|interleav",
            (r"`?await|coroutine|asyncio", r"\bread", r"writ|updat|assign|stor(e|es|ed|ing)\b"),
            "`{where}`, which several tasks run, reads `{what}`, awaits, and writes back what it made of the old value: "
            "what others write meanwhile is lost.",
            _HOLD_ASYNC,
        ),
        _form(
            "check-then-act",
            "check-then-act",
            "**Check-then-act**: `if key not in d: d[key] = ...` tests shared state and then changes it, in workers or over "
            "an await, and no lock covers both.",
            r"check[- ]then[- ](act|set|write|load|insert)|test[- ]and[- ]set|toctou|time[- ]of[- ]check|lazy (init|load)",
            (
                r"\bif\b|\btests?\b|\bchecks?\b",
                r"chang|\bset|writ|insert|assign|load|=",
                r"thread|await|\block|concurren|task",
            ),
            "`{where}` runs several times at once, and no lock covers the test of `{what}` and the change: all that find it "
            "unset go on to set it.",
            "Hold one lock over the test and the change.",
        ),
        _form(
            "unguarded-call",
            "unguarded calls of a shared object",
            "**Unguarded call**: threads call a method of one shared object that another file defines; see there whether the "
            "method holds its own lock.",
            r"(unguarded|unlocked|unprotected) (method )?calls?|calls? .{0,30}method .{0,30}(shared|another|other)",
            (r"thread|worker|\bpool\b", r"method|calls?\b", r"\block"),
            "`{where}`, which several threads run, calls `{what}` with no lock, and that changes its object without one.",
            "Hold a lock around the call, or make the method hold its own.",
        ),
    ),
)

SQL = Category(
    "sql-injection",
    "SQL injection",
    "sql_injection.md",
    "# SQL injection",
    "A placeholder in the text, the value in the parameters of execute(). Names of columns: look them up in a fixed set.",
    (
        _form(
            "sql-text",
            "values in f-strings and sums",
            "**Value in the text**: a statement is put together from values by an f-string or by `+`; quotes around a value do "
            "not help.",
            r"injection|interpolat|concatenat|f-strings?|values? in the (text|sql|query|statement)",
            (r"f-string|`\+`|concatenat|interpolat", _SQL, _VALUES),
            f"{_BUILT}: `{{where}}` puts `{{what}}` into the text, so a quote in it changes the statement.",
            _PASS,
        ),
        _form(
            "sql-format",
            "values by % and .format()",
            "**Formatted statement**: `%` or .format() puts values into a statement before execute() sees it.",
            r"injection|formatted|%[- ]?format|\.?format\(\)|percent",
            (r"`?%`? |%-|\bformat\b|\.format|percent", _SQL, _VALUES),
            f"{_BUILT}: `{{where}}` formats `{{what}}` into the text, so a quote in it changes the statement.",
            _PASS,
        ),
        _form(
            "sql-join",
            "joined lists of values",
            "**Joined list**: join() strings values together for an IN list or a WHERE clause.",
            r"injection|joined|join\(\)|\bin[- ](list|clause)",
            (r"join", _SQL, _VALUES),
            f"{_BUILT}: `{{where}}` joins `{{what}}` into the text, so a quote in one of them changes the statement.",
            "Put in one placeholder for each value, or pass the list as one parameter.",
        ),
    ),
)

SHARED = Category(
    "shared-mutable-state",
    "shared mutable state",
    "shared_mutable_state.md",
    "# Shared mutable state",
    "Default None, or a copy of what was handed in. Bind containers in __init__.",
    (
        _form(
            "mutable-default",
            "mutable defaults",
            "**Mutable default**: a default such as `items=[]` is made once; if the function changes it or keeps it, all calls "
            "that rely on it share it.",
            r"mutable default|default (argument|parameter|value|list|dict)",
            (
                r"default",
                r"\[\]|\{\}|\blists?\b|\bdict|\bsets?\b|mutable|container",
                r"chang|mutat|append|keeps?\b|once|shar",
            ),
            "The default of `{what}` in `{where}` is made once and changed by the calls that rely on it, so each sees what the "
            "ones before it left.",
            "Default None and make the container in the body, or copy what was handed in.",
        ),
        _form(
            "class-level-container",
            "containers in a class body",
            "**Container in a class body**: `entries = {}` there is one object for all instances; look for methods that change "
            "it through self and an __init__ that never binds it.",
            r"class[- ](level|body|attribute|variable)|class-wide|container in (a|the) class",
            (r"class", r"\[\]|\{\}|\blists?\b|\bdict|\bsets?\b|mutable|container", r"instance|\bself\b|shar"),
            "`{what}` in the body of `{where}` is one object for all instances, and methods change it through self, so each "
            "instance sees the entries of every other.",
            "Bind the container in __init__.",
        ),
    ),
)

HOUSE = Category(
    "house-rule",
    "house rules",
    "house_rules.md",
    "# House rules",
    "As the rule says.",
    (
        _form(
            "money-as-float",
            "money as float",
            "Money is never a float here: whole cents or Decimal.",
            r"money|amounts?|prices?|currency",
            (r"\bfloats?\b", r"\bnever\b|\bno\b|\bnot\b|avoid|must|decimal|cents"),
            "`{what}` in `{where}` is money in a float, which a rule of the house forbids: cents get lost in rounding.",
            "Use whole cents or Decimal.",
        ),
    ),
)

CATEGORIES: tuple[Category, ...] = (RACES, SQL, SHARED, HOUSE)
FORMS: Mapping[str, Form] = {form.key: form for category in CATEGORIES for form in category.forms}
CATEGORY_OF: Mapping[str, Category] = {
    form.key: category for category in CATEGORIES for form in category.forms
}
BY_KEY: Mapping[str, Category] = {category.key: category for category in CATEGORIES}


def what_it_knows() -> str:
    """What the offline reviewer can find, for people who are about to rely on it."""
    known = "; ".join(
        f"{category.title} ({', '.join(form.title for form in category.forms)})" for category in CATEGORIES
    )
    return (
        f"It knows a few forms of bug and no others: {known}. It looks for those that the request or memory speaks of. "
        "A key in ANTHROPIC_API_KEY gives a real review."
    )
