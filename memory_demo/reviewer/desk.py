"""What lies before the reviewer: the request, and what the context shows to have happened since.

What was seen once may be cleared by the next request, so the reviewer says what it has understood beside its tool uses,
as a model would: its own words stay. The lines it says are written and read here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from memory_demo.offline.prompt import Prompt
from memory_demo.reviewer.checks import offers_of
from memory_demo.reviewer.forms import BY_KEY, FORMS
from memory_demo.reviewer.notes import Fact, facts_in, file_line, forms_in
from memory_demo.reviewer.symptoms import kinds_in
from memory_demo.reviewer.transcript import (
    MEMORY_ROOT,
    Call,
    Memory,
    Request,
    calls,
    memory_tool_name,
    offers,
    parse_request,
    replay_memory,
    request_index,
    said,
    text_of,
    use_key,
)

MAX_ASKS = 3
MAX_NOTES = 8
MAX_NOTE_BYTES = 256 * 1024

HEADING = "Rule-based review of "
_BY_TITLE = {form.title: form.key for form in FORMS.values()}
_LEARNT = re.compile(r"^From (/memories/.+?) \((\d+) lines?\): (.*)$", re.M)
_LISTED_NOTES = re.compile(rf"^Files in {MEMORY_ROOT}: (.*)$", re.M)
_RECORDED = re.compile(r"^Recording (.*) in (/memories/.+)\.$", re.M)
_LISTED = re.compile(r"^Listed for (\S+): (.*)$", re.M)
_SEEN = re.compile(r"^Seen: (.*)$", re.M)
_DIGEST = re.compile(r"\n\[(\S+): [\d,]+ bytes, SHA-256 ([0-9a-f]{64})\]\Z")
_ROW = re.compile(r"^(\S+)\t[\d,]+\t([0-9a-f]{64})$", re.M)


class Use(NamedTuple):
    """A tool use to make, and what the reviewer says it is."""

    name: str
    input: Mapping[str, Any]
    words: str

    def block(self) -> dict[str, Any]:
        return {"type": "tool_use", "name": self.name, "input": dict(self.input)}


class Source(NamedTuple):
    """Code under review: the name used for it, and its text."""

    name: str
    code: str


class Reason(NamedTuple):
    """Why a form of bug is looked for: the words of the request that point to it, or the note that describes it."""

    words: str
    note: str = ""

    def __str__(self) -> str:
        return f"{self.note} describes it" if self.note else f'the request says "{self.words}"'


class Note(NamedTuple):
    """What is known of a memory file: its number of lines, the forms it describes, what it says of files."""

    lines: int
    forms: frozenset[str]
    facts: tuple[Fact, ...]


class Seen(NamedTuple):
    """What a file was seen to offer to its callers."""

    sha256: str
    offers: Mapping[str, str]


@dataclass(frozen=True)
class Desk:
    """The request, the tools on offer, and what was done."""

    request: Request
    tools: frozenset[str]
    memory_tool: str | None
    made: tuple[Call, ...]
    """Tool uses since the request."""
    earlier: tuple[Call, ...]
    """Tool uses before it."""
    said: tuple[str, ...]
    """The reviewer's own text blocks since the request."""
    said_before: tuple[str, ...]
    """Its text blocks before it."""
    memory: Memory

    @cached_property
    def notes(self) -> dict[str, Note]:
        """Memory files by path: what their text says, or what the reviewer has said of it or recorded there."""
        known = {}
        for path, lines, words in self._spoken(_LEARNT):
            known[path] = Note(
                int(lines), _forms_named(words), tuple(facts_in(path, words.replace(" | ", "\n")))
            )
        for what, path in self._spoken(_RECORDED):
            note = known.get(path, Note(1, frozenset(), ()))
            known[path] = note._replace(forms=note.forms | _forms_named(what))
        return known | {path: note_of(path, text) for path, text in self.memory.files.items()}

    @cached_property
    def recorded(self) -> list[tuple[str, str]]:
        """What the reviewer has said that it records, each with the path."""
        return self._spoken(_RECORDED, self.said)

    @cached_property
    def files(self) -> list[str] | None:
        """Memory files to open, by the listing or by what the reviewer has said of it; None if both are missing."""
        if self.memory.listing is not None:
            return _to_open(self.memory)
        spoken = self._spoken(_LISTED_NOTES)
        return [name for name in spoken[-1].split("; ") if name != "none"] if spoken else None

    @cached_property
    def forms(self) -> dict[str, Reason]:
        """Keys of the forms of bug to look for, each with the reason."""
        asked = kinds_in(self.request.words)
        found = {form.key: Reason(asked[key]) for key in asked for form in BY_KEY[key].forms}
        for path, note in sorted(self.notes.items()):
            for key in FORMS:
                if key in note.forms:
                    found.setdefault(key, Reason("", path))
        return found

    @cached_property
    def facts(self) -> list[Fact]:
        return [fact for _, note in sorted(self.notes.items()) for fact in note.facts]

    @cached_property
    def sources(self) -> list[Source]:
        """Code under review that is in the context."""
        names = Counter[str]()
        snippets = []
        for fence in self.request.fences:
            name = fence.name or "the snippet"
            names[name] += 1
            snippets.append(Source(name if names[name] == 1 else f"{name} ({names[name]})", fence.code))
        read = {str(call.input.get("path")): call.result for call in _done(self.made, "read_source")}
        return snippets + [
            Source(name, without_digest(read[name])) for name in self.request.files if name in read
        ]

    @cached_property
    def listed(self) -> dict[str, dict[str, str]]:
        """What `list_sources` has given for each part of a path that it was asked for: SHA-256 by path."""
        found = {
            part: dict(row.split(" ") for row in rows.split("; ") if " " in row)
            for part, rows in self._spoken(_LISTED, self.said)
        }
        for call in _done(self.made, "list_sources"):
            found[str(call.input.get("containing", ""))] = dict(_ROW.findall(call.result or ""))
        return found

    @cached_property
    def seen(self) -> dict[str, Seen]:
        """What files offer to their callers, by path, as far as they were read in this conversation."""
        found: dict[str, Seen] = {}
        for line in self._spoken(_SEEN):
            facts = facts_in("", line)
            found |= {
                f.file: Seen(f.sha256, {one.name: one.offer for one in facts if one.name}) for f in facts
            }
        for call in _done((*self.earlier, *self.made), "read_source"):
            if digest := _DIGEST.search(call.result or ""):
                offered = offers_of(without_digest(call.result or ""))
                found[str(call.input.get("path"))] = Seen(digest[2], offered)
        return found

    @cached_property
    def sections(self) -> dict[str, str]:
        """The sections of the answer that were already said, by name of the source."""
        blocks = [block for block in self.said if block.startswith(HEADING)]
        return {block[len(HEADING) :].split(":\n")[0]: block for block in blocks}

    @cached_property
    def unreadable(self) -> dict[str, str]:
        """Files that could not be read, with the reason."""
        if "read_source" not in self.tools:
            return dict.fromkeys(self.request.files, "there is no tool to read it with")
        failed = [call for call in self.made if call.name == "read_source" and call.failed]
        return {str(call.input.get("path")): call.result or "the tool gave an error" for call in failed}

    def asked(self, use: Use) -> int:
        """How often a tool use was made since the request; by the reviewer's words where its input was cleared."""
        key = use_key(use.name, use.input)
        made = sum(use_key(call.name, call.input) == key for call in self.made)
        return max(made, sum(line == use.words for block in self.said for line in block.splitlines()))

    def may_ask(self, uses: Sequence[Use]) -> list[Use]:
        """Those to make next: all that are new at once, and then one at a time what was cleared before it was read."""
        counts = {use.words: self.asked(use) for use in uses if not self.failed(use)}
        allowed = sorted(
            (use for use in uses if counts.get(use.words, MAX_ASKS) < MAX_ASKS), key=lambda u: counts[u.words]
        )
        return [use for use in allowed if not counts[use.words]] or allowed[:1]

    def failed(self, use: Use) -> bool:
        return any(call.failed and call.input == use.input for call in self.made if call.name == use.name)

    def memory_failures(self) -> list[Call]:
        return [call for call in self.made if call.name == self.memory_tool and call.failed]

    def unopened(self) -> list[str]:
        """Memory files that are there, but whose text was never seen: too large, too many, or not to be had."""
        return [path for path in (*self.memory.paths(), *(self.files or ())) if path not in self.notes]

    def understood(self) -> list[str]:
        """Lines that stand for what is in the context now, those that were said before left out."""
        lines = (
            [f"Files in {MEMORY_ROOT}: {'; '.join(self.files) or 'none'}"] if self.files is not None else []
        )
        lines += [_learnt(path, text) for path, text in self.memory.files.items()]
        for call in _done(self.made, "list_sources"):
            part = str(call.input.get("containing", ""))
            rows = "; ".join(f"{path} {sha256}" for path, sha256 in self.listed[part].items())
            lines.append(f"Listed for {part}: {rows or 'none'}")
        read = {str(call.input.get("path")) for call in _done(self.made, "read_source")}
        related = [path for path in self.seen if path in read and path not in self.request.files]
        lines += [f"Seen: {file_line(path, *self.seen[path]).strip()}" for path in related]
        before = {line for block in (*self.said_before, *self.said) for line in block.splitlines()}
        begun = {line.split(" (")[0] for line in before if line.startswith("From ")}
        return [line for line in lines if line not in before and line.split(" (")[0] not in begun]

    def _spoken(self, line: re.Pattern[str], blocks: Sequence[str] | None = None) -> list[Any]:
        """Such lines among what the reviewer has said in this conversation, or in these blocks."""
        searched = (*self.said_before, *self.said) if blocks is None else blocks
        return [found for block in searched for found in line.findall(block)]


