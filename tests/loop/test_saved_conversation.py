"""A conversation is a JSON file: a process is killed between two turns, and this one goes on."""

import json
import subprocess
import sys
from pathlib import Path

from saving import main

SAVING = Path(__file__).parent / "saving.py"
CODE = """
class Accounts:
    def find(self, connection, name):
        return connection.execute(f"SELECT * FROM accounts WHERE name = '{name}'").fetchall()
"""
ASKED = [
    {"role": "user", "content": f"Review accounts.py; we see other people's rows.\n\n```python\n{CODE}```"}
]


def prepare(folder):
    folder.mkdir()
    (folder / "conversation.json").write_text(json.dumps(ASKED), encoding="utf-8")
    return [folder / "conversation.json", folder / "memory"]


def saved(folder):
    return json.loads((folder / "conversation.json").read_text("utf-8"))


def test_a_killed_conversation_goes_on_in_another_process_as_if_nothing_had_happened(tmp_path):
    main(*prepare(tmp_path / "unbroken"))
    unbroken = saved(tmp_path / "unbroken")
    broken = tmp_path / "broken"
    arguments = prepare(broken)
    command = [sys.executable, SAVING, *arguments, "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8") as process:
        assert process.stdout.readline() == "saved\n"
        process.kill()
    half = saved(broken)
    assert half == unbroken[:5]
    assert any(block["type"] == "thinking" and block["signature"] for block in half[1]["content"])
    main(*arguments)
    assert saved(broken) == unbroken, "the stand-in answers the same to the same"
    assert unbroken[-1]["role"] == "assistant"
    assert len(unbroken) > len(half)
