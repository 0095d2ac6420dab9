"""The stand-in's API: a request in, an answer out, with no network between.

It does not think and does not pretend to: a responder given by the caller answers for the model, every message names
`offline-stand-in` as its model, and every answer has the header `x-offline-stand-in: true`. Token counts are estimates.
The same requests in the same order give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from memory_demo.offline import models, streaming, thinking
from memory_demo.offline.caching import CacheUsage, PromptCache, explicit_breakpoints, prompt_segments
from memory_demo.offline.compaction import instruction_tokens, since_compaction, summarise
from memory_demo.offline.context import Context, edited_context
from memory_demo.offline.faults import BrokenStream, DroppedConnection, ErrorAnswer, Fault
from memory_demo.offline.prompt import Responder, Summariser
from memory_demo.offline.replies import PAUSED, Output, as_message, iteration, write_out
from memory_demo.offline.structured_output import NoInstance, fitted
from memory_demo.offline.tokens import estimate
from memory_demo.offline.turns import blocks_of, turns_of
from memory_demo.offline.validation import (
    BLOCK_BINDING_BETA,
    Call,
    Rejected,
    betas_of,
    check_call,
    check_headers,
    check_shape,
    invalid,
    not_found,
    parse_json,
)

_LOG = logging.getLogger(__name__)
KEPT_REQUESTS = 200
_CACHE_TTLS = {"5m": 300.0, "1h": 3600.0}


@dataclass(frozen=True)
class Answer:
    """An HTTP response. A body in pieces is a stream; one that breaks off ends without being complete."""

    status: int
    headers: Mapping[str, str]
    body: bytes | tuple[bytes, ...]
    breaks_off: bool = False


class ConnectionDropped(Exception):
    """There is no answer: the connection ended, because a fault says so."""


class Received(NamedTuple):
    """A request as it arrived, for tests and for looking at what a client sends."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


