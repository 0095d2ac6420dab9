"""Below the SDK: a transport that records what passes, and one that answers from a recording."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anthropic
import httpx2
from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from memory_demo.live.budget import Booking, Budget
from memory_demo.live.recordings import (
    Exchange,
    RecordingFailed,
    add,
    difference,
    is_stream,
    json_or_text,
    load,
    screened,
    stream_events,
)

_LOG = logging.getLogger(__name__)
# Answers that a client asks for again; the answer that counts is the one after them.
_PASSING = frozenset({408, 409, 429})
_KEPT_HEADERS = frozenset({"content-type", "x-offline-stand-in"})
_TIMEOUT = httpx2.Timeout(600, connect=10)
_REPLAY_URL = "http://replay.invalid"
_REPLAYED = {"x-replay": "true", "x-should-retry": "false"}


class RecordingTransport(httpx2.BaseTransport, httpx2.AsyncBaseTransport):
    """Passes requests on to another transport and records each with its answer; serves both kinds of client.

    Answers are read to their end before they are handed on. Overload, rate limits and server errors are not recorded.
    The dearest answer to a request counts as spent until the answer says what it cost: one that is lost stays paid for.

    Raises BudgetSpent before a request that could overdraw the budget, and RecordingFailed when it cannot write.
    """

    def __init__(self, inner: httpx2.BaseTransport, directory: Path, budget: Budget) -> None:
        self._inner = inner
        self._directory = directory
        self._budget = budget
        self._one = CapacityLimiter(1)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send, record, answer."""
        body = _json(request.read())
        booking = None
        if isinstance(body, dict) and request.url.path.endswith("/messages"):
            with _writing(request):
                booking = self._budget.book(body)
        try:
            response = self._inner.handle_request(request)
        except (httpx2.ConnectError, httpx2.ConnectTimeout):  # nothing was sent
            with _writing(request):
                self._settle(booking, {})
            raise
        content = response.read()
        with _writing(request):
            self._record(request, body, response, content, booking)
        headers = {
            name: value
            for name, value in response.headers.items()
            if name not in ("content-encoding", "content-length", "transfer-encoding")
        }
        return httpx2.Response(response.status_code, headers=headers, content=content, request=request)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """The same in a thread: one request at a time, so that two do not spend the same rest of a budget."""
        return await run_sync(self.handle_request, request, limiter=self._one)

    def close(self) -> None:
        """Close the transport below."""
        self._inner.close()

    async def aclose(self) -> None:
        """The same for an asynchronous client."""
        self.close()

    def _settle(self, booking: Booking | None, usage: Mapping[str, Any]) -> None:
        if booking:
            self._budget.settle(booking, usage)

    def _record(
        self,
        request: httpx2.Request,
        body: Any,
        response: httpx2.Response,
        content: bytes,
        booking: Booking | None,
    ) -> None:
        text = content.decode("utf-8", "replace")
        answer = text if is_stream(response.headers) else _json(content)
        usage = usage_of(answer) if response.is_success else {}
        if usage or _is_refused(response.status_code, answer):
            self._settle(booking, usage)
        if response.status_code >= 500 or response.status_code in _PASSING:
            return
        if isinstance(answer, dict):
            answer.pop("request_id", None)
        headers = {name: value for name, value in response.headers.items() if name in _KEPT_HEADERS}
        asked = (request.method, _path(request), _betas(request), body)
        exchange = Exchange(*asked, response.status_code, headers, answer)
        kept = screened(exchange)
        if kept.withheld:
            _LOG.warning("%s %s is left out of the recording: %s", kept.method, kept.path, kept.withheld)
        add(self._directory, kept)


def recording_client(directory: Path, limit: float, **client_options: Any) -> anthropic.Anthropic:
    """A client that records into a directory, and raises BudgetSpent when `limit` dollars do not suffice.

    `client_options` are those of the SDK.
    """
    client = httpx2.Client(transport=_recording(directory, limit), timeout=_TIMEOUT)
    return anthropic.Anthropic(http_client=client, **client_options)


def recording_async_client(directory: Path, limit: float, **client_options: Any) -> anthropic.AsyncAnthropic:
    """As `recording_client`, asynchronous; both may record into one directory, and share its budget."""
    client = httpx2.AsyncClient(transport=_recording(directory, limit), timeout=_TIMEOUT)
    return anthropic.AsyncAnthropic(http_client=client, **client_options)


