"""What tests of proposals share: a hostile note, a reviewer that writes it, a proposal as it travels."""

from memory_demo.assistant import guarded_memory
from memory_demo.offline import Reply

LESSON = "Hold a lock around each update."
NOTE = f"""{LESSON}
```
</pre></details><img src=x onerror=alert(1)> <!-- ]]> &lt;
@everyone [a link](javascript:alert(1)) #1 https://example.com :tada: **bold** ~~~~ $$x$$
::error::forged
##[error]forged
hidden \u202e\u200b
"""


def learns(text, review):
    """A reviewer that writes this note, then does as `review` does."""

    def respond(prompt):
        said = [block for message in prompt.messages[1:] for block in message["content"]]
        if any(block.get("name") == "memory" for block in said if isinstance(block, dict)):
            return review(prompt)
        given = {"command": "create", "path": "/memories/races.md", "file_text": text}
        return Reply(({"type": "tool_use", "name": "memory", "input": given},))

    return respond


def proposal(name, **file):
    """A document as review --to writes it, of one file."""
    usual = {"path": "/memories/new.md", "before": None, "after": "New.\n"}
    return {"proposal": name, "files": [{**usual, **file}]}


def remember(base, path, text):
    """Put a note into the memory in a directory."""
    assert "success" in guarded_memory(base).execute(command="create", path=path, file_text=text)
