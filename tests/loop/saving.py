"""One review that saves its conversation after each turn: `python saving.py CONVERSATION MEMORY [WAIT_AFTER]`.

With WAIT_AFTER it stops after so many turns, says so and waits to be killed.
"""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from memory_demo.demo_helpers import run_conversation_loop
from memory_demo.offline import offline_client
from memory_tool import MemoryToolHandler


def main(conversation, memory, wait_after="0"):
    file = Path(conversation)
    messages = json.loads(file.read_text("utf-8"))
    turns = []

    def save(turn):
        turns.append(turn)
        file.write_text(json.dumps(messages), encoding="utf-8")
        if len(turns) == int(wait_after):
            print("saved", flush=True)
            time.sleep(60)

    run_conversation_loop(
        offline_client(),
        "claude-sonnet-5-5",
        messages,
        MemoryToolHandler(memory),
        "You review code.",
        on_turn=save,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
