"""The turn as notebooks that descend from the original cookbook call it, three sessions long."""

import pytest

from memory_demo.demo_helpers import print_context_management_info, run_conversation_turn
from memory_demo.offline import offline_client
from memory_tool import MemoryToolHandler

MODEL = "claude-sonnet-5-5"
CLEARING = {
    "edits": [
        {
            "type": "clear_tool_uses_20250919",
            "trigger": {"type": "input_tokens", "value": 2_000},
            "keep": {"type": "tool_uses", "value": 1},
        }
    ]
}
SCRAPER = """
import concurrent.futures

class Scraper:
    def __init__(self):
        self.pages = 0

    def scrape(self, urls):
        with concurrent.futures.ThreadPoolExecutor() as pool:
            for url in urls:
                pool.submit(self.fetch, url)

    def fetch(self, url):
        self.pages += 1
"""
SESSIONS = {
    "learn": [f"Results differ between runs. Review scraper.py.\n```python\n{SCRAPER}```"],
    "apply": [f"Review client.py.\n```python\n{SCRAPER.replace('Scraper', 'Client')}```"],
    "long": [
        f"Review part_{n}.py.\n```python\n{SCRAPER.replace('Scraper', f'Part{n}')}```" for n in range(4)
    ],
}


@pytest.fixture
def client():
    return offline_client()


@pytest.fixture
def memory(tmp_path):
    return MemoryToolHandler(tmp_path)


def test_the_snippet_as_it_stands(client, memory, capsys):
    cleared, files = [], []
    for requests in SESSIONS.values():
        messages = []
        for request in requests:
            messages.append({"role": "user", "content": request})
            more = True
            while more:
                before = list(messages)
                # fmt: off
                turn = run_conversation_turn(client=client, model=MODEL, messages=messages, memory_handler=memory,
                                             system="You are a code reviewer.", context_management=CLEARING, max_tokens=2048, verbose=True)
                assert messages == before, "the turn leaves them alone"
                messages.append({"role": "assistant", "content": turn[1]})
                if turn[2]:
                    messages.append({"role": "user", "content": turn[2]})
                print(turn[0].usage.input_tokens)
                context_cleared, saved = print_context_management_info(turn[0])
                # fmt: on
                more = bool(turn[2])
                assert context_cleared == (saved > 0)
                cleared.append(saved)
        files.append(sorted(path.name for path in memory.memory_root.rglob("*.md")))
    assert files[0], "session 1 wrote a lesson down"
    assert files[0] == files[2], "and it is still there after clearing"
    assert sum(cleared) > 0
    assert f"{max(cleared):,} input tokens." in capsys.readouterr().out


def test_a_turn_is_a_tuple_of_three_with_names(client, memory):
    messages = [{"role": "user", "content": SESSIONS["learn"][0]}]
    turn = run_conversation_turn(client, MODEL, messages, memory, "You are a code reviewer.")
    response, assistant_content, tool_results = turn
    assert turn[0] is response is turn.response
    assert turn[1] is assistant_content is turn.assistant_content
    assert turn[2] is tool_results is turn.tool_results
    assert [call.name for call in turn.tool_calls] == ["memory"]
    assert turn.seconds > 0
