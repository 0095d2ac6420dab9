"""The two drivers of the loop, called alike."""

import asyncio

from memory_demo.demo_helpers import run_conversation_loop, run_conversation_loop_async

SYSTEM = "You review code."
MODEL = "claude-sonnet-5-5"


def converse_sync(wire, messages, memory=None, *, system=SYSTEM, **options):
    return run_conversation_loop(wire.client(), MODEL, messages, memory, system, **options)


def converse_async(wire, messages, memory=None, *, system=SYSTEM, **options):
    return asyncio.run(
        run_conversation_loop_async(wire.async_client(), MODEL, messages, memory, system, **options)
    )