class OfflineAPI:
    """Answers for the API. `requests` has the latest requests, `KEPT_REQUESTS` at most, the oldest first.

    `summariser` writes the summary where a request compacts. `faults` are used up one a request. `clock` gives the seconds by which cache entries age; by default they
    do not. Calls may come from several threads.
    """

    def __init__(
        self,
        responder: Responder,
        *,
        summariser: Summariser = summarise,
        faults: Sequence[Fault] = (),
        clock: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.requests: deque[Received] = deque(maxlen=KEPT_REQUESTS)
        self._responder = responder
        self._summariser = summariser
        self._faults = deque(faults)
        self._clock = clock
        self._cache = PromptCache()
        self._paused: set[str] = set()
        self._lock = threading.Lock()

    def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """The answer to a request. `path` may have a query. Raises ConnectionDropped."""
        received = Received(method, path, {name.lower(): value for name, value in headers.items()}, body)
        with self._lock:
            self.requests.append(received)
            fault = self._faults.popleft() if self._faults else None
            if isinstance(fault, DroppedConnection):
                raise ConnectionDropped("The connection was dropped before there was an answer.")
            if isinstance(fault, ErrorAnswer):
                return _error_answer(received, fault.status, fault.type, fault.message, headers=fault.headers)
            answer = self._answer(received)
        if isinstance(fault, BrokenStream):
            return _broken(answer, fault.after_events)
        return answer

    def _answer(self, received: Received) -> Answer:
        try:
            check_headers(received.headers)
            return self._route(received)
        except Rejected as error:
            return _error_answer(received, error.status, error.type, error.message, error.details)
        except Exception as error:
            _LOG.exception("The offline stand-in failed on %s %s", received.method, received.path)
            message = f"The offline stand-in failed: {type(error).__name__}: {error}"
            return _error_answer(received, 500, "api_error", message, headers={"x-should-retry": "false"})

    def _route(self, received: Received) -> Answer:
        url = urlsplit(received.path)
        query = parse_qs(url.query)
        routes: dict[str, tuple[str, Callable[[], Answer]]] = {
            "/v1/messages": ("POST", lambda: self._messages(received, query)),
            "/v1/messages/count_tokens": ("POST", lambda: self._count_tokens(received, query)),
            "/v1/models": ("GET", lambda: _json_answer(received, _list_models(query))),
        }
        model_id = unquote(url.path.removeprefix("/v1/models/"))
        if url.path.startswith("/v1/models/") and "/" not in model_id:
            routes[url.path] = ("GET", lambda: _json_answer(received, _describe_model(model_id)))
        if url.path not in routes:
            raise not_found("Not found")
        method, answer = routes[url.path]
        if received.method != method:
            raise Rejected(405, "invalid_request_error", "Method Not Allowed")
        return answer()

    def _count_tokens(self, received: Received, query: Mapping[str, list[str]]) -> Answer:
        context = edited_context(self._checked(received, query, counting=True))
        count: dict[str, Any] = {"input_tokens": context.input_tokens}
        if "context_management" in context.call.request:
            count["context_management"] = {"original_input_tokens": context.original_input_tokens}
        return _json_answer(received, count)

    def _messages(self, received: Received, query: Mapping[str, list[str]]) -> Answer:
        call = self._checked(received, query, counting=False)
        request = call.request
        history = thinking.check(request, since_compaction(call.turns), call.model, call.betas)
        context = edited_context(call, history.dropped)
        iterations = []
        if context.compaction:
            context, used = self._compact(context)
            iterations.append(used)
            history = thinking.after_compaction(request, context.summary, history.dropped)
        if context.compaction and context.compaction.get("pause_after_compaction"):
            output, cached = PAUSED, CacheUsage(0, 0, 0)
        else:
            output, cached = self._write(context, history), self._cached(context)
            iterations.append(iteration("message", output.output_tokens, cached, _cache_ttl(request)))
        message = {"id": _ids(request)("msg_", 0), **as_message(output, cached, _cache_ttl(request))}
        if context.summary:
            message["content"] = [context.summary, *message["content"]]
        if context.may_compact:
            message["usage"]["iterations"] = iterations
        if "context_management" in request:
            applied = [edit.as_response() for edit in context.applied_edits]
            message["context_management"] = {"applied_edits": applied}
        if BLOCK_BINDING_BETA in call.betas:
            message["input_transformations"] = [drop.as_response() for drop in history.dropped]
        return self._message_answer(received, request, message, output.cut_input)

    def _compact(self, context: Context) -> tuple[Context, dict[str, Any]]:
        """The context with a summary in place of its messages, and the usage of writing it."""
        summary = self._summariser(context.prompt())
        cached = self._cached(context)
        asked = cached.input_tokens + instruction_tokens(context.compaction or {})
        ttl = _cache_ttl(context.call.request)
        used = iteration("compaction", estimate(summary), cached._replace(input_tokens=asked), ttl)
        return context.compacted(summary), used

    def _write(self, context: Context, history: thinking.History) -> Output:
        request = context.call.request
        try:
            reply = fitted(self._responder(context.prompt()), request)
        except NoInstance as error:
            raise invalid(str(error)) from None
        return write_out(
            reply,
            max_tokens=request["max_tokens"],
            stop_sequences=request.get("stop_sequences") or (),
            thinking=thinking.new_block(request, context.call.model, history, reply.thinking),
            new_id=_ids(request),
        )

    def _message_answer(
        self, received: Received, request: Mapping[str, Any], message: dict[str, Any], cut_input: str | None
    ) -> Answer:
        if message["stop_reason"] == "pause_turn":
            turns = turns_of([*request["messages"], {"role": "assistant", "content": message["content"]}])
            self._paused.add(turns[-1].key)
        if not request.get("stream"):
            return _json_answer(received, message)
        chunks = tuple(map(streaming.encode, streaming.events(message, cut_input)))
        headers = {**_headers(received), "content-type": "text/event-stream; charset=utf-8"}
        return Answer(200, headers, chunks)

    def _checked(self, received: Received, query: Mapping[str, list[str]], *, counting: bool) -> Call:
        betas = betas_of(received.headers)
        request = parse_json(received.body)
        beta = bool(betas) or query.get("beta") == ["true"]
        check_shape(request, betas, beta=beta, counting=counting)
        return check_call(request, betas, self._paused)

    def _cached(self, context: Context) -> CacheUsage:
        """Automatic caching puts a breakpoint on the last block; marked blocks are breakpoints of their own."""
        request = context.call.request
        parts = (request.get("system"), request.get("tools"), context.messages)
        breakpoints = explicit_breakpoints(*parts)
        if not breakpoints and not request.get("cache_control"):
            return CacheUsage(context.input_tokens, 0, 0)
        segments = prompt_segments(*parts)
        if request.get("cache_control"):
            breakpoints.append(len(segments))
        return self._cache.account(
            model=context.call.model.id,
            segments=segments,
            minimum=context.call.model.min_cacheable,
            now=self._clock(),
            breakpoints=breakpoints,
            ttl=_CACHE_TTLS[_cache_ttl(request)],
        )


def _list_models(query: Mapping[str, list[str]]) -> dict[str, Any]:
    limit = query.get("limit", ["20"])[-1]
    if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit) <= 1000:
        raise invalid("limit: Input should be a valid integer between 1 and 1000")
    after_id, before_id = (query.get(name, [None])[-1] for name in ("after_id", "before_id"))
    lifecycles = frozenset(query.get("lifecycle[]", []) + query.get("lifecycle", []))
    return models.page_of_models(int(limit), after_id, before_id, lifecycles)


