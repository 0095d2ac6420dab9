"""A reviewer that does what a test says, so that a test of the gate does not hang on how well somebody reviews."""

import re

from memory_demo.offline import Reply


def scripted(find):
    """A responder that reads what a request names, then reports what `find` makes of the texts, then answers.

    `find` gets the texts by name and gives dicts: of `line`, and of whatever else is not as usual.
    """

    def respond(prompt):
        messages = prompt.messages
        asked = max(
            i for i, m in enumerate(messages) if m["role"] == "user" and m["content"][0]["type"] == "text"
        )
        request = messages[asked]["content"][0]["text"]
        calls = {b["id"]: b for m in messages[asked:] for b in m["content"] if b["type"] == "tool_use"}
        read = {
            calls[b["tool_use_id"]]["input"]["path"]: _text(b)
            for m in messages[asked:]
            for b in m["content"]
            if b["type"] == "tool_result" and calls[b["tool_use_id"]]["name"] == "read_source"
        }
        unread = [name for name in re.findall("`([^`]+)`", request) if name not in read]
        if unread:
            return Reply(tuple(_use("read_source", path=name) for name in unread))
        if any(call["name"] == "report_finding" for call in calls.values()):
            return Reply(({"type": "text", "text": "Done."},))
        usual = {"category": "race-condition", "cause": "An update is lost.", "fix": "Hold a lock."}
        name = re.search(r"The file is `([^`]+)`", request)[1]
        found = [{"file": name, "end_line": each["line"], **usual, **each} for each in find(read)]
        uses = tuple(_use("report_finding", **each) for each in found)
        return Reply(uses or ({"type": "text", "text": "Nothing."},))

    return respond


def _use(name, **given):
    return {"type": "tool_use", "name": name, "input": given}


def _text(result):
    content = result["content"]
    return content if isinstance(content, str) else "".join(block["text"] for block in content)
