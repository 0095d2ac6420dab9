"""One request to the reviewer and what it took: the part that both experiments share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anthropic

from memory_demo.demo_helpers import MemoryHandler, RunnableTool, Turn, run_conversation_loop
from memory_demo.narration import sentence
from memory_demo.settings import Connection

SAMPLES = Path(__file__).parent.parent / "sample_code"
MAX_TURNS = 30

SYSTEM = """\
You review Python source files.

Look into your memory directory first and use what is noted there. Read the file with read_source. Report each bug \
that you are sure of with report_finding, one call a bug, with line numbers counted from 1. When you have met a kind \
of bug that other files may have too, note in memory how to recognise and repair it: patterns, not a history of \
reviews. Close with one sentence."""

SYMPTOMS = {
    "race-condition": "{file} stores fewer pages than it fetches, and the count differs between runs.",
    "sql-injection": "In {file}, a search for a phrase with an apostrophe fails with a syntax error, and one search "
    "returned rows of other customers.",
    "shared-mutable-state": "With {file}, a new cache already contains entries that were put into another one.",
}


@dataclass(frozen=True)
class CallRecord:
    """One tool call; `summary` is a line for people."""

    name: str
    input: Mapping[str, Any]
    is_error: bool
    summary: str


@dataclass(frozen=True)
class TurnRecord:
    """Tokens, seconds and tool calls of one API request.

    `input_tokens` is the whole prompt after context editing: what was neither read from the cache nor written to it
    (`uncached_input_tokens`), and what was.
    """

    input_tokens: int
    uncached_input_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int
    output_tokens: int
    cleared_input_tokens: int
    cleared_tool_uses: int
    seconds: float
    stop_reason: str | None
    tool_calls: tuple[CallRecord, ...]


@dataclass(frozen=True)
class Answer:
    """What came back for one user request."""

    request: str
    text: str
    stop_reason: str | None
    turns: tuple[TurnRecord, ...]


def answered_by_stand_in(connection: Connection) -> bool:
    """Whether the offline stand-in answers, be it in this process or over HTTP, and not Claude."""
    if connection.offline:
        return True
    try:
        described = connection.client.beta.models.with_raw_response.retrieve(connection.model)
    except anthropic.APIError:
        return False
    return "x-offline-stand-in" in described.headers


def learn_request(category: str, file: str) -> str:
    """The request of a learning session: it tells a symptom, as the person who met the bug would."""
    symptom = SYMPTOMS[category].format(file=file)
    return f"{symptom} Review {file}, find the cause, and note what will help to recognise it in other code."


def review_request(file: str) -> str:
    """The request of a review: it says nothing about what may be wrong."""
    return f"Review {file}."


def ask(
    connection: Connection,
    messages: list[dict[str, Any]],
    request: str,
    memory: MemoryHandler,
    tools: Sequence[RunnableTool],
    system: str = SYSTEM,
    **options: Any,
) -> Answer:
    """Add a request to a conversation and run it to its end. `options` go to the turn loop.

    Raises ConversationError when the API gives no answer.
    """
    messages.append({"role": "user", "content": request})
    turns: list[TurnRecord] = []
    response = run_conversation_loop(
        connection.client,
        connection.model,
        messages,
        memory,
        system,
        max_turns=MAX_TURNS,
        tools=tools,
        on_turn=lambda turn: turns.append(_record(turn)),
        **options,
    )
    text = "\n".join(block.text for block in response.content if block.type == "text")
    return Answer(request, text, response.stop_reason, tuple(turns))


def _record(turn: Turn) -> TurnRecord:
    usage = turn.response.usage
    return TurnRecord(
        input_tokens=turn.input_tokens,
        uncached_input_tokens=usage.input_tokens,
        cache_creation_input_tokens=usage.cache_creation_input_tokens or 0,
        cache_read_input_tokens=usage.cache_read_input_tokens or 0,
        output_tokens=turn.output_tokens,
        cleared_input_tokens=turn.cleared_input_tokens,
        cleared_tool_uses=turn.cleared_tool_uses,
        seconds=turn.seconds,
        stop_reason=turn.response.stop_reason,
        tool_calls=tuple(
            CallRecord(call.name, call.input, call.is_error, sentence(call)) for call in turn.tool_calls
        ),
    )
