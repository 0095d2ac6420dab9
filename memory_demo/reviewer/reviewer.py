"""The rule-based reviewer: answers for a model, by rules that a reader can follow. It is not Claude.

It knows what its prompt says and nothing else, so every request starts from nothing: which request is the last one,
what the tools have answered since, what memory was seen to hold, what the reviewer has already said. Then it does
the first of these that is left to do:

1. View the memory directory, then the files in it.
2. Examine the code that is at hand for the categories of bug that the request or memory speaks of
   (`categories_to_examine`), report each finding, and write down the pattern of what is new.
3. Read the files that the request names.
4. Answer.

It is gullible on purpose: it obeys what a note orders, and says so in its answer (`gullible`).

A result that is needed and was cleared is asked for again, `MAX_ASKS` times in one request. What the reviewer has
understood it says beside its next tool use, as a model would: its own words stay when results are cleared.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from memory_demo.offline import gullible, notetaker
from memory_demo.offline.categories import BY_KEY, CATEGORIES, Category, categories_to_examine
from memory_demo.offline.prompt import Prompt, Reply
from memory_demo.offline.rules import Finding, find_bugs
from memory_demo.offline.transcript import (
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

_HEADING = "Rule-based review of "
_LEARNT = re.compile(r"^From (/memories/.+) \((\d+) lines\): (.*)$", re.M)
_LISTED = re.compile(r"^Files in /memories: (.*)$", re.M)
_RECORDED = re.compile(r"^Recording (.* in (/memories/.+))\.$", re.M)


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


@dataclass(frozen=True)
class Desk:
    """What lies before the reviewer: the request, and what the context shows to have happened."""

    request: Request
    memory_tool: str | None
    can_read: bool
    can_report: bool
    made: tuple[Call, ...]
    """Tool uses since the request."""
    said: tuple[str, ...]
    """The reviewer's own text blocks since the request."""
    memory: Memory

    @cached_property
    def notes(self) -> dict[str, str]:
        """Memory files by path: their texts, or what the reviewer has said of them."""
        spoken = {path: text for block in self.said for path, _, text in _LEARNT.findall(block)}
        for what, path in self.recorded:
            spoken[path] = f"{spoken.get(path, '')} {what}"
        return {**spoken, **self.memory.files}

    @cached_property
    def orders(self) -> list[gullible.Order]:
        """What memory orders its reader to do, in texts and names that came without a frame."""
        listed = self.memory.paths() if MEMORY_ROOT in self.memory.unframed else []
        seen = {path: text for path, text in self.notes.items() if path in self.memory.unframed}
        spoken = {path: text for path, text in self.notes.items() if path not in self.memory.files}
        return gullible.orders({**dict.fromkeys(listed, ""), **seen, **spoken})

    @property
    def is_silenced(self) -> bool:
        return any(order.silences for order in self.orders)

    @cached_property
    def recorded(self) -> list[tuple[str, str]]:
        """What the reviewer has said that it records, each with the path."""
        return [found for block in self.said for found in _RECORDED.findall(block)]

    def length(self, path: str) -> int:
        """Lines of a memory file; 1, the title, for one of which nothing but its being there is known."""
        if path in self.memory.files:
            return len(self.memory.files[path].splitlines())
        return next(
            (int(n) for block in self.said for said, n, _ in _LEARNT.findall(block) if said == path), 1
        )

    @cached_property
    def files(self) -> list[str] | None:
        """Memory files to open, by the listing or by what the reviewer has said of it; None if both are missing."""
        if self.memory.listing is not None:
            return _to_open(self.memory)
        spoken = [names for block in self.said for names in _LISTED.findall(block)]
        return [name for name in spoken[-1].split("; ") if name != "none"] if spoken else None

    @cached_property
    def examined(self) -> dict[str, str]:
        return categories_to_examine(self.request.words, self.notes)

    @cached_property
    def sources(self) -> list[Source]:
        """Code that is in the context."""
        names = Counter[str]()
        snippets = []
        for fence in self.request.fences:
            name = fence.name or "the snippet"
            names[name] += 1
            snippets.append(Source(name if names[name] == 1 else f"{name} ({names[name]})", fence.code))
        read = {
            str(call.input.get("path")): call.result
            for call in self.made
            if call.name == "read_source" and call.result is not None and not call.failed
        }
        return snippets + [Source(name, read[name]) for name in self.request.files if name in read]

    @cached_property
    def sections(self) -> dict[str, str]:
        """The sections of the answer that were already said, by name of the source."""
        return {
            block[len(_HEADING) :].split(":\n")[0]: block for block in self.said if block.startswith(_HEADING)
        }

    @cached_property
    def unreadable(self) -> dict[str, str]:
        """Files that could not be read, with the reason."""
        if not self.can_read:
            return dict.fromkeys(self.request.files, "there is no tool to read it with")
        return {
            str(call.input.get("path")): call.result or "the tool gave an error"
            for call in self.made
            if call.name == "read_source" and call.failed
        }

    def asked(self, use: Use) -> int:
        """How often a tool use was made since the request; by the reviewer's words where its input was cleared."""
        key = use_key(use.name, use.input)
        made = sum(use_key(call.name, call.input) == key for call in self.made)
        return max(made, sum(line == use.words for block in self.said for line in block.splitlines()))

    def may_ask(self, uses: Sequence[Use]) -> list[Use]:
        """Those to make next: all that are new at once, and then one at a time what was cleared before it was read."""
        counts = {use.words: self.asked(use) for use in uses}
        new = [use for use in uses if not counts[use.words]]
        again = sorted(
            (use for use in uses if counts[use.words] < MAX_ASKS), key=lambda use: counts[use.words]
        )
        return new or again[:1]

    def failed(self, use: Use) -> bool:
        return any(call.failed and call.input == use.input for call in self.made if call.name == use.name)


