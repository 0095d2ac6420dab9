"""The turn loop: send the conversation, run the tools Claude asks for, send their results, until it is done.

Copy this file together with your memory: it needs nothing else of this repository. The way in is
`run_conversation_loop`, or `run_conversation_loop_async` for an AsyncAnthropic client; `run_conversation_turn` is one
request of it. What is sent and what a reply means is plain data and pure functions, here at the top; below them are
the drivers, which talk to the API and run the tools.

`messages` is plain JSON at any time: save it with `json.dumps`, load it elsewhere, and go on. It only ever grows.
Current models bind each thinking block to the system prompt, the tools and the messages before it, and the API
refuses a conversation of which an earlier part was changed.
"""

from __future__ import annotations

import asyncio
import base64
import inspect
import itertools
import json
import logging
import math
import re
import sys
import time
import unicodedata
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence, Set, ValuesView
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeGuard

import anthropic
import httpx2
import pydantic
from anthropic.lib.tools import (
    BetaAsyncBuiltinFunctionTool,
    BetaAsyncFunctionTool,
    BetaBuiltinFunctionTool,
    BetaFunctionTool,
    ToolError,
)
from anthropic.types.beta import BetaMessage
from anthropic.types.beta.beta_tool_result_block_param import Content as ResultBlock

log = logging.getLogger(__name__)

CONTEXT_MANAGEMENT_BETA = "context-management-2025-06-27"
MEMORY_TOOL: dict[str, Any] = {"type": "memory_20250818", "name": "memory"}

RunnableTool = BetaFunctionTool[Any] | BetaBuiltinFunctionTool
AsyncRunnableTool = BetaAsyncFunctionTool[Any] | BetaAsyncBuiltinFunctionTool
_SYNC = (BetaFunctionTool, BetaBuiltinFunctionTool)
_ASYNC = (BetaAsyncFunctionTool, BetaAsyncBuiltinFunctionTool)
Messages = list[dict[str, Any]]
_PAUSED = ("pause_turn", "compaction")


class Say(Protocol):
    """Prints, or does not."""

    def __call__(self, text: str, end: str = "\n") -> None: ...


class MemoryHandler(Protocol):
    """What the loop needs of a memory."""

    def execute(self, params: object = None, /) -> Mapping[str, str]:
        """Run one memory command; the answer has either a `success` or an `error` text."""


class ConversationError(RuntimeError):
    """There was no usable answer. The message says what to do; `messages` is as it was before the request."""


class ConversationChangedError(ConversationError):
    """The API refused the conversation: system prompt, tools or an earlier message changed since Claude answered."""


# The core: what is sent, and what a reply means.


class ToolUse(NamedTuple):
    """What Claude asked for. `input` is an object unless the model got it wrong."""

    id: str
    name: str
    input: Any


def request(
    model: str,
    messages: Messages,
    system: str | list[dict[str, Any]],
    tools: list[dict[str, Any]],
    context_management: dict[str, Any] | None,
    max_tokens: int,
    **more: Any,
) -> dict[str, Any]:
    """What one turn sends: the whole conversation, every time. Clearing is the server's work, not ours."""
    sent = [message for message in messages if message != {"role": "assistant", "content": []}]
    params = {"model": model, "system": system, "messages": sent, "tools": tools, "max_tokens": max_tokens}
    if context_management is not None:
        betas = dict.fromkeys([CONTEXT_MANAGEMENT_BETA, *(more.pop("betas", None) or ())])
        more |= {"context_management": context_management, "betas": list(betas)}
    return params | {name: value for name, value in more.items() if value is not None}


def read_reply(response: BetaMessage) -> tuple[list[dict[str, Any]], list[ToolUse]]:
    """A reply as it goes back, every block as it came, and the tool uses to answer. A refused one must not go back.

    What could not be sent again is mended: two uses with one id, an input that is no object. A reply that the API paused
    has to stay last, so nothing in it is answered.
    """
    content: list[dict[str, Any]] = []
    uses: list[ToolUse] = []
    for block in map(plain, response.content if response.stop_reason != "refusal" else ()):
        if block["type"] == "tool_use":
            taken = {use.id for use in uses}
            new_id = next(name for name in _numbered(block["id"]) if name not in taken)
            given = block.get("input")
            uses.append(ToolUse(new_id, block["name"], given))
            block |= {"id": new_id, "input": given if isinstance(given, dict) else {}}
        content.append(block)
    return content, [] if response.stop_reason in _PAUSED else uses