def desk_of(prompt: Prompt) -> Desk | None:
    """None if nobody has asked anything."""
    index = request_index(prompt.messages)
    if index < 0:
        return None
    before, since = prompt.messages[:index], prompt.messages[index + 1 :]
    tool = memory_tool_name(prompt)
    earlier, made = calls(before), calls(since)
    return Desk(
        request=parse_request(text_of(prompt.messages[index]["content"])),
        tools=frozenset(n for n in ("read_source", "list_sources", "report_finding") if offers(prompt, n)),
        memory_tool=tool,
        made=tuple(made),
        earlier=tuple(earlier),
        said=tuple(said(since)),
        said_before=tuple(said(before)),
        memory=replay_memory([*earlier, *made], tool),
    )


def note_of(path: str, text: str) -> Note:
    """What the text of a memory file says."""
    return Note(len(text.splitlines()), frozenset(forms_in(text)), tuple(facts_in(path, text)))


def without_digest(text: str) -> str:
    """The text of a source without the line that `read_source` ends with."""
    return _DIGEST.sub("", text)


def is_path_of(path: str, module: str) -> bool:
    """Whether a listed path can be the file of a module, as imported or as a note names it."""
    wanted = PurePosixPath(
        module if module.endswith(".py") else f"{module.strip('.').replace('.', '/')}.py"
    ).parts
    return PurePosixPath(path).parts[-len(wanted) :] == wanted


