"""Serve the stand-in over loopback HTTP: `python -m memory_demo.offline --port 8765`."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import uvicorn

from memory_demo.offline import OfflineAPI
from memory_demo.offline.api import Answer, ConnectionDropped
from memory_demo.reviewer import review

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]


def app_for(api: OfflineAPI) -> App:
    """An ASGI application that answers as `api` does."""

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        body = await _read_body(receive)
        query = scope["query_string"]
        path = scope["raw_path"].decode("latin-1") + (f"?{query.decode('latin-1')}" if query else "")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            answer = api.handle(scope["method"], path, headers, body)
        except ConnectionDropped:
            # An answer that promises more than it holds makes the server cut the connection.
            answer = Answer(200, {"content-length": "1"}, (), breaks_off=True)
        await _send_answer(answer, send)

    return app


def server_for(api: OfflineAPI, host: str = "127.0.0.1", port: int = 0) -> uvicorn.Server:
    """A server, not yet running. It adds no date to its answers, so that the same request has the same one."""
    config = uvicorn.Config(
        app_for(api),
        host=host,
        port=port,
        log_level="warning",
        lifespan="off",
        server_header=False,
        date_header=False,
    )
    return uvicorn.Server(config)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the server until it is interrupted."""
    parser = argparse.ArgumentParser(prog="python -m memory_demo.offline", description=__doc__)
    parser.add_argument("--port", type=_port, default=8765, help="default: %(default)s")
    parser.add_argument(
        "--host", default="127.0.0.1", help="default: %(default)s, reached from this machine only"
    )
    options = parser.parse_args(arguments)
    url = f"http://{options.host}:{options.port}"
    settings = f"ANTHROPIC_BASE_URL={url} ANTHROPIC_API_KEY=offline"
    print(f"Offline stand-in, not Claude. Point a client at it: {settings}", flush=True)
    with suppress(KeyboardInterrupt):
        server_for(OfflineAPI(review), options.host, options.port).run()


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; choose a number from 0 to 65535")
    return int(text)


async def _read_body(receive: Receive) -> bytes:
    pieces: list[bytes] = []
    while True:
        message = await receive()
        pieces.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(pieces)


async def _send_answer(answer: Answer, send: Send) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    chunks = (answer.body,) if isinstance(answer.body, bytes) else answer.body
    for chunk in chunks:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    if not answer.breaks_off:
        await send({"type": "http.response.body", "body": b""})


if __name__ == "__main__":
    main()
