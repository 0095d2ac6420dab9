"""What a server at ANTHROPIC_BASE_URL can do, and middleware that leaves out of requests what it cannot.

Gateways and local servers (Ollama, LM Studio, llama.cpp) answer `POST /v1/messages`. Beyond that they may have no
models endpoint, no betas and with them no context editing, no `memory_20250818`, no `count_tokens`. Some refuse a
request that asks for these, some overlook it; so a few requests of one token each find out. Memory then goes as an
ordinary tool with a schema, under the same name.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

import anthropic
import httpx2
from anthropic import APIRequest, APIResponse, AsyncAPIResponse, AsyncCallNext, CallNext
from anthropic.types.beta import BetaMessage

from memory_demo.demo_helpers import ConversationError, run_conversation_turn

log = logging.getLogger(__name__)

CONTEXT_EDITING = "context editing"
MEMORY_TOOL = "memory tool"
CACHING = "prompt caching"
FEATURES = frozenset({CONTEXT_EDITING, MEMORY_TOOL, CACHING})

# What needs a beta. The SDK's tool runner asks for a thread by itself, and goes on without where none is given.
_OF_BETAS = ("context_management", "thread")

# The fields are those of anthropic.types.beta.BetaMemoryTool20250818Command. What the API tells the model about
# memory by itself has to be said here.
MEMORY_FUNCTION: dict[str, Any] = {
    "name": "memory",
    "description": "Notes that outlive this conversation: text files below the directory /memories. View /memories "
    "before you do anything else, then the files that bear on the task. Record what will help next time, as the "
    "conversation may be interrupted. Commands: view (path, view_range), create (path, file_text; replaces a file "
    "that exists), str_replace (path, old_str, new_str), insert (path, insert_line, insert_text), delete (path), "
    "rename (old_path, new_path).",
    "input_schema": {
        "type": "object",
        "properties": {
            "command": {
                "type": "string",
                "enum": ["view", "create", "str_replace", "insert", "delete", "rename"],
            },
            "path": {"type": "string", "description": "Such as /memories or /memories/topic.md"},
            "view_range": {
                "type": "array",
                "items": {"type": "integer"},
                "description": "First and last line",
            },
            "file_text": {"type": "string", "description": "The whole text of the file"},
            "old_str": {"type": "string", "description": "Text to replace; it must occur exactly once"},
            "new_str": {"type": "string", "description": "What takes its place"},
            "insert_line": {"type": "integer", "description": "Insert after this line; 0 is the beginning"},
            "insert_text": {"type": "string", "description": "Text to insert"},
            "old_path": {"type": "string", "description": "What to rename"},
            "new_path": {"type": "string", "description": "Its new path, where nothing exists"},
        },
        "required": ["command"],
    },
}


def omissions(client: anthropic.Anthropic, model: str) -> list[LeaveOut]:
    """Middleware that leaves out what the server of `client` cannot do; what that is, is logged once, as a warning.

    It is for a server that does not describe its models as the API does, where they say what they can do. Raises
    ConversationError when the server does not answer even the simplest request.
    """
    missing = missing_features(client, model)
    middleware = [LeaveOut(missing)] if missing else []
    lacks = ["description of its models", *sorted(missing)]
    if not _counts_tokens(client.with_middleware(*middleware), model):
        lacks.append("token counting")
    instead = "; memory goes as an ordinary tool" if MEMORY_TOOL in missing else ""
    address = without_password(str(client.base_url))
    log.warning("The server at %s has no %s: going on without%s.", address, _or(lacks), instead)
    return middleware


def without_password(text: str) -> str:
    """Text that names addresses, without the names and passwords in them."""
    return re.sub(r"//[^/\s]*@", "//", text)


def missing_features(client: anthropic.Anthropic, model: str) -> frozenset[str]:
    """The FEATURES that the server does not have, by asking for all at once and, if that is refused, for one by one.

    An answer that does not report on context editing comes from a server that overlooks what it does not know. Then
    nothing tells whether it knows the memory tool, and an ordinary tool works everywhere.
    """
    response = _accepted(client, model, frozenset())
    if response is not None:
        return frozenset() if response.context_management else frozenset({CONTEXT_EDITING, MEMORY_TOOL})
    _ask(client, model, FEATURES)
    answers = {feature: _accepted(client, model, FEATURES - {feature}) for feature in FEATURES}
    missing = {feature for feature, answer in answers.items() if answer is None}
    edited = answers[CONTEXT_EDITING]
    if edited is None or not edited.context_management:
        missing |= {CONTEXT_EDITING, MEMORY_TOOL}
    return frozenset(missing)


class LeaveOut(anthropic.Middleware):
    """Takes what a server does not have out of each request to it."""

    def __init__(self, missing: frozenset[str]) -> None:
        self._missing = missing

    def handle(self, request: APIRequest, call_next: CallNext) -> APIResponse[Any]:
        """For Anthropic."""
        return call_next(self._reduced(request))

    async def handle_async(self, request: APIRequest, call_next: AsyncCallNext) -> AsyncAPIResponse[Any]:
        """For AsyncAnthropic."""
        return await call_next(self._reduced(request))

    def _reduced(self, request: APIRequest) -> APIRequest:
        body = request.json
        if not isinstance(body, Mapping):
            return request
        fields, headers = dict(body), request.headers
        if CONTEXT_EDITING in self._missing:
            for field in _OF_BETAS:
                fields.pop(field, None)
            headers = {name: value for name, value in headers.items() if name.lower() != "anthropic-beta"}
        if CACHING in self._missing:
            fields.pop("cache_control", None)
        if MEMORY_TOOL in self._missing and "tools" in fields:
            fields["tools"] = [_ordinary(tool) for tool in fields["tools"]]
        return request.copy(headers=headers, body=fields)


def _ordinary(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    return MEMORY_FUNCTION if tool.get("type") == "memory_20250818" else tool


class _NoMemory:
    def execute(self, params: object = None, /) -> dict[str, str]:
        return {"error": "There is no memory yet."}


def _ask(client: anthropic.Anthropic, model: str, missing: frozenset[str]) -> BetaMessage:
    """A request as the turn loop sends it, for an answer of one token."""
    turn = run_conversation_turn(
        client.with_middleware(LeaveOut(missing)),
        model,
        [{"role": "user", "content": "Say yes."}],
        _NoMemory(),
        "Answer with one word.",
        {"edits": [{"type": "clear_tool_uses_20250919"}]},
        max_tokens=1,
        cache_control={"type": "ephemeral"},
    )
    return turn.response


def _accepted(client: anthropic.Anthropic, model: str, missing: frozenset[str]) -> BetaMessage | None:
    """The answer, or None if the server refused. Raises ConversationError if there is no server."""
    try:
        return _ask(client, model, missing)
    except ConversationError as error:
        if isinstance(error.__cause__, anthropic.APIConnectionError | httpx2.RequestError):
            raise
        return None


def _counts_tokens(client: anthropic.Anthropic, model: str) -> bool:
    messages: Any = [{"role": "user", "content": "Say yes."}]
    try:
        counted = client.beta.messages.count_tokens(model=model, messages=messages)
    except (anthropic.APIError, httpx2.RequestError, ValueError):
        return False
    return isinstance(getattr(counted, "input_tokens", None), int)


def _or(names: list[str]) -> str:
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