def tool_result(use: ToolUse, result: object, is_error: bool = False) -> dict[str, Any]:
    """The answer to a tool use, whatever the tool returned: text, content blocks, or anything else as JSON."""
    content = _as_content(result)
    if is_error:
        content = _text_only(content) or "The tool gave no reason."
    block = {"type": "tool_result", "tool_use_id": use.id, "content": content}
    return block | {"is_error": True} if is_error else block


def append_turn(messages: Messages, turn: Turn) -> None:
    """Add the reply, and the results in one user message. An empty reply is left out: it cannot be sent again."""
    new = [("assistant", turn.assistant_content), ("user", turn.tool_results)]
    # In one step, as an interrupt between the two would leave tool uses without results.
    messages.extend([{"role": role, "content": content} for role, content in new if content])


def goes_on(turn: Turn) -> bool:
    """Whether the next request follows at once: tools have run, or the API paused a reply that is not finished."""
    if turn.response.stop_reason in _PAUSED:
        return bool(turn.assistant_content)
    return _ended_by_itself(turn.response) and bool(turn.tool_results)


# What is returned.


@dataclass(frozen=True)
class ToolCall:
    """One tool use with its result, as both were sent back."""

    name: str
    input: dict[str, Any]
    result: Any
    is_error: bool


class _Turn(NamedTuple):
    response: BetaMessage
    assistant_content: list[dict[str, Any]]
    tool_results: list[dict[str, Any]]


