"""The rule-based reviewer: answers for a model, by rules that a reader can follow. It is not Claude.

It knows what its prompt says and nothing else, so every request starts from nothing: which request is the last one, what
the tools have answered since, what memory was seen to hold, what the reviewer has already said (`desk`). Then it does
the first of these that is left to do:

1. View the memory directory, then the files in it.
2. In the code at hand, look for the forms of bug that memory describes or that the request's words point to; where
   another file can excuse a finding, list and read that file, unless memory says of its SHA-256 that it does not
   (`judging`).
3. Report what it finds, and write down what is new: the lesson of a bug, what a file offers to its callers.
4. Read the files that the request names.
5. Answer.

No note keeps it from reporting anything. A result that is needed and was cleared is asked for again, `MAX_ASKS` times
in one request.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import groupby

from memory_demo.offline.compaction import read_back
from memory_demo.offline.prompt import Prompt, Reply
from memory_demo.reviewer import notetaker
from memory_demo.reviewer.checks import Finding
from memory_demo.reviewer.desk import HEADING, MAX_ASKS, Desk, Source, Use, desk_of
from memory_demo.reviewer.forms import BY_KEY, CATEGORIES, CATEGORY_OF, FORMS, HOUSE, Category, what_it_knows
from memory_demo.reviewer.judging import Verdict, judge
from memory_demo.reviewer.notes import FILES_HEADING, FILES_NOTE, cause_of, file_line, form_line, lesson
from memory_demo.reviewer.transcript import MEMORY_ROOT

_CAPABILITIES = (
    "This is a rule-based reviewer, not Claude. It reviews Python code: put the code in a ```python block, or name a "
    f'file and offer a read_source tool. {what_it_knows()} It stores what "remember that ..." says, and answers a '
    "question by quoting memory."
)
_NO_VERDICT = Verdict((), (), (), (), frozenset())


def review(prompt: Prompt) -> Reply:
    """Answer a prompt: the next tool uses, or the review."""
    desk = desk_of(read_back(prompt))
    if desk is None:
        return _say(_CAPABILITIES, "There is no request to answer.")
    has_code = bool(desk.request.fences or desk.request.files)
    return (
        _look_at_memory(desk)
        or (None if has_code else _converse(desk))
        or _look_at_related_files(desk)
        or _report_and_record(desk)
        or _read(desk)
        or _answer(desk)
    )


def _look_at_memory(desk: Desk) -> Reply | None:
    if desk.memory_tool is None or desk.sections:
        return None
    listing = _view(desk, MEMORY_ROOT)
    if desk.files is None and desk.may_ask([listing]):
        return _ask(desk, [listing], "Memory first: what is in the directory?")
    unread = [_view(desk, path) for path in desk.files or () if path not in desk.notes]
    if wanted := desk.may_ask(unread):
        return _ask(desk, wanted, f"{len(wanted)} memory files are not in the context; opening them.")
    return None


def _read(desk: Desk) -> Reply | None:
    at_hand = {*desk.sections, *desk.unreadable, *(source.name for source in desk.sources)}
    names = [name for name in desk.request.files if name not in at_hand]
    wanted = desk.may_ask([_reading(name) for name in names])
    if "read_source" not in desk.tools or not wanted:
        return None
    sections = [_section(desk, source) for source in _to_judge(desk)]
    return _ask(desk, wanted, f"{len(wanted)} files to read before anything can be said.", sections)


def _look_at_related_files(desk: Desk) -> Reply | None:
    # A text that cannot be asked for again must be judged while it is there.
    sources = [source for source in _to_judge(desk) if desk.asked(_reading(source.name)) < MAX_ASKS]
    wanted = desk.may_ask([use for source in sources for use in _verdict(desk, source).open])
    return _ask(desk, wanted, "Other files can excuse what was found; looking there.") if wanted else None


def _report_and_record(desk: Desk) -> Reply | None:
    """Report and record what is new; None when there is nothing to do but answer."""
    new = _to_judge(desk)
    found = [(source.name, finding) for source in new for finding in _verdict(desk, source).reported]
    uses = [_report(desk, name, finding) for name, finding in found] if "report_finding" in desk.tools else []
    if desk.memory_tool is not None:
        uses += _lessons(desk, [finding for _, finding in found])
        uses += _file_facts(desk, {file for source in new for file in _verdict(desk, source).looked_at})
    uses = [use for use in uses if not desk.asked(use)]
    if not uses:
        return None
    sections = [_section(desk, source) for source in new]
    return _ask(desk, uses, f"{len(found)} findings to report, and what is new to record.", sections)


def _answer(desk: Desk) -> Reply:
    sections = {**{source.name: _section(desk, source) for source in desk.sources}, **desk.sections}
    unread = [_not_read(name, desk) for name in desk.request.files if name not in sections]
    closing = [*_scope(desk), *_recorded(desk), *_memory_problems(desk)]
    text = "\n\n".join([*sections.values(), *unread, "\n".join(closing)])
    return _say(text, f"Everything is at hand: {len(sections)} sources, {len(desk.forms)} forms to look for.")


def _converse(desk: Desk) -> Reply:
    words = desk.request.words
    if desk.memory_tool is None:
        return _say(_CAPABILITIES, "No code, and no memory to keep or quote anything.")
    if sentence := notetaker.to_remember(words):
        return _keep(desk, sentence)
    if notetaker.is_question(words) and (lines := notetaker.quotes(words, desk.memory.files)):
        quoted = "\n".join(f"> {line}\n({path})" for path, line in lines)
        return _say(
            f"This is a rule-based reader, quoting memory:\n{quoted}", "A question; memory has related lines."
        )
    return _say(_CAPABILITIES, "No code in the request, nothing to keep, nothing to quote.")


def _keep(desk: Desk, sentence: str) -> Reply:
    path = f"{MEMORY_ROOT}/{notetaker.NOTES}"
    use = addition(desk, path, f"# Notes\n\n- {sentence}\n", f"- {sentence}\n", "a sentence")
    if not desk.asked(use) and not any(sentence in note for note in desk.memory.files.values()):
        return _ask(desk, [use], "A sentence to keep.")
    stored = "That could not be stored" if desk.memory_failures() else f"Stored in {use.input['path']}"
    return _say(
        "\n".join([f'{stored}: "{sentence}"', *_memory_problems(desk)]), "The sentence was dealt with."
    )


def _to_judge(desk: Desk) -> list[Source]:
    return [source for source in desk.sources if source.name not in desk.sections]


def _verdict(desk: Desk, source: Source) -> Verdict:
    try:
        return judge(desk, source)
    except SyntaxError:
        return _NO_VERDICT


def _lessons(desk: Desk, found: Sequence[Finding]) -> list[Use]:
    """For each category that was met: its lesson where memory has none, else the forms that are missing there."""
    uses = []
    in_order = sorted(found, key=lambda finding: CATEGORY_OF[finding.form].key)
    for key, group in groupby(in_order, key=lambda finding: CATEGORY_OF[finding.form].key):
        category, findings = BY_KEY[key], list(group)
        known = {form for note in desk.notes.values() for form in note.forms}
        new = [form for form in category.forms if form.key in {f.form for f in findings} - known]
        path = _path_of(desk, category)
        if new and path not in desk.unopened():
            forms = category.forms if path not in desk.notes else new
            lines = "".join(form_line(form.key) for form in new)
            titles = ", ".join(form.title for form in forms)
            uses.append(addition(desk, path, lesson(category, findings), lines, titles))
    return uses


def _path_of(desk: Desk, category: Category) -> str:
    """The memory file that describes a form of this category, or the one that is to hold its lesson."""
    own = f"{MEMORY_ROOT}/{category.file}"
    keys = {form.key for form in category.forms}
    holding = [path for path, note in sorted(desk.notes.items()) if keys & note.forms]
    return own if own in desk.notes or not holding else holding[0]


def _file_facts(desk: Desk, files: Collection[str]) -> list[Use]:
    """What files that were looked at for their callers offer, where memory does not say so already."""
    path = f"{MEMORY_ROOT}/{FILES_NOTE}"
    uses, new = [], []
    for file in sorted(files) if path not in desk.unopened() else ():
        seen = desk.seen[file]
        line = file_line(file, *seen)
        noted = [fact for fact in desk.facts if fact.file == file]
        wrong = [
            f for f in noted if f.sha256 not in ("", seen.sha256) or seen.offers.get(f.name, "") != f.offer
        ]
        if wrong:
            uses.append(_correct(desk, wrong[0].path, wrong[0].line, line, file))
        elif not any(fact.sha256 == seen.sha256 for fact in noted):
            new.append(line)
    if new:
        files = ", ".join(line.split(" ")[1] for line in new)
        uses.append(
            addition(desk, path, f"{FILES_HEADING}\n\n{''.join(new)}", "".join(new), f"what {files} offers")
        )
    return uses


def _reading(name: str) -> Use:
    return Use("read_source", {"path": name}, f"Reading {name}.")


def _view(desk: Desk, path: str) -> Use:
    return Use(desk.memory_tool or "memory", {"command": "view", "path": path}, f"Viewing {path}.")


def addition(desk: Desk, path: str, text: str, lines: str, what: str) -> Use:
    """A new memory file with this text, or these lines at the end of the file if it is there."""
    command: dict[str, object] = {"command": "create", "path": path, "file_text": text}
    if path in desk.notes:
        at = desk.notes[path].lines
        command = {"command": "insert", "path": path, "insert_line": at, "insert_text": lines}
    return Use(desk.memory_tool or "memory", command, f"Recording {what} in {path}.")


def _correct(desk: Desk, path: str, old: str, line: str, file: str) -> Use:
    command = {"command": "str_replace", "path": path, "old_str": old, "new_str": line.rstrip("\n")}
    return Use(desk.memory_tool or "memory", command, f"Recording what {file} offers in {path}.")


def _report(desk: Desk, name: str, finding: Finding) -> Use:
    form = FORMS[finding.form]
    fields = {
        "file": name,
        "line": finding.line,
        "end_line": finding.end_line,
        "category": CATEGORY_OF[finding.form].key,
    }
    texts = {"cause": cause_of(finding), "fix": form.fix}
    led_by = {"note": reason.note} if (reason := desk.forms[finding.form]).note else {}
    return Use("report_finding", {**fields, **texts, **led_by}, f"Reporting {name}, {_lines(finding)}.")


def _ask(desk: Desk, uses: Sequence[Use], thought: str, sections: Sequence[str] = ()) -> Reply:
    """Make tool uses, saying first what was understood so far, as results may be gone by the next request."""
    words = "\n".join([*desk.understood(), *(use.words for use in uses)])
    blocks = [{"type": "text", "text": block} for block in [*sections, words]]
    return Reply((*blocks, *(use.block() for use in uses)), thinking=thought)


def _section(desk: Desk, source: Source) -> str:
    head = f"{HEADING}{source.name}:\n"
    try:
        verdict = judge(desk, source)
    except SyntaxError as error:
        return f"{head}It could not be parsed as Python (line {error.lineno}: {error.msg})."
    if not desk.forms:
        return f"{head}Parsed, but not examined for anything."
    lines = [
        f"{number}. {source.name}, {_titled(finding)}{_explained(desk, finding)}"
        for number, finding in enumerate(verdict.reported, 1)
    ]
    for excuse in verdict.excused:
        note = f", as {excuse.note} says" if excuse.note else ""
        lines.append(f"Excused: {_titled(excuse.finding)}, as {excuse.offer}, seen in {excuse.file}{note}.")
    for fact, shown in verdict.contradicted:
        lines.append(f"{fact.path} says that `{fact.name}` {fact.offer}; {fact.file} shows that it {shown}.")
    return head + ("\n".join(lines) if verdict.reported else "\n".join(["Nothing found.", *lines]))


def _explained(desk: Desk, finding: Finding) -> str:
    """Cause and fix; "" where they stand in a report_finding, as words said twice are sent twice ever after."""
    can_report = "report_finding" in desk.tools
    return "" if can_report else f": {cause_of(finding)} Fix: {FORMS[finding.form].fix}"


def _titled(finding: Finding) -> str:
    return f"{_lines(finding)} ({CATEGORY_OF[finding.form].title})"


def _lines(finding: Finding) -> str:
    if finding.line == finding.end_line:
        return f"line {finding.line}"
    return f"lines {finding.line}-{finding.end_line}"


def _not_read(name: str, desk: Desk) -> str:
    lost = f"its text did not stay in context, though it was asked for {MAX_ASKS} times"
    return f"{HEADING}{name}:\nIt could not be read: {desk.unreadable.get(name, lost)}."


def _scope(desk: Desk) -> list[str]:
    """Which forms were looked for and why, and which were not."""
    by_reason: dict[str, list[str]] = {}
    for key, reason in desk.forms.items():
        by_reason.setdefault(str(reason), []).append(key)
    looked = [f"{_in_short(keys)}, because {reason}" for reason, keys in by_reason.items()]
    lines = [f"Looked for: {'; '.join(looked) or 'nothing'}."]
    others = [key for key, category in CATEGORY_OF.items() if category is not HOUSE and key not in desk.forms]
    if others:
        lines.append(f"Not looked for, as neither the request nor memory speaks of it: {_in_short(others)}.")
    return lines


def _in_short(keys: Iterable[str]) -> str:
    """Categories, and in brackets the forms where they are not all of them."""
    given = set(keys)
    names = []
    for category in CATEGORIES:
        forms = [form for form in category.forms if form.key in given]
        if forms:
            all_of_them = len(forms) == len(category.forms)
            names.append(
                category.title if all_of_them else f"{category.title} ({', '.join(f.title for f in forms)})"
            )
    return ", ".join(names)


def _recorded(desk: Desk) -> list[str]:
    failed = {call.input.get("path") for call in desk.memory_failures()}
    done = [f"{what} in {path}" for what, path in desk.recorded if path not in failed]
    return [f"Recorded: {'; '.join(done)}."] if done else []


def _memory_problems(desk: Desk) -> list[str]:
    if desk.memory_tool is None:
        return []
    errors = dict.fromkeys(
        f"Memory answered {call.input.get('command', 'a command')} with an error: {call.result or 'cleared since'}"
        for call in desk.memory_failures()
    )
    stay = f"did not stay in context, though it was asked for {MAX_ASKS} times."
    missing = [
        path for path in desk.files or () if path not in desk.notes and not desk.failed(_view(desk, path))
    ]
    lost = [f"Memory file {path} {stay}" for path in missing]
    if desk.files is None and desk.asked(_view(desk, MEMORY_ROOT)) >= MAX_ASKS and not errors:
        lost.append(f"The listing of {MEMORY_ROOT} {stay}")
    own = {f"{MEMORY_ROOT}/{CATEGORY_OF[key].file}" for key in desk.forms}
    left = [path for path in dict.fromkeys(desk.unopened()) if path in own]
    return [*errors, *lost, *(f"Nothing was recorded in {path}, as it was not opened." for path in left)]


def _say(text: str, thought: str) -> Reply:
    return Reply(({"type": "text", "text": text},), thinking=thought)