def _done(made: Sequence[Call], name: str) -> list[Any]:
    return [call for call in made if call.name == name and call.result is not None and not call.failed]


def _learnt(path: str, text: str) -> str:
    """One line that stands for a memory file once its text is gone."""
    note = note_of(path, text)
    titles = [form.title for form in FORMS.values() if form.key in note.forms]
    parts = [f"look for {', '.join(titles)}"] if titles else []
    parts += dict.fromkeys(fact.line for fact in note.facts)
    return f"From {path} ({note.lines} lines): {' | '.join(parts) or 'nothing to use'}"


def _forms_named(words: str) -> frozenset[str]:
    return frozenset(key for title, key in _BY_TITLE.items() if title in words)


def _to_open(memory: Memory) -> list[str]:
    listing = memory.listing or {}
    fit = [path for path in memory.paths() if _bytes(listing.get(path, "0")) <= MAX_NOTE_BYTES]
    return sorted(fit, key=lambda path: not _relates(path))[:MAX_NOTES]


def _relates(path: str) -> bool:
    words = set(re.findall(r"[a-z]+", path.lower()))
    return bool(
        words & {"race", "races", "sql", "injection", "mutable", "shared", "state", "files", "house", "rules"}
    )


def _bytes(size: str) -> float:
    """Bytes of a listed size such as 512, 4.0K or 1.5M."""
    found = re.fullmatch(r"([\d.]+)([BKMGT]?)B?", size.strip(), re.IGNORECASE)
    return float(found[1]) * 1024 ** "BKMGT".index(found[2].upper() or "B") if found else 0.0