class Turn(_Turn):
    """One request: its response, and what to append to `messages` for it. A tuple of these three, with names.

    Tokens are those of `response.usage`, of all its iterations where it lists any: `input_tokens` counts the whole
    prompt after context editing, cached or not; `cleared_input_tokens` and `cleared_tool_uses` are what the applied
    edits took out. `seconds` is the time that request and tools took.
    """

    seconds: float = 0.0

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool uses of this turn with their results, in order; none where the API paused."""
        if not self.tool_results:
            return ()
        uses = (block for block in self.assistant_content if block["type"] == "tool_use")
        return tuple(
            ToolCall(use["name"], use["input"], result["content"], result.get("is_error", False))
            for use, result in zip(uses, self.tool_results, strict=True)
        )

    @property
    def input_tokens(self) -> int:
        """Input tokens after context editing."""
        names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
        return sum(_count(usage, *names) for usage in _iterations(self.response))

    @property
    def output_tokens(self) -> int:
        """Output tokens, thinking included."""
        return sum(_count(usage, "output_tokens") for usage in _iterations(self.response))

    @property
    def applied_edits(self) -> list[dict[str, Any]]:
        """What context editing did to this request, as the API reports it."""
        management = self.response.context_management
        return [plain(edit) for edit in management.applied_edits] if management else []

    @property
    def cleared_input_tokens(self) -> int:
        """Input tokens that context editing took out of this request."""
        return sum(edit.get("cleared_input_tokens") or 0 for edit in self.applied_edits)

    @property
    def cleared_tool_uses(self) -> int:
        """Tool uses whose results context editing took out of this request."""
        return sum(edit.get("cleared_tool_uses") or 0 for edit in self.applied_edits)


def print_context_management_info(response: BetaMessage) -> tuple[bool, int]:
    """Print what context editing took out of the request behind `response`, and the input tokens it left.

    Returns whether anything was cleared, and how many input tokens that saved.
    """
    turn = Turn(response, [], [])
    cleared = bool(turn.cleared_tool_uses or turn.cleared_input_tokens)
    if cleared:
        _say(
            f"Context editing cleared {turn.cleared_tool_uses} tool uses, "
            f"{turn.cleared_input_tokens:,} input tokens."
        )
    else:
        _say("Context editing cleared nothing.")
    _say(f"Input tokens after editing: {turn.input_tokens:,}")
    return cleared, turn.cleared_input_tokens


# The driver for Anthropic.


def run_conversation_loop(
    client: anthropic.Anthropic,
    model: str,
    messages: Messages,
    memory_handler: MemoryHandler | None,
    system: str | list[dict[str, Any]],
    context_management: dict[str, Any] | None = None,
    max_tokens: int = 16_000,
    max_turns: int = 20,
    verbose: bool = False,
    *,
    tools: Sequence[RunnableTool] = (),
    stream: bool | None = None,
    on_turn: Callable[[Turn], None] | None = None,
    **more: Any,
) -> BetaMessage:
    """Run turns until Claude stops asking for tools, and return its last response.

    `messages` grows in place and stays valid to send, so the next request is one more user message and one more
    call. If `max_turns` ends the loop, the last response still says `tool_use` and its results wait in `messages`.
    `tools` are the SDK's runnable tools (`@beta_tool`), beside memory. `stream=None` streams when `verbose`.
    `more` goes to the API as it is (`thinking`, `cache_control`, ...), but for what is None.

    Raises ConversationError when the API gives no usable answer; the turns before it stay in `messages`.
    """
    if max_turns < 1:
        raise ValueError(f"max_turns must be at least 1, not {max_turns}.")
    say = _say if verbose else _say_nothing
    for number in range(1, max_turns + 1):
        say(f"[turn {number}]")
        turn = run_conversation_turn(
            client,
            model,
            messages,
            memory_handler,
            system,
            context_management,
            max_tokens,
            verbose,
            tools=tools,
            stream=stream,
            **more,
        )
        append_turn(messages, turn)
        if on_turn is not None:
            on_turn(turn)
        if not goes_on(turn):
            break
    else:
        say(f"Stopped after max_turns={max_turns} with work pending; call again to go on.")
    return turn.response


def run_conversation_turn(
    client: anthropic.Anthropic,
    model: str,
    messages: Messages,
    memory_handler: MemoryHandler | None,
    system: str | list[dict[str, Any]],
    context_management: dict[str, Any] | None = None,
    max_tokens: int = 16_000,
    verbose: bool = False,
    *,
    tools: Sequence[RunnableTool] = (),
    stream: bool | None = None,
    **more: Any,
) -> Turn:
    """Send one request and run the tools it asks for. `messages` is left alone: `append_turn` adds what came of it.

    The result is a tuple of response, assistant content and tool results.
    """
    runners = _runners(memory_handler, tools, _SYNC)
    params = request(
        model, messages, system, _definitions(memory_handler, tools), context_management, max_tokens, **more
    )
    started = time.perf_counter()
    say = _say if verbose else _say_nothing
    response = _send(client, params, verbose if stream is None else stream, say)
    content, uses = read_reply(response)
    results = []
    for use in uses:
        refused = _objection(use, response, runners)
        results.append(tool_result(use, refused, True) if refused else _run(use, runners[use.name]))
    return _turn(response, content, results, started, say)


def _run(use: ToolUse, runner: Callable[[Any], object]) -> dict[str, Any]:
    try:
        return tool_result(use, runner(use.input))
    except Exception as error:
        return tool_result(use, _explained(use, error), is_error=True)


def _send(client: anthropic.Anthropic, params: dict[str, Any], stream: bool, say: Say) -> BetaMessage:
    """One request; rate limits, overload and lost connections are retried by the SDK before they get here."""
    try:
        message = _streamed(client, params, say) if stream else client.beta.messages.create(**params)
    except _NO_ANSWER as error:
        raise _conversation_error(error, params["model"]) from error
    return _complete(message, _say_nothing if stream else say)


def _streamed(client: anthropic.Anthropic, params: dict[str, Any], say: Say) -> BetaMessage | None:
    def read() -> Iterator[tuple[str, BetaMessage | None]]:
        try:
            for event in stream:
                yield _read_event(event)
        except Exception as error:
            raise _unreadable(error) from error

    whole = None
    with client.beta.messages.stream(**params) as stream:
        for words, message in read():
            say(words, end="")
            whole = message or whole
    return whole


# The driver for AsyncAnthropic.


async def run_conversation_loop_async(
    client: anthropic.AsyncAnthropic,
    model: str,
    messages: Messages,
    memory_handler: MemoryHandler | None,
    system: str | list[dict[str, Any]],
    context_management: dict[str, Any] | None = None,
    max_tokens: int = 16_000,
    max_turns: int = 20,
    verbose: bool = False,
    *,
    tools: Sequence[RunnableTool | AsyncRunnableTool] = (),
    stream: bool | None = None,
    on_turn: Callable[[Turn], None] | None = None,
    **more: Any,
) -> BetaMessage:
    """As `run_conversation_loop`. Of one turn, asynchronous tools run at once; memory and other synchronous tools run
    one after another, in a thread, so that they need not be safe to run beside themselves."""
    if max_turns < 1:
        raise ValueError(f"max_turns must be at least 1, not {max_turns}.")
    say = _say if verbose else _say_nothing
    for number in range(1, max_turns + 1):
        say(f"[turn {number}]")
        turn = await run_conversation_turn_async(
            client,
            model,
            messages,
            memory_handler,
            system,
            context_management,
            max_tokens,
            verbose,
            tools=tools,
            stream=stream,
            **more,
        )
        append_turn(messages, turn)
        if on_turn is not None:
            on_turn(turn)
        if not goes_on(turn):
            break
    else:
        say(f"Stopped after max_turns={max_turns} with work pending; call again to go on.")
    return turn.response


async def run_conversation_turn_async(
    client: anthropic.AsyncAnthropic,
    model: str,
    messages: Messages,
    memory_handler: MemoryHandler | None,
    system: str | list[dict[str, Any]],
    context_management: dict[str, Any] | None = None,
    max_tokens: int = 16_000,
    verbose: bool = False,
    *,
    tools: Sequence[RunnableTool | AsyncRunnableTool] = (),
    stream: bool | None = None,
    **more: Any,
) -> Turn:
    """As `run_conversation_turn`."""
    runners = _runners(memory_handler, tools, (*_SYNC, *_ASYNC))
    params = request(
        model, messages, system, _definitions(memory_handler, tools), context_management, max_tokens, **more
    )
    started = time.perf_counter()
    say = _say if verbose else _say_nothing
    response = await _send_async(client, params, verbose if stream is None else stream, say)
    content, uses = read_reply(response)
    one_by_one = asyncio.Lock()

    async def answer(use: ToolUse) -> dict[str, Any]:
        refused = _objection(use, response, runners)
        if refused:
            return tool_result(use, refused, is_error=True)
        return await _run_async(use, runners[use.name], one_by_one)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(answer(use)) for use in uses]
    return _turn(response, content, [task.result() for task in tasks], started, say)


async def _run_async(use: ToolUse, runner: Callable[[Any], Any], one_by_one: asyncio.Lock) -> dict[str, Any]:
    try:
        if inspect.iscoroutinefunction(runner):
            return tool_result(use, await runner(use.input))
        async with one_by_one:
            return tool_result(use, await asyncio.to_thread(runner, use.input))
    except Exception as error:
        return tool_result(use, _explained(use, error), is_error=True)


async def _send_async(
    client: anthropic.AsyncAnthropic, params: dict[str, Any], stream: bool, say: Say
) -> BetaMessage:
    try:
        if stream:
            message = await _streamed_async(client, params, say)
        else:
            message = await client.beta.messages.create(**params)
    except _NO_ANSWER as error:
        raise _conversation_error(error, params["model"]) from error
    return _complete(message, _say_nothing if stream else say)


async def _streamed_async(
    client: anthropic.AsyncAnthropic, params: dict[str, Any], say: Say
) -> BetaMessage | None:
    async def read() -> AsyncIterator[tuple[str, BetaMessage | None]]:
        try:
            async for event in stream:
                yield _read_event(event)
        except Exception as error:
            raise _unreadable(error) from error

    whole = None
    async with client.beta.messages.stream(**params) as stream:
        async for words, message in read():
            say(words, end="")
            whole = message or whole
    return whole


# Tools.


def _objection(use: ToolUse, response: BetaMessage, offered: Iterable[str]) -> str | None:
    """Why a tool use is answered without being run, in words for the model; None if it is to be run."""
    if not _ended_by_itself(response):
        return f"Not run: the reply ended early ({response.stop_reason}). Try again."
    if use.name not in offered:
        return f"There is no tool {_short(use.name)}; offered: {', '.join(sorted(offered)) or 'none'}."
    if not isinstance(use.input, dict):
        return f"Invalid input for {use.name}: it must be an object, not {_short(json.dumps(use.input))}"
    return None


def _definitions(
    memory_handler: MemoryHandler | None, tools: Iterable[RunnableTool | AsyncRunnableTool]
) -> list[dict[str, Any]]:
    memory = [] if memory_handler is None else [MEMORY_TOOL]
    return [*memory, *(dict(tool.to_dict()) for tool in tools)]


def _runners(
    memory_handler: MemoryHandler | None,
    tools: Iterable[RunnableTool | AsyncRunnableTool],
    kinds: tuple[type, ...],
) -> dict[str, Callable[[Any], Any]]:
    runners: dict[str, Callable[[Any], Any]] = {}
    if memory_handler is not None:
        runners[MEMORY_TOOL["name"]] = partial(_run_memory, memory_handler)
    for tool in tools:
        if not isinstance(tool, kinds):
            raise TypeError(f"{tool!r} is not a runnable tool for this client; make it with @beta_tool.")
        if tool.name in runners:
            raise ValueError(f"Two tools are named {tool.name!r}; rename one.")
        runners[tool.name] = tool.call
    return runners


def _run_memory(memory_handler: MemoryHandler, params: dict[str, Any]) -> str:
    answer = memory_handler.execute(params)
    if "error" in answer:
        raise ToolError(answer["error"])
    return answer["success"]


def _explained(use: ToolUse, error: Exception) -> object:
    """What the model is told of a tool that raised. A defect of ours is logged; its details stay here."""
    if isinstance(error, ToolError):
        return error.content
    if isinstance(error.__cause__, pydantic.ValidationError):
        problems = error.__cause__.errors()[:5]
        told = "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in problems)
        return f"Invalid input for {use.name}: {told}"
    log.error("tool %s failed on %s", use.name, use.input, exc_info=error)
    return f"The tool {use.name} failed; go on without it."


# Plain data.


def plain(value: object) -> Any:
    """A value as JSON data that can be sent: SDK objects as the SDK would send them, a lone surrogate as U+FFFD."""
    if isinstance(value, str):
        return re.sub("[\ud800-\udfff]", "\ufffd", value)
    if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, pydantic.BaseModel):
        left_out = getattr(value, "__api_exclude__", None)
        # Of the SDK's objects, what the API did not send must not go back. A tool's own are sent whole.
        unset = isinstance(value, anthropic.BaseModel)
        value = value.model_dump(
            mode="json", by_alias=True, exclude_unset=unset, exclude=left_out, warnings=False
        )
    if isinstance(value, Mapping):
        return {plain(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence | Set | ValuesView | Iterator) and not isinstance(value, bytes):
        return [plain(item) for item in value]
    return plain(str(value))


def _as_content(result: object) -> str | list[dict[str, Any]]:
    content = plain(result)
    if content is None:
        return "Done; the tool returned nothing."
    if isinstance(content, str) or _are_blocks(content):
        return content
    return json.dumps(content, ensure_ascii=False)


# By default pydantic overlooks a field too many, and the API does not.
_RESULT_BLOCKS = pydantic.TypeAdapter(
    list[ResultBlock],
    config=pydantic.ConfigDict(arbitrary_types_allowed=True, extra="forbid", defer_build=True),
)


def _are_blocks(content: object) -> TypeGuard[list[dict[str, Any]]]:
    """What the API takes as content of a tool result, by the SDK's types. All else is data, text without a word as well.

    A list that the API refuses would stay in the conversation, and be refused again with every further request.
    """
    try:
        _RESULT_BLOCKS.validate_python(content)
    except pydantic.ValidationError:
        return False
    blocks: Any = content
    return bool(blocks) and all(map(_is_sendable, blocks))


def _is_sendable(block: Mapping[str, Any]) -> bool:
    """What the types do not say: a text has words, and what is called base64 is that, no path and no bytes object."""
    if block["type"] == "text":
        return bool(block["text"].strip())
    source = block.get("source")
    if isinstance(source, dict) and source["type"] == "base64":
        try:
            base64.b64decode(source["data"], validate=True)
        except ValueError:
            return False
    return True


def _text_only(content: str | list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """The API takes only text in an error result."""
    if isinstance(content, str):
        return content
    return [block for block in content if block["type"] == "text"]


def _numbered(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name}_{number}" for number in itertools.count(2))


def _ended_by_itself(response: BetaMessage) -> bool:
    """Neither cut off nor refused. Some servers end a reply that asks for tools with `end_turn`."""
    return response.stop_reason in ("tool_use", "end_turn")


def _iterations(response: BetaMessage) -> Iterable[object]:
    """After compaction the figures on top of `usage` are the last iteration's alone."""
    return response.usage.iterations or (response.usage,)


