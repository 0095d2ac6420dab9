"""A strict stand-in for the Claude API, so that the real SDK runs with no key and no network.

    client = offline_client()
    client.beta.messages.create(model="claude-sonnet-5-5", max_tokens=1024, messages=[...])

It is not Claude. A responder answers for the model, by default the rule-based reviewer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import anthropic
import httpx2

from memory_demo.offline.api import Answer, ConnectionDropped, OfflineAPI
from memory_demo.offline.compaction import summarise
from memory_demo.offline.faults import Fault
from memory_demo.offline.prompt import Prompt, Reply, Responder, Summariser

__all__ = [
    "Fault",
    "OfflineAPI",
    "Prompt",
    "Reply",
    "Responder",
    "Summariser",
    "async_client_for",
    "client_for",
    "offline_async_client",
    "offline_client",
    "summarise",
]

# A name that no network can resolve (RFC 2606), should a request ever leave the process.
BASE_URL = "http://offline.invalid"
_BROKEN_OFF = "peer closed connection without sending complete message body (incomplete chunked read)"


def offline_client(
    responder: Responder | None = None,
    *,
    summariser: Summariser = summarise,
    faults: Sequence[Fault] = (),
    **client_options: Any,
) -> anthropic.Anthropic:
    """An SDK client whose requests a stand-in of its own answers. `client_options` are those of the SDK."""
    return client_for(
        OfflineAPI(responder or _reviewer(), summariser=summariser, faults=faults), **client_options
    )


def offline_async_client(
    responder: Responder | None = None, **client_options: Any
) -> anthropic.AsyncAnthropic:
    """As `offline_client`, asynchronous."""
    return async_client_for(OfflineAPI(responder or _reviewer()), **client_options)


def client_for(api: OfflineAPI, **client_options: Any) -> anthropic.Anthropic:
    """An SDK client whose requests `api` answers."""

    def send(request: httpx2.Request) -> httpx2.Response:
        answer = _ask(api, request)
        body = answer.body if isinstance(answer.body, bytes) else _stream(answer.body, answer.breaks_off)
        return httpx2.Response(answer.status, headers=dict(answer.headers), content=body)

    transport = httpx2.MockTransport(send)
    return anthropic.Anthropic(http_client=httpx2.Client(transport=transport), **_options(client_options))


def async_client_for(api: OfflineAPI, **client_options: Any) -> anthropic.AsyncAnthropic:
    """As `client_for`, asynchronous."""

    def send(request: httpx2.Request) -> httpx2.Response:
        answer = _ask(api, request)
        body = answer.body if isinstance(answer.body, bytes) else _astream(answer.body, answer.breaks_off)
        return httpx2.Response(answer.status, headers=dict(answer.headers), content=body)

    transport = httpx2.MockTransport(send)
    return anthropic.AsyncAnthropic(
        http_client=httpx2.AsyncClient(transport=transport), **_options(client_options)
    )


def _reviewer() -> Responder:
    from memory_demo.reviewer import (
        review,
    )  # not at the top, as the reviewer takes its types from this package

    return review


def _options(client_options: dict[str, Any]) -> dict[str, Any]:
    return {"api_key": "offline", "base_url": BASE_URL, **client_options}


def _ask(api: OfflineAPI, request: httpx2.Request) -> Answer:
    try:
        return api.handle(request.method, request.url.raw_path.decode(), request.headers, request.content)
    except ConnectionDropped as error:
        raise httpx2.ConnectError(str(error), request=request) from None


def _stream(chunks: Sequence[bytes], breaks_off: bool) -> Iterator[bytes]:
    yield from chunks
    if breaks_off:
        raise httpx2.RemoteProtocolError(_BROKEN_OFF)


async def _astream(chunks: Sequence[bytes], breaks_off: bool) -> AsyncIterator[bytes]:
    for chunk in _stream(chunks, breaks_off):
        yield chunk