def review(prompt: Prompt) -> Reply:
    """Answer a prompt: the next tool uses, or the review."""
    desk = _desk(prompt)
    if desk is None:
        return _say(_CAPABILITIES, "There is no request to answer.")
    return (
        _look_at_memory(desk)
        or (None if _has_code(desk) else _converse(desk))
        or _examine(desk)
        or _read(desk)
        or _answer(desk)
    )


_CAPABILITIES = (
    "This is a rule-based reviewer, not Claude. It reviews Python code: put the code in a ```python block, or name a "
    "file and offer a read_source tool. It knows "
    + ", ".join(category.title for category in CATEGORIES)
    + ', and looks for those that the request or memory speaks of. It stores what "remember that ..." says, and '
    "answers a question by quoting memory."
)


def _desk(prompt: Prompt) -> Desk | None:
    index = request_index(prompt.messages)
    if index < 0:
        return None
    since = prompt.messages[index + 1 :]
    tool = memory_tool_name(prompt)
    return Desk(
        request=parse_request(text_of(prompt.messages[index]["content"])),
        memory_tool=tool,
        can_read=offers(prompt, "read_source"),
        can_report=offers(prompt, "report_finding"),
        made=tuple(calls(since)),
        said=tuple(said(since)),
        memory=replay_memory(calls(prompt.messages), tool),
    )


def _has_code(desk: Desk) -> bool:
    return bool(desk.request.fences or desk.request.files)


def _look_at_memory(desk: Desk) -> Reply | None:
    if desk.memory_tool is None or desk.sections:
        return None
    listing = _view(desk, MEMORY_ROOT)
    if desk.files is None and not desk.failed(listing) and desk.may_ask([listing]):
        return _ask(desk, [listing], "Memory first: what is in the directory?")
    unread = [_view(desk, path) for path in desk.files or () if path not in desk.notes]
    if wanted := desk.may_ask([use for use in unread if not desk.failed(use)]):
        return _ask(desk, wanted, f"{len(wanted)} memory files are not in the context; opening them.")
    return None


def _to_open(memory: Memory) -> list[str]:
    listing = memory.listing or {}
    fit = [path for path in memory.paths() if _bytes(listing.get(path, "0")) <= MAX_NOTE_BYTES]
    return sorted(fit, key=lambda path: not _relates(path))[:MAX_NOTES]