def _count(holder: object, *names: str) -> int:
    return sum(getattr(holder, name, None) or 0 for name in names)


def _turn(
    response: BetaMessage,
    content: list[dict[str, Any]],
    results: list[dict[str, Any]],
    started: float,
    say: Say,
) -> Turn:
    turn = Turn(response, content, results)
    turn.seconds = time.perf_counter() - started
    _say_turn(turn, say)
    return turn


# Faults: one sentence each.


class _UnreadableReply(Exception):
    """The API's answer is not what the SDK can read."""


_NO_ANSWER = (
    anthropic.APIError,
    httpx2.RequestError,
    _UnreadableReply,
    json.JSONDecodeError,  # the SDK reads a 200 as JSON if it says that it is
    UnicodeError,
)
_KINDS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_CHANGED = re.compile(r"Invalid `signature` in `thinking` block|thinking` blocks in .* cannot be modified")


def _complete(message: object, say: Say) -> BetaMessage:
    """The message, if it is one from its first block to its usage."""
    if message is None:
        raise ConversationError("The API's answer ended before it was complete; repeat the call.")
    if not isinstance(message, BetaMessage) or not _is_whole(message):
        raise ConversationError(
            f"The answer is {_seen(message)}, not a message of the Messages API; check ANTHROPIC_BASE_URL."
        )
    text = "".join(block.text for block in message.content if block.type == "text").strip()
    if text:
        say(text)
    return message