def replay_client(directory: Path) -> anthropic.Anthropic:
    """A client that answers from a recording. Raises RecordingError.

    A request that was recorded several times gets its answers in their order, each client from the first on, and then the
    last one again. One that was not recorded gets an error that says where it differs from the next one in the recording.
    """
    client = httpx2.Client(transport=_replaying(directory))
    return anthropic.Anthropic(api_key="replay", base_url=_REPLAY_URL, http_client=client)


def replay_async_client(directory: Path) -> anthropic.AsyncAnthropic:
    """As `replay_client`, asynchronous."""
    client = httpx2.AsyncClient(transport=_replaying(directory))
    return anthropic.AsyncAnthropic(api_key="replay", base_url=_REPLAY_URL, http_client=client)


def _recording(directory: Path, limit: float) -> RecordingTransport:
    return RecordingTransport(httpx2.HTTPTransport(), directory, Budget(directory, limit))


def _replaying(directory: Path) -> httpx2.MockTransport:
    return httpx2.MockTransport(_replay(load(directory), directory))


def usage_of(answer: Any) -> dict[str, Any]:
    """The final usage of a message, plain or streamed; empty for a stream that was cut off and everything else."""
    if isinstance(answer, dict):
        return answer.get("usage") or {}
    first: dict[str, Any] = {}
    final: dict[str, Any] = {}
    for event in stream_events(str(answer or "")):
        match event:
            case {"type": "message_start", "message": {"usage": dict(usage)}}:
                first = usage
            case {"type": "message_delta", "usage": dict(usage)}:
                final |= usage
    return first | final if final else {}


def _is_refused(status: int, answer: Any) -> bool:
    """Whether nothing is billed. A gateway that gave up says nothing of what the server behind it goes on with."""
    of_the_api = isinstance(answer, dict) and answer.get("type") == "error"
    return 400 <= status < 500 or (status >= 500 and of_the_api)


@contextmanager
def _writing(request: httpx2.Request) -> Iterator[None]:
    """Ends the run where an exchange cannot be written: the SDK would take any error for one of the connection."""
    try:
        yield
    except Exception as error:
        what = f"{request.method} {_path(request)} cannot be recorded"
        raise RecordingFailed(f"{what} ({type(error).__name__}: {error}).") from error


def _replay(exchanges: Sequence[Exchange], directory: Path) -> Callable[[httpx2.Request], httpx2.Response]:
    answers: dict[str, list[Exchange]] = {}
    for exchange in exchanges:
        if not exchange.withheld:
            answers.setdefault(_key(exchange.asked), []).append(exchange)
    waiting = list(exchanges)

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked = {
            "method": request.method,
            "path": _path(request),
            "betas": list(_betas(request)),
            "request": _json(request.content),
        }
        found = answers.get(_key(asked))
        if not found:
            return _unexpected(waiting, asked, directory)
        exchange = found.pop(0) if len(found) > 1 else found[0]
        if exchange in waiting:
            waiting.remove(exchange)
        body = exchange.answer if isinstance(exchange.answer, str) else json.dumps(exchange.answer)
        return httpx2.Response(exchange.status, headers=exchange.headers | _REPLAYED, content=body.encode())

    return answer


def _unexpected(waiting: Sequence[Exchange], asked: Mapping[str, Any], directory: Path) -> httpx2.Response:
    same = [exchange for exchange in waiting if exchange.path == asked["path"]]
    following = next(iter(same or waiting), None)
    if following is None:
        why = "all its answers have been given"
    elif following.withheld:
        why = f"the next one in it was withheld, since {following.withheld}"
    else:
        why = difference(following.asked, asked).removeprefix("request.")
        withheld = next((exchange.withheld for exchange in waiting if exchange.withheld), "")
        why += f"; others in it were withheld, since {withheld}" if withheld else ""
    message = f"The recording {directory} has no answer to this request: {why}."
    error = {"type": "error", "error": {"type": "replay_mismatch", "message": message}}
    return httpx2.Response(400, headers=_REPLAYED, json=error)


def _key(asked: Mapping[str, Any]) -> str:
    return json.dumps(asked, sort_keys=True)


def _path(request: httpx2.Request) -> str:
    """Path and query from the version on; a gateway may put something before it."""
    return re.sub(r"^.*?(?=/v1/)", "", request.url.raw_path.decode()).removesuffix("?beta=true")


def _betas(request: httpx2.Request) -> tuple[str, ...]:
    return tuple(sorted(name for name in request.headers.get("anthropic-beta", "").split(",") if name))


def _json(body: bytes) -> Any:
    return json_or_text(body.decode("utf-8", "replace")) if body else None