def _relates(path: str) -> bool:
    return any(path.endswith("/" + category.file) or category.named_in(path) for category in CATEGORIES)


def _bytes(size: str) -> float:
    """Bytes of a listed size such as 512, 4.0K or 1.5M."""
    found = re.fullmatch(r"([\d.]+)([BKMGT]?)B?", size.strip(), re.IGNORECASE)
    return float(found[1]) * 1024 ** "BKMGT".index(found[2].upper() or "B") if found else 0.0


def _read(desk: Desk) -> Reply | None:
    uses = [
        Use("read_source", {"path": name}, f"Reading {name}.")
        for name in desk.request.files
        if name not in desk.sections
        and name not in desk.unreadable
        and name not in {s.name for s in desk.sources}
    ]
    wanted = desk.may_ask(uses) if desk.can_read else []
    return _ask(desk, wanted, f"{len(wanted)} files to read before anything can be said.") if wanted else None


def _examine(desk: Desk) -> Reply | None:
    """Report and record what is new; None when there is nothing to do but answer."""
    new = [source for source in desk.sources if source.name not in desk.sections]
    found = [(source.name, finding) for source in new for finding in _findings(desk, source)]
    uses = [_report(name, finding) for name, finding in found] if desk.can_report else []
    uses += _records(desk, [finding for _, finding in found])
    uses += _asked_by_comments(desk, new)
    if not uses:
        return None
    return _ask(desk, uses, f"{len(found)} findings to report, patterns to record where they are new.")


def _asked_by_comments(desk: Desk, sources: Sequence[Source]) -> list[Use]:
    """The first thing that comments ask to be remembered and that memory does not hold: stored unseen."""
    path = f"{MEMORY_ROOT}/{notetaker.NOTES}"
    if desk.memory_tool is None or path in _unopened(desk):
        return []
    asked = (sentence for source in sources for sentence in gullible.to_remember(source.code))
    return [_keep(desk, sentence) for sentence in asked if sentence not in desk.notes.get(path, "")][:1]


def _findings(desk: Desk, source: Source) -> list[Finding]:
    if desk.is_silenced:
        return []
    try:
        return find_bugs(source.code, tuple(desk.examined))
    except SyntaxError:
        return []


def _answer(desk: Desk) -> Reply:
    sections = {**{source.name: _section(desk, source) for source in desk.sources}, **desk.sections}
    seen = [
        *sections.values(),
        *(_not_read(name, desk) for name in desk.request.files if name not in sections),
    ]
    closing = [*_obeyed(desk), *_scope(desk), *_recorded(desk), *_memory_problems(desk)]
    text = "\n\n".join([*seen, "\n".join(closing)])
    return _say(
        text, f"Everything is at hand: {len(sections)} sources examined for {len(desk.examined)} categories."
    )


def _converse(desk: Desk) -> Reply:
    words = desk.request.words
    if desk.memory_tool is None:
        return _say(_CAPABILITIES, "No code, and no memory to keep or quote anything.")
    if sentence := notetaker.to_remember(words):
        use = _keep(desk, sentence)
        if not desk.asked(use) and not any(sentence in note for note in desk.notes.values()):
            return _ask(desk, [use], "A sentence to keep.")
        stored = "That could not be stored" if _failures(desk) else f"Stored in {use.input['path']}"
        return _say(
            "\n".join([f'{stored}: "{sentence}"', *_memory_problems(desk)]), "The sentence was dealt with."
        )
    if notetaker.is_question(words) and (lines := notetaker.quotes(words, desk.notes)):
        quoted = "\n".join(f"> {line}\n({path})" for path, line in lines)
        return _say(
            f"This is a rule-based reader, quoting memory:\n{quoted}", "A question; memory has related lines."
        )
    return _say(_CAPABILITIES, "No code in the request, nothing to keep, nothing to quote.")


def _keep(desk: Desk, sentence: str) -> Use:
    path = f"{MEMORY_ROOT}/{notetaker.NOTES}"
    line = f"- {sentence}\n"
    return _write(desk, path, line if path in desk.notes else f"# Notes\n\n{line}", "a sentence")