def _seen(answer: object) -> str:
    text = answer if isinstance(answer, str) else json.dumps(plain(answer))
    return "a page of HTML" if text.lstrip().startswith("<") else _short(text) or "empty"


def _is_whole(message: BetaMessage) -> bool:
    content, usage = getattr(message, "content", None), getattr(message, "usage", None)
    return (
        isinstance(getattr(message, "stop_reason", None), str)
        and isinstance(content, list)
        and all(map(_is_block, content))
        and all(isinstance(getattr(usage, name, None), int) for name in ("input_tokens", "output_tokens"))
    )


def _is_block(block: object) -> bool:
    needs = {"text": ("text",), "tool_use": ("id", "name")}
    names = ("type", *needs.get(str(getattr(block, "type", None)), ()))
    return all(isinstance(getattr(block, name, None), str) for name in names)


def _read_event(event: Any) -> tuple[str, BetaMessage | None]:
    """The text that a stream's event adds, and the whole message if it is the event that ends it."""
    if event.type == "text":
        return event.text, None
    if event.type == "content_block_stop":
        return ("\n" if event.content_block.type == "text" else ""), None
    return "", (event.message if event.type == "message_stop" else None)


def _unreadable(error: Exception) -> Exception:
    return error if isinstance(error, anthropic.APIError | httpx2.RequestError) else _UnreadableReply()