def _describe_model(name: str) -> dict[str, Any]:
    model = models.find(name)
    if model is None:
        raise not_found(f"model: {name}")
    return models.model_info(model)


def _cache_ttl(request: Mapping[str, Any]) -> str:
    """The lifetime of what this request caches: the longest that it asks for."""
    blocks = chain.from_iterable(blocks_of(message.get("content") or ()) for message in request["messages"])
    system = blocks_of(request.get("system") or ())
    marks = (
        item.get("cache_control") or {} for item in (request, *(request.get("tools") or ()), *system, *blocks)
    )
    return "1h" if any(mark.get("ttl") == "1h" for mark in marks) else "5m"


def _ids(request: Mapping[str, Any]) -> Callable[[str, int], str]:
    """Ids derived from the request, the same whether it streams or not."""
    content = {key: value for key, value in request.items() if key != "stream"}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return lambda prefix, index: f"{prefix}{digest[:20]}{index:02}"


def _json_answer(received: Received, content: Mapping[str, Any]) -> Answer:
    return Answer(200, _headers(received), json.dumps(content, ensure_ascii=False).encode("utf-8", "replace"))


def _error_answer(
    received: Received,
    status: int,
    type: str,
    message: str,
    details: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    answer_headers = {**_headers(received), **(headers or {})}
    error: dict[str, Any] = {"type": type, "message": message}
    if details:
        error["details"] = details
    content = {"type": "error", "error": error, "request_id": answer_headers["request-id"]}
    return Answer(status, answer_headers, json.dumps(content).encode())


def _headers(received: Received) -> dict[str, str]:
    digest = hashlib.sha256(f"{received.method} {received.path}\n".encode() + received.body).hexdigest()
    return {
        "content-type": "application/json",
        "request-id": f"req_{digest[:24]}",
        "x-offline-stand-in": "true",
    }


def _broken(answer: Answer, after_events: int) -> Answer:
    if isinstance(answer.body, bytes):
        raise ConnectionDropped("The connection was dropped before there was an answer.")
    return replace(answer, body=answer.body[:after_events], breaks_off=True)
