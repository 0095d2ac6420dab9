"""The asynchronous driver: what runs at once, what does not, and the stand-in over HTTP."""

import asyncio
import copy
import json
import threading
import time

import anthropic
import pytest
from anthropic import beta_async_tool, beta_tool
from conversing import MODEL, SYSTEM, converse_async
from wire import Wire, message, text, use

from memory_demo.demo_helpers import run_conversation_loop, run_conversation_loop_async
from memory_demo.offline import OfflineAPI
from memory_demo.offline.__main__ import server_for
from memory_demo.reviewer import review
from memory_tool import MemoryToolHandler

ASKED = [{"role": "user", "content": "Go on"}]
DONE = message(text("Done."))


def asks(*names):
    uses = [use(name, {}, id=f"toolu_{number}") for number, name in enumerate(names)]
    return message(*uses, stop_reason="tool_use")


def results(tools, *names, memory=None):
    messages = copy.deepcopy(ASKED)
    converse_async(Wire(asks(*names), DONE), messages, memory, tools=tools)
    assert json.loads(json.dumps(messages)) == messages
    return [(block["tool_use_id"], block["content"]) for block in messages[2]["content"]]


def test_asynchronous_tools_run_at_once_and_their_results_stay_in_order():
    waiting = {}

    def meeting(name):
        @beta_async_tool(name=name, description="Meets the others.", input_schema={"type": "object"})
        async def meet():
            barrier = waiting.setdefault("barrier", asyncio.Barrier(3))
            await asyncio.wait_for(barrier.wait(), timeout=10)
            await asyncio.sleep({"a": 0.02, "b": 0.01, "c": 0}[name])
            return name

        return meet

    answers = results([meeting(name) for name in "abc"], "a", "b", "c")
    assert answers == [("toolu_0", "a"), ("toolu_1", "b"), ("toolu_2", "c")]


def test_synchronous_tools_run_one_after_another_in_order_off_the_event_loop():
    running, ran = [], []

    @beta_tool
    def count() -> str:
        """Count."""
        assert not running, "another one is running"
        running.append(1)
        time.sleep(0.01)
        running.clear()
        ran.append(threading.current_thread() is threading.main_thread())
        return str(len(ran))

    class Memory:
        def execute(self, params=None, /):
            return {"success": count()}

    answers = results([count], "count", "memory", "count", memory=Memory())
    assert [content for _, content in answers] == ["1", "2", "3"]
    assert not any(ran)


def test_synchronous_and_asynchronous_tools_of_one_turn_run_beside_each_other():
    seen = threading.Event()

    @beta_tool
    def waits() -> str:
        """Wait for the other."""
        return str(seen.wait(timeout=10))

    @beta_async_tool
    async def sets() -> str:
        """Set."""
        seen.set()
        return "set"

    assert [content for _, content in results([waits, sets], "waits", "sets")] == ["True", "set"]


def test_an_asynchronous_tool_is_refused_by_the_synchronous_loop():
    @beta_async_tool
    async def later() -> str:
        """Later."""
        return "late"

    wire = Wire(DONE)
    with pytest.raises(TypeError, match="not a runnable tool for this client"):
        run_conversation_loop(wire.client(), MODEL, copy.deepcopy(ASKED), None, SYSTEM, tools=[later])
    assert wire.requests == []


def test_a_cancelled_turn_leaves_the_conversation_as_it_was():
    @beta_async_tool
    async def sleeps() -> str:
        """Sleep."""
        await asyncio.sleep(60)
        return "awake"

    messages = copy.deepcopy(ASKED)

    async def cancelled():
        wire = Wire(asks("sleeps", "sleeps"))
        loop = run_conversation_loop_async(
            wire.async_client(), MODEL, messages, None, SYSTEM, tools=[sleeps], max_turns=1
        )
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(loop, timeout=0.2)

    asyncio.run(cancelled())
    assert messages == ASKED


def test_many_conversations_at_once_do_not_mix():
    async def one(number):
        wire = Wire(asks("memory"), message(text(f"Done {number}.")))
        messages = [{"role": "user", "content": f"Number {number}"}]

        class Memory:
            def execute(self, params=None, /):
                return {"success": f"note {number}"}

        await run_conversation_loop_async(wire.async_client(), MODEL, messages, Memory(), SYSTEM)
        return messages

    async def all_of_them():
        return await asyncio.gather(*map(one, range(10)))

    for number, messages in enumerate(asyncio.run(all_of_them())):
        assert messages[2]["content"][0]["content"] == f"note {number}"
        assert messages[3]["content"][0]["text"] == f"Done {number}."


@pytest.fixture
def url():
    server = server_for(OfflineAPI(review))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(timeout=10)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_over_http_both_drivers_have_the_same_conversation(url, tmp_path, stream):
    request = "Review it.\n\n```python\ncache = {}\n\ndef add(item, items=[]):\n    items.append(item)\n    return items\n```"
    options = {"api_key": "offline", "base_url": url, "max_retries": 0}

    def sync():
        messages = [{"role": "user", "content": request}]
        with anthropic.Anthropic(**options) as client:
            memory = MemoryToolHandler(tmp_path / "sync")
            run_conversation_loop(client, MODEL, messages, memory, SYSTEM, stream=stream)
        return messages

    async def later():
        messages = [{"role": "user", "content": request}]
        async with anthropic.AsyncAnthropic(**options) as client:
            memory = MemoryToolHandler(tmp_path / "async")
            await run_conversation_loop_async(client, MODEL, messages, memory, SYSTEM, stream=stream)
        return messages

    expected = sync()
    assert asyncio.run(later()) == expected
    assert expected[-1]["role"] == "assistant"
    assert len(expected) > 3


def test_the_loop_can_end_where_max_turns_says_and_go_on():
    @beta_tool
    def count() -> str:
        """Count."""
        return "1"

    wire = Wire(asks("count"), asks("count"), DONE)
    messages = copy.deepcopy(ASKED)
    assert converse_async(wire, messages, tools=[count], max_turns=2).stop_reason == "tool_use"
    assert [entry["role"] for entry in messages] == ["user", "assistant", "user", "assistant", "user"]
    assert converse_async(wire, messages, tools=[count]).stop_reason == "end_turn"
    with pytest.raises(ValueError, match="max_turns"):
        converse_async(wire, messages, max_turns=0)