def _conversation_error(error: Exception, model: str) -> ConversationError:
    if isinstance(error, anthropic.APIStatusError):
        return _status_error(error, model)
    if isinstance(error, UnicodeEncodeError):
        return ConversationError(
            "The request holds half a surrogate pair, which cannot be sent; read the text in with errors='replace'."
        )
    if isinstance(error, _UnreadableReply | ValueError | anthropic.APIResponseValidationError):
        return ConversationError("The API's answer could not be read; repeat the call.")
    return ConversationError("The connection to the API was lost; repeat the call.")


def _status_error(error: anthropic.APIStatusError, model: str) -> ConversationError:
    """An error in a stream comes after status 200 and names its kind; elsewhere servers agree on statuses only."""
    status, said = error.status_code, _api_message(error)
    kind = _KINDS.get(status) or ("api_error" if status >= 500 else "invalid_request_error")
    if status < 400:
        kind = str(error.type)
    code = f" (HTTP {status})" if status >= 400 else ""
    if kind == "invalid_request_error" and _CHANGED.search(said):
        return ConversationChangedError(
            f"The conversation changed after Claude had answered; put it back, or start a new one ({said})"
        )
    wait = error.response.headers.get("retry-after")
    advice = {
        "authentication_error": "The API refused the key; check ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN.",
        "permission_error": f"The API does not permit this request with this key{code}: {said}",
        "not_found_error": f"The API does not serve the model {model!r}; "
        "name a current one by --model or ANTHROPIC_MODEL.",
        "rate_limit_error": "The rate limit still holds after retries; "
        f"repeat the call {f'in {wait} s' if wait else 'later'}.",
        "overloaded_error": f"The API is overloaded{code}; repeat the call later.",
        "timeout_error": f"The API took too long{code}; repeat the call, or stream.",
        "api_error": f"The API is failing{code}; repeat the call later.",
    }
    if kind == "not_found_error" and model not in said:
        return ConversationError(
            f"There is no Messages API at {error.request.url}; check ANTHROPIC_BASE_URL."
        )
    return ConversationError(advice.get(kind, f"The API rejected the request: {said}"))


