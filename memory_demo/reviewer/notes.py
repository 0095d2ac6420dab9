"""Notes as the reviewer reads them, line by line, and as it writes them.

A line can do one of two things. It can describe a form of bug, which switches on that check. Or it can state what a
function of a named file offers to its callers. Headings, stories, single words and what is struck out do nothing, and no
line switches anything off. That a line denies a form is known by a list of words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from memory_demo.reviewer.checks import Finding
from memory_demo.reviewer.checks.offers import ESCAPES, LOCKS, RAW, UNLOCKED
from memory_demo.reviewer.forms import FORMS, Category

FILES_NOTE = "what_files_offer.md"
FILES_HEADING = "# What files offer to their callers"
NOTHING_OFFERED = "nothing that guards or endangers a caller"


class Fact(NamedTuple):
    """What a line of memory says that `name` in `file` offers; `name` is "" where it says that there is nothing.

    `sha256` is that of the file the line was written from, "" if the line does not say.
    """

    path: str
    line: str
    file: str
    sha256: str
    name: str
    offer: str


_STORY = re.compile(
    r"\b(yesterday|(mon|tues|wednes|thurs|fri|satur|sun)day|last (night|week|month|year|sprint)|\w+ ago|happened"
    r"|we (saw|watched|had|met|found|fixed|hit|lost))\b",
    re.IGNORECASE,
)
_DENIAL = re.compile(
    r"\b(harmless|no (problem|risk|race|bug)|not an? (problem|risk|race|bug|issue)|(is|are) (fine|safe|ok|okay|allowed)"
    r"|may be|can be ignored|ignore|retracted|outdated|(was|is|are|were) wrong|no longer"
    r"|(do not|don't|never|no need to|stop|skip) (look|search|report|flag|mention|check|mark)\w*)\b",
    re.IGNORECASE,
)
_STRUCK_OUT = re.compile(r"~~[^\n]+?~~|<!--.*?-->", re.DOTALL)
_BULLET = re.compile(r"\s*(?:[-*+]|\d+[.)])\s+")
_FILE = re.compile(r"[\w./-]*\w\.py\b")
_SHA256 = re.compile(r"\b[0-9a-f]{64}\b")
_NAME = re.compile(r"`([A-Za-z_][\w.]*)(?:\(\))?`")
_OFFERS = {
    UNLOCKED: r"with(out| no) (a|any|its own)? ?lock|no lock|not (hold|take|have)\w* (a|any|its own)? ?lock|does not lock",
    LOCKS: r"(holds|takes|has|uses|keeps) (its|a|one|the)( own)? lock|locks (itself|inside)|is guarded by",
    RAW: r"(does not|doesn't|never) escape|no escaping|escapes nothing|unescaped",
    ESCAPES: r"escapes|doubles (the |all )?(single )?quotes",
}


def lines_of(text: str) -> list[str]:
    """The lines of a note that can say something; an indented line goes on with the bullet above it."""
    lines: list[str] = []
    for line in _STRUCK_OUT.sub("", text).splitlines():
        goes_on = lines and line.startswith("  ") and not _BULLET.match(line) and _BULLET.match(lines[-1])
        if goes_on:
            lines[-1] += f" {line.strip()}"
        elif line.strip() and not line.lstrip().startswith(("#", ">")):
            lines.append(line)
    return lines


def forms_in(text: str) -> dict[str, str]:
    """Keys of the forms that a note describes, each with the line that does."""
    found: dict[str, str] = {}
    for line in lines_of(text):
        if not _STORY.search(line) and not _DENIAL.search(line):
            for form in FORMS.values():
                if form.described_in(line):
                    found.setdefault(form.key, _BULLET.sub("", line, count=1))
    return found


def facts_in(path: str, text: str) -> list[Fact]:
    """What a note at `path` says of functions and methods in named files."""
    return [fact for line in lines_of(text) for fact in _facts(path, line)]


def form_line(key: str) -> str:
    """A form as a line of a note."""
    return f"- {FORMS[key].line}\n"


def lesson(category: Category, found: Sequence[Finding]) -> str:
    """A note about a bug that was seen: its cause and place, and this and the related forms to look for."""
    seen = dict.fromkeys(f"Seen: {cause_of(finding)}\n" for finding in found)
    forms = "".join(form_line(form.key) for form in category.forms)
    return f"{category.heading}\n\n{''.join(seen)}\nLook for:\n{forms}\nFix: {category.fix}\n"


def cause_of(finding: Finding) -> str:
    return FORMS[finding.form].cause.format(where=finding.where, what=finding.what)


def file_line(file: str, sha256: str, offers: Mapping[str, str]) -> str:
    """What a file offers, as a line of a note."""
    offered = "; ".join(f"`{name}` {offer}" for name, offer in sorted(offers.items()))
    return f"- {file} (SHA-256 {sha256}): {offered or NOTHING_OFFERED}.\n"


def _facts(path: str, line: str) -> Iterator[Fact]:
    file = _FILE.search(line)
    if file is None or _STORY.search(line):
        return
    sha256 = _SHA256.search(line)
    about = path, line, file[0], sha256[0] if sha256 else ""
    if NOTHING_OFFERED in line:
        yield Fact(*about, "", "")
    for part in re.split(r";|, (?=and |but |`)", line.replace(f"`{file[0]}`", file[0])):
        name = _NAME.search(part)
        offer = next((offer for offer, words in _OFFERS.items() if re.search(words, part, re.IGNORECASE)), "")
        if name and offer:
            yield Fact(*about, name[1], offer)
