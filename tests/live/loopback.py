"""Who answers as the API in these tests, and the key that is shown to it."""

from memory_demo.live.probes import REPEAT, probe_responder
from memory_demo.offline import Reply
from memory_demo.reviewer import review

KEY = "made-up-key-of-this-test"
SYSTEM = "You keep notes."
NOTE = "/memories/note.md"


def respond(prompt):
    """A note taker under its own system prompt; else the reviewer, but for the probe that only a model can answer."""
    texts = [block.get("text") for message in prompt.messages for block in message["content"]]
    if prompt.system == SYSTEM:
        return _take_notes(prompt.messages[-1]["content"][-1])
    return probe_responder(prompt) if REPEAT in texts else review(prompt)


def _take_notes(last):
    if last["type"] == "tool_result":
        return Reply(({"type": "text", "text": f"Done: {last['content']}"},))
    words = last["text"]
    command = {"command": "view", "path": NOTE}
    if words.startswith("Note: "):
        command = {"command": "create", "path": NOTE, "file_text": words.removeprefix("Note: ")}
    return Reply(({"type": "tool_use", "name": "memory", "input": command},))