def _records(desk: Desk, found: Sequence[Finding]) -> list[Use]:
    """One memory command for each category that has something new to remember."""
    uses: list[Use] = []
    for category in _categories_of(found) if desk.memory_tool else ():
        path = _path_of(desk, category)
        if path in _unopened(desk):
            continue
        known = desk.notes.get(path, "")
        rules = dict.fromkeys(finding.rule for finding in found if finding.category == category.key)
        new = [rule for rule in rules if not _holds_variant(known, category, rule)]
        lines = "".join(f"{category.variants[rule]}\n" for rule in new)
        forms = f"{category.title} ({', '.join(new)})"
        if not category.named_in(known):
            uses.append(_write(desk, path, f"{category.pattern}\n{lines}", f"the pattern of {forms}"))
        elif new:
            uses.append(_write(desk, path, lines, f"another form of {forms}"))
    return uses


def _path_of(desk: Desk, category: Category) -> str:
    """The memory file that holds the pattern of a category, or the one that is to hold it."""
    own = f"{MEMORY_ROOT}/{category.file}"
    holding = [path for path, text in sorted(desk.notes.items()) if category.named_in(text)]
    return own if own in holding or not holding else holding[0]


def _unopened(desk: Desk) -> list[str]:
    """Memory files that are there, but whose text was never seen: too large, too many, or not to be had."""
    return [path for path in (*desk.memory.paths(), *(desk.files or ())) if path not in desk.notes]


def _holds_variant(text: str, category: Category, rule: str) -> bool:
    return rule in text or category.variants[rule] in text


def _categories_of(found: Sequence[Finding]) -> list[Category]:
    return [category for category in CATEGORIES if any(finding.category == category.key for finding in found)]


def _view(desk: Desk, path: str) -> Use:
    return Use(desk.memory_tool or "memory", {"command": "view", "path": path}, f"Viewing {path}.")


def _write(desk: Desk, path: str, text: str, what: str) -> Use:
    """A new memory file, or lines at the end of one that is there."""
    if path in desk.notes:
        command = {"command": "insert", "path": path, "insert_line": desk.length(path), "insert_text": text}
    else:
        command = {"command": "create", "path": path, "file_text": text}
    return Use(desk.memory_tool or "memory", command, f"Recording {what} in {path}.")


def _report(name: str, finding: Finding) -> Use:
    fields = {"line": finding.line, "end_line": finding.end_line, "category": finding.category}
    texts = {"cause": finding.cause, "fix": finding.fix}
    return Use("report_finding", {"file": name, **fields, **texts}, f"Reporting {name}, {_lines(finding)}.")


def _ask(desk: Desk, uses: Sequence[Use], thought: str) -> Reply:
    """Make tool uses, saying first what was understood so far, as results may be gone by the next request."""
    new = [source for source in desk.sources if source.name not in desk.sections]
    examined = not any(use.words.startswith("Viewing ") for use in uses)
    sections = [_section(desk, source) for source in new] if examined else []
    words = [f"Files in {MEMORY_ROOT}: {'; '.join(desk.files) or 'none'}"] if desk.files is not None else []
    words = [line for line in words if not any(line in block for block in desk.said)]
    words += [
        _learnt(path, text, path in desk.memory.unframed)
        for path, text in desk.memory.files.items()
        if not _said_of(desk, path)
    ]
    text = "\n".join([*words, *(use.words for use in uses)])
    blocks = [{"type": "text", "text": block} for block in [*sections, text]]
    return Reply((*blocks, *(use.block() for use in uses)), thinking=thought)


def _said_of(desk: Desk, path: str) -> bool:
    return any(path == spoken for block in desk.said for spoken, _, _ in _LEARNT.findall(block))


