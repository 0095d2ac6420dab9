"""Replies that Claude could give and the stand-in's reviewer does not: by a script, for every request of the notebook.

Thinking and words stand before each tool use, and several tool uses in one reply. Notes are several, under names of their
own, with Markdown headings and no line that begins with a dash. Findings name lines that no file has. A reviewer that is
content reports nothing and writes nothing down.
"""

from memory_demo.offline import Reply
from memory_demo.offline.compaction import read_back
from memory_demo.reviewer.transcript import (
    MEMORY_ROOT,
    calls,
    offers,
    parse_request,
    replay_memory,
    request_index,
    text_of,
    use_key,
)

NOTES = {
    f"{MEMORY_ROOT}/index.md": "## What is where\n\nreviews/python-races.md is about races, | and `await`.\n",
    f"{MEMORY_ROOT}/reviews/python-races.md": "# Races in Python\n\n## How to recognise one\n\n"
    "1. Several threads read shared state and write it back, and there is no lock.\n"
    "2. A coroutine awaits between the two.\n\n## How to fix it\n\nHold one lock over both.\n",
}
BEYOND_THE_FILE = 10_000


def thorough(prompt):
    """Reports on every file of this project, whether or not there is a bug, and writes notes."""
    return _next_reply(prompt, finds=True)


def content(prompt):
    """Finds nothing to report, and nothing worth a note."""
    return _next_reply(prompt, finds=False)


def _next_reply(prompt, finds):
    prompt = read_back(prompt)
    index = request_index(prompt.messages)
    request = text_of(prompt.messages[index]["content"])
    made = calls(prompt.messages)
    memory = replay_memory(made, "memory")
    # Memory is looked at and written once a conversation; all else is done anew for each request.
    counts = [*calls(prompt.messages[index + 1 :]), *(call for call in made if call.name == "memory")]
    done = {use_key(call.name, call.input) for call in counts}
    for steps in (_look(prompt, request), _work(prompt, request, memory, finds)):
        content = [block for words, uses in steps for block in _said(words, uses, done)]
        if content:
            return Reply(tuple(content), thinking="What comes next?")
    notes = "\n".join(memory.files.values())
    return Reply(({"type": "text", "text": f"## Done\n\nMy notes:\n\n{notes or 'none'}"},))


def _look(prompt, request):
    """Words, and the tool uses after them: what to see first."""
    yield "I'll look at my memory first.", [_memory("view", path=MEMORY_ROOT)]
    if offers(prompt, "read_source"):
        yield "And at the code.", [_use("read_source", path=file) for file in parse_request(request).files]


def _work(prompt, request, memory, finds):
    """Words, and the tool uses after them: what to do then."""
    code = parse_request(request)
    files = [*code.files, *(fence.name for fence in code.fences)]
    mine = [file for file in files if finds and not file.startswith("rich/")]
    unseen = [path for path in memory.paths() if path not in memory.files]
    yield "Let me read my notes.", [_memory("view", path=path) for path in unseen]
    if offers(prompt, "report_finding"):
        lines = (1, BEYOND_THE_FILE)
        yield "I found something.", [_finding(file, line) for file in mine for line in lines]
    notes = NOTES if mine else {}
    if "remember that" in request:
        notes = {f"{MEMORY_ROOT}/user.md": f"# About the user\n\n## In their words\n\n{request}\n"}
    creations = [_memory("create", path=path, file_text=text) for path, text in notes.items()]
    yield "I'll write that down.", creations


def _said(words, uses, done):
    left = [use for use in uses if use_key(use["name"], use["input"]) not in done]
    return [{"type": "text", "text": words}, *left] if left else []


def _finding(file, line):
    fields = {"file": file, "line": line, "end_line": line, "category": "thread-safety"}
    return _use("report_finding", **fields, cause="An *update* | is lost.", fix="Hold a lock.")


def _memory(command, **given):
    return _use("memory", command=command, **given)


def _use(name, **given):
    return {"type": "tool_use", "name": name, "input": given}
