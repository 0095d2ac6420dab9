"""An SDK client whose HTTP answers are written out in full, so that any fault can be one of them."""

import json

import anthropic
import httpx2

JSON = {"content-type": "application/json"}
EVENTS = {"content-type": "text/event-stream; charset=utf-8"}
USAGE = {"input_tokens": 10, "output_tokens": 5}


def message(*content, stop_reason="end_turn", **fields):
    """A complete reply, as the API words it."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-5-5",
        "content": list(content),
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": USAGE,
        **fields,
    }


def text(words):
    return {"type": "text", "text": words}


def use(name, given, id="toolu_1"):
    return {"type": "tool_use", "id": id, "name": name, "input": given}


def events_of(reply):
    """The events of a reply, one bytes object each. Tool inputs come as JSON in one piece."""
    started = {**reply, "content": [], "stop_reason": None, "usage": {**USAGE, "output_tokens": 1}}
    yield _event({"type": "message_start", "message": started})
    for index, block in enumerate(reply["content"]):
        empty = {**block, **({"input": {}} if block["type"] == "tool_use" else {"text": ""})}
        yield _event({"type": "content_block_start", "index": index, "content_block": empty})
        if block["type"] == "tool_use":
            delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        else:
            delta = {"type": "text_delta", "text": block["text"]}
        yield _event({"type": "content_block_delta", "index": index, "delta": delta})
        yield _event({"type": "content_block_stop", "index": index})
    ended = {"stop_reason": reply["stop_reason"], "stop_sequence": None}
    yield _event({"type": "message_delta", "delta": ended, "usage": reply["usage"]})
    yield _event({"type": "message_stop"})


def _event(data):
    return f"event: {data['type']}\ndata: {json.dumps(data)}\n\n".encode()


class Wire:
    """Answers each request with the next of `answers`, and keeps the bodies of the requests.

    An answer is a reply as a dict, which is streamed if the request asks for that, or (status, headers, bytes).
    """

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []

    def answer(self, request):
        body = json.loads(request.content)
        self.requests.append(body)
        answer = self.answers.pop(0)
        if isinstance(answer, tuple):
            status, headers, content = answer
            return httpx2.Response(status, headers=headers, content=content)
        if body.get("stream"):
            return httpx2.Response(200, headers=EVENTS, content=b"".join(events_of(answer)))
        return httpx2.Response(200, headers=JSON, content=json.dumps(answer).encode())

    def client(self):
        http_client = httpx2.Client(transport=httpx2.MockTransport(self.answer))
        return anthropic.Anthropic(
            api_key="x", base_url="http://wire.invalid", http_client=http_client, max_retries=0
        )

    def async_client(self):
        http_client = httpx2.AsyncClient(transport=httpx2.MockTransport(self.answer))
        return anthropic.AsyncAnthropic(
            api_key="x", base_url="http://wire.invalid", http_client=http_client, max_retries=0
        )