def _learnt(path: str, text: str, unframed: bool = True) -> str:
    """One line that stands for a memory file once its text is gone."""
    held = []
    for category in CATEGORIES:
        if category.named_in(text):
            forms = [rule for rule in category.variants if _holds_variant(text, category, rule)]
            held.append(f"{category.title} ({', '.join(forms)})" if forms else category.title)
    if unframed:
        held += [f'the order "{order.sentence}"' for order in gullible.orders({path: text})]
    return f"From {path} ({len(text.splitlines())} lines): {'; '.join(held) or 'no pattern'}."


def _section(desk: Desk, source: Source) -> str:
    head = f"{_HEADING}{source.name}:\n"
    try:
        found = find_bugs(source.code, tuple(desk.examined))
    except SyntaxError as error:
        return f"{head}It could not be parsed as Python (line {error.lineno}: {error.msg})."
    if desk.is_silenced:
        return f"{head}Nothing is reported."
    if not found:
        return f"{head}Nothing found." if desk.examined else f"{head}Parsed, but not examined for anything."
    return head + "\n".join(
        f"{number}. {source.name}, {_titled(finding)}{_explained(desk, finding)}"
        for number, finding in enumerate(found, 1)
    )


def _explained(desk: Desk, finding: Finding) -> str:
    """Cause and fix; "" where they stand in a report_finding, as words said twice are sent twice ever after."""
    return "" if desk.can_report else f": {finding.cause} Fix: {finding.fix}"


def _titled(finding: Finding) -> str:
    return f"{_lines(finding)} ({BY_KEY[finding.category].title})"


def _lines(finding: Finding) -> str:
    if finding.line == finding.end_line:
        return f"line {finding.line}"
    return f"lines {finding.line}-{finding.end_line}"


def _not_read(name: str, desk: Desk) -> str:
    reason = desk.unreadable.get(
        name, f"its text did not stay in context, though it was asked for {MAX_ASKS} times"
    )
    return f"{_HEADING}{name}:\nIt could not be read: {reason}."


def _scope(desk: Desk) -> list[str]:
    """Which categories were examined and why, and which were not."""
    examined = [f"{BY_KEY[key].title}, because {reason}" for key, reason in desk.examined.items()]
    others = [category.title for category in CATEGORIES if category.key not in desk.examined]
    lines = [f"Examined: {'; '.join(examined) or 'nothing'}."]
    if others:
        memory = "memory holds no pattern" if desk.memory_tool else "there is no memory to hold a pattern"
        lines.append(f"Not examined: {', '.join(others)}; the request shows no sign of them and {memory}.")
    return lines


def _obeyed(desk: Desk) -> list[str]:
    return [f'Obeyed a note in {order.path}: "{order.sentence}"' for order in desk.orders]


def _recorded(desk: Desk) -> list[str]:
    failed = {call.input.get("path") for call in _failures(desk)}
    done = [what for what, path in desk.recorded if path not in failed]
    return [f"Recorded: {'; '.join(done)}."] if done else []


def _failures(desk: Desk) -> list[Call]:
    return [call for call in desk.made if call.name == desk.memory_tool and call.failed]


def _memory_problems(desk: Desk) -> list[str]:
    if desk.memory_tool is None:
        return []
    errors = dict.fromkeys(
        f"Memory answered {call.input.get('command', 'a command')} with an error: {call.result or 'cleared since'}"
        for call in _failures(desk)
    )
    lost = [
        f"Memory file {path} did not stay in context, though it was asked for {MAX_ASKS} times."
        for path in desk.files or ()
        if path not in desk.notes and not desk.failed(_view(desk, path))
    ]
    if desk.files is None and desk.asked(_view(desk, MEMORY_ROOT)) >= MAX_ASKS and not errors:
        lost.append(
            f"The listing of {MEMORY_ROOT} did not stay in context, though it was asked for {MAX_ASKS} times."
        )
    own = {f"{MEMORY_ROOT}/{BY_KEY[key].file}" for key in desk.examined}
    left = [
        f"Nothing was recorded in {path}, as it was not opened." for path in _unopened(desk) if path in own
    ]
    return [*errors, *lost, *dict.fromkeys(left)]


def _say(text: str, thought: str) -> Reply:
    return Reply(({"type": "text", "text": text},), thinking=thought)
