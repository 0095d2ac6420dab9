"""The asynchronous client under RECORD, BUDGET and REPLAY, as the notebook's concurrent requests use it."""

import asyncio
import time

import anthropic
import pytest
from loopback import respond

from memory_demo.live.budget import Budget, BudgetSpent, worst_cost
from memory_demo.live.recordings import About, load, start
from memory_demo.offline import OfflineAPI
from memory_demo.settings import BUDGET, RECORD, REPLAY, connect_async, load_settings

MODEL = "claude-sonnet-5-5"
REQUEST = {
    "model": MODEL,
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Hello"}],
}


class SlowAPI(OfflineAPI):
    """Takes so long for an answer that all requests made at once could be under way."""

    def handle(self, method, path, headers, body):
        if method == "POST":
            time.sleep(0.2)
        return super().handle(method, path, headers, body)


@pytest.fixture
def recording(serve, environment, monkeypatch, tmp_path):
    """A directory to record into, and the variables that ask for it."""
    environment(serve(SlowAPI(respond)))
    directory = tmp_path / "recording"
    start(directory, About("2026-11-30", MODEL))
    monkeypatch.setenv(RECORD, str(directory))
    return directory


def ask(times):
    """The same request several times at once: what came of each."""

    async def asked():
        async with connect_async(load_settings()) as client:
            calls = [client.messages.create(**REQUEST) for _ in range(times)]
            return await asyncio.gather(*calls, return_exceptions=True)

    return asyncio.run(asked())


def test_what_was_asked_at_once_is_recorded_and_replayed(recording, monkeypatch):
    answers = ask(3)
    exchanges = [exchange for exchange in load(recording) if exchange.path == "/v1/messages"]
    assert [exchange.request["messages"] for exchange in exchanges] == [REQUEST["messages"]] * 3
    monkeypatch.setenv(REPLAY, str(recording))
    replayed = ask(3)
    assert sorted(answer.id for answer in replayed) == sorted(answer.id for answer in answers)
    assert all(isinstance(answer, anthropic.types.Message) for answer in replayed)


def test_requests_at_once_do_not_spend_the_same_rest_of_a_budget(recording, monkeypatch):
    limit = worst_cost(REQUEST) * 1.01
    monkeypatch.setenv(BUDGET, str(limit))
    kinds = [type(answer) for answer in ask(4)]
    assert sorted(kinds, key=str) == [anthropic.types.Message, *[BudgetSpent] * 3]
    assert 0 < Budget(recording, limit).spent() < limit