def _api_message(error: anthropic.APIStatusError) -> str:
    """What the API says; a page of HTML, as proxies send it, says nothing."""
    if error.api_message:
        return _short(error.api_message, 400)
    return "no reason was given" if "<" in error.message else _short(error.message, 400)


# verbose=True.


def _say_turn(turn: Turn, say: Say) -> None:
    """Tool calls as they were made, what was cleared, and how the reply ended if that needs saying."""
    for call in turn.tool_calls:
        outcome = call.result if isinstance(call.result, str) else json.dumps(call.result)
        say(f"  {call.name} {_short(json.dumps(call.input, ensure_ascii=False))}")
        say(f"    {'error: ' if call.is_error else ''}{_short(outcome)}")
    if turn.cleared_tool_uses or turn.cleared_input_tokens:
        say(
            f"  (context editing cleared {turn.cleared_tool_uses} tool uses, "
            f"{turn.cleared_input_tokens:,} input tokens)"
        )
    ended = {
        "max_tokens": "The reply reached max_tokens and was cut off.",
        "refusal": "Claude declined to answer; the turn was not added to the conversation.",
        "model_context_window_exceeded": "The reply filled the model's context window and was cut off.",
        "stop_sequence": f"The reply stopped at {turn.response.stop_sequence!r}.",
        "pause_turn": "The API paused a long turn; continuing.",
    }
    if turn.response.stop_reason in ended:
        say(f"  {ended[turn.response.stop_reason]}")


def _say(text: str, end: str = "\n") -> None:
    """Print; what could steer a terminal becomes U+FFFD, what stdout cannot encode becomes `?`."""
    safe = "".join(c if c in "\n\t" or unicodedata.category(c) != "Cc" else "\ufffd" for c in text)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(safe.encode(encoding, errors="replace").decode(encoding), end=end, flush=True)


def _say_nothing(text: str, end: str = "\n") -> None:
    pass


def _short(text: str, limit: int = 100) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 3]}..."
