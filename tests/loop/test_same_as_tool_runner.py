"""Our loop and the SDK's own tool runner, on the same request: same memory files, same final text."""

import asyncio

import pytest

from memory_demo.demo_helpers import (
    CONTEXT_MANAGEMENT_BETA,
    run_conversation_loop,
    run_conversation_loop_async,
)
from memory_demo.offline import offline_async_client, offline_client
from memory_tool import MemoryToolHandler

MODEL = "claude-sonnet-5-5"
SYSTEM = "You review code."
CODE = """
class Accounts:
    def find(self, connection, name):
        return connection.execute(f"SELECT * FROM accounts WHERE name = '{name}'").fetchall()
"""
REQUEST = f"Review accounts.py; customers see other people's rows.\n\n```python\n{CODE}```"


def outcome(message, memory):
    text = "".join(block.text for block in message.content if block.type == "text")
    return text, {p.name: p.read_text("utf-8") for p in memory.memory_root.rglob("*.md")}


def with_our_loop(memory, stream):
    messages = [{"role": "user", "content": REQUEST}]
    return run_conversation_loop(offline_client(), MODEL, messages, memory, SYSTEM, stream=stream)


async def with_our_async_loop(memory, stream):
    messages = [{"role": "user", "content": REQUEST}]
    client = offline_async_client()
    return await run_conversation_loop_async(client, MODEL, messages, memory, SYSTEM, stream=stream)


def runner_options(tool, stream):
    return {
        "model": MODEL,
        "max_tokens": 16_000,
        "system": SYSTEM,
        "messages": [{"role": "user", "content": REQUEST}],
        "tools": [tool],
        "betas": [CONTEXT_MANAGEMENT_BETA],
        "stream": stream,
    }


def with_the_runner(memory, stream):
    runner = offline_client().beta.messages.tool_runner(**runner_options(memory.as_tool(), stream))
    for step in runner:
        last = step.get_final_message() if stream else step
    return last


async def with_the_async_runner(memory, stream):
    client = offline_async_client()
    runner = client.beta.messages.tool_runner(**runner_options(memory.as_async_tool(), stream))
    async for step in runner:
        last = await step.get_final_message() if stream else step
    return last


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_same_files_and_same_final_text(tmp_path, stream):
    names = ("ours", "ours async", "sync", "async")
    ours, ours_later, sync, later = (MemoryToolHandler(tmp_path / name) for name in names)
    expected = outcome(with_our_loop(ours, stream), ours)
    assert "SQL injection" in expected[0]
    assert len(expected[1]) == 1, "the reviewer wrote its pattern down"
    assert outcome(asyncio.run(with_our_async_loop(ours_later, stream)), ours_later) == expected
    assert outcome(with_the_runner(sync, stream), sync) == expected
    assert outcome(asyncio.run(with_the_async_runner(later, stream)), later) == expected
