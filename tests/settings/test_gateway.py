"""Servers on loopback that answer `POST /v1/messages` and little else: noticed, said once, gone on without."""

import asyncio
import json
import logging
import threading
import time
import typing
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anthropic
import httpx2
import pytest
from anthropic.lib.tools import BetaAbstractMemoryTool
from anthropic.types.beta import BetaMemoryTool20250818Command

from memory_demo import gateway
from memory_demo.assistant import CONTEXT_MANAGEMENT, CodeReviewAssistant
from memory_demo.demo_helpers import run_conversation_loop, run_conversation_loop_async
from memory_demo.notebook_support import models_that_clear
from memory_demo.offline import OfflineAPI, client_for
from memory_demo.offline.__main__ import server_for
from memory_demo.reviewer import review
from memory_demo.settings import API_URL, Settings, SettingsError, connect, connect_async
from memory_tool import MemoryToolHandler

MODEL = "qwen3-coder"
PAGE = b"<!DOCTYPE html>\n<html><title>Sign in</title></html>"
KNOWN = {"model", "max_tokens", "messages", "system", "tools", "stream"}


def reply(body):
    """A local model that looks at its memory and is done."""
    answered = any(isinstance(m["content"], list) and m["role"] == "user" for m in body["messages"])
    if body.get("tools") and not answered and body["max_tokens"] > 1:
        use = {"type": "tool_use", "id": "call_1", "name": "memory"}
        content, reason = [{**use, "input": {"command": "view", "path": "/memories"}}], "tool_use"
    else:
        content, reason = [{"type": "text", "text": "Nothing to report."}], "end_turn"
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": content,
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": {"input_tokens": 7, "output_tokens": 3},
    }


def as_stream(message):
    [block] = message["content"]
    if block["type"] == "text":
        empty, delta = {**block, "text": ""}, {"type": "text_delta", "text": block["text"]}
    else:
        delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        empty = {**block, "input": {}}
    ended = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    events = [
        {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": empty},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": ended, "usage": {"output_tokens": 3}},
        {"type": "message_stop"},
    ]
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode()


def overlooks(path, headers, body):
    """Like Ollama: what it does not know, it does not see."""
    return (200, reply(body)) if path == "/v1/messages" else (404, {"error": "not found"})


def refuses(path, headers, body):
    """POST /v1/messages to the letter, and nothing else."""
    if path != "/v1/messages":
        return 404, PAGE
    unknown = sorted(set(body) - KNOWN) + [name for name in headers if name.lower() == "anthropic-beta"]
    if unknown:
        return 400, {"error": {"message": f"unknown: {unknown}"}}
    if any("input_schema" not in tool for tool in body.get("tools", ())):
        return 500, {"error": {"message": "key 'input_schema' not found"}}
    return 200, reply(body)


def overlooks_but_knows_no_caching(path, headers, body):
    return (
        (400, {"error": {"message": "cache_control?"}})
        if body and "cache_control" in body
        else overlooks(path, headers, body)
    )


def edits_context(path, headers, body):
    """A proxy before the API, with the betas and without a list of models."""
    if path.endswith("count_tokens"):
        return 200, {"input_tokens": 7}
    if path != "/v1/messages":
        return 403, {"error": {"message": "not allowed"}}
    return 200, {**reply(body), "context_management": {"applied_edits": []}}


def edits_context_without_memory(path, headers, body):
    """Knows context editing, but not the tool of that type."""
    if body and any("type" in tool for tool in body.get("tools", ())):
        return 400, {"error": {"message": "Input tag 'memory_20250818' found using 'type' is not known"}}
    return edits_context(path, headers, body)


class Server:
    def __init__(self, answer):
        self.requests = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                length = int(self.headers.get("content-length", 0))
                body = json.loads(self.rfile.read(length) or b"null")
                server.requests.append((self.path, dict(self.headers), body))
                status, content = answer(self.path, self.headers, body)
                kind = "text/html" if isinstance(content, bytes) else "application/json"
                if body and body.get("stream"):
                    kind, content = "text/event-stream", as_stream(content)
                if not isinstance(content, bytes):
                    content = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    @property
    def settings(self):
        return Settings(False, MODEL, "a test", auth_token="canary", base_url=self.url)


@pytest.fixture
def serve():
    servers = []

    def start(answer):
        servers.append(Server(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


ALL = "context editing, memory tool, prompt caching or token counting"
SERVERS = {
    "overlooks": (overlooks, "context editing, memory tool or token counting"),
    "refuses": (refuses, ALL),
    "overlooks but knows no caching": (overlooks_but_knows_no_caching, ALL),
    "edits context": (edits_context, ""),
    "edits context without memory": (edits_context_without_memory, "memory tool"),
}


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_that_describes_no_models_has_none_that_clear(serve, name):
    client = anthropic.Anthropic(auth_token="canary", base_url=serve(SERVERS[name][0]).url)
    assert models_that_clear(client) == []


def test_the_models_that_clear_are_those_that_say_so():
    client = client_for(OfflineAPI(review))
    said = {info.id: info.capabilities.to_dict() for info in client.beta.models.list()}
    can = [name for name in said if said[name]["context_management"]["clear_tool_uses_20250919"]["supported"]]
    assert models_that_clear(client) == can
    assert "claude-sonnet-5-5" in can


@pytest.mark.parametrize("name", SERVERS)
def test_what_a_server_lacks_is_said_once_and_a_review_goes_on_without(serve, tmp_path, caplog, name):
    answer, lacks = SERVERS[name]
    server = serve(answer)
    with caplog.at_level(logging.WARNING):
        client, model, offline = connect(server.settings)
        asked = len(server.requests)
        assistant = CodeReviewAssistant(tmp_path, client=client, model=model)
        for _ in range(2):
            assistant.start_new_session()
            review = assistant.review_code("x = 1\n", "x.py")
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    assert said[0].startswith(f"The server at {server.url} has no description of its models")
    assert f"{lacks}: going on without" in said[0]
    assert ("ordinary tool" in said[0]) == ("memory tool" in lacks)
    assert not offline
    assert review.text == "Nothing to report."
    [call] = review.turns[0].tool_calls
    assert (call.name, call.is_error) == ("memory", False)
    for _, headers, body in server.requests[asked:]:
        names = {name.lower() for name in headers}
        assert "Bearer canary" in headers.values()
        has_editing = "context" in name and "edits" in name
        assert ("anthropic-beta" in names) == has_editing
        assert body.get("context_management") == (CONTEXT_MANAGEMENT if has_editing else None)
        memory = next(tool for tool in body["tools"] if tool["name"] == "memory")
        assert memory == (
            gateway.MEMORY_FUNCTION
            if "memory tool" in lacks
            else {"type": "memory_20250818", "name": "memory"}
        )


@pytest.mark.parametrize("name", SERVERS)
def test_the_asynchronous_client_leaves_out_the_same(serve, tmp_path, name):
    client = connect_async(serve(SERVERS[name][0]).settings)
    messages = [{"role": "user", "content": "Review x.py"}]
    clearing = {"edits": [{"type": "clear_tool_uses_20250919"}]}
    memory = MemoryToolHandler(tmp_path)
    asyncio.run(run_conversation_loop_async(client, MODEL, messages, memory, "You review code.", clearing))
    assert [entry["role"] for entry in messages] == ["user", "assistant", "user", "assistant"]


@pytest.mark.parametrize("name", SERVERS)
def test_the_runner_of_the_sdk_works_against_each_server(serve, tmp_path, name):
    """It asks for a thread by itself, which most servers do not know."""
    client, model, _ = connect(serve(SERVERS[name][0]).settings)
    runner = client.beta.messages.tool_runner(
        model=model,
        max_tokens=1000,
        messages=[{"role": "user", "content": "Review x.py"}],
        tools=[MemoryToolHandler(tmp_path).as_tool()],
        context_management=CONTEXT_MANAGEMENT,
        betas=["context-management-2025-06-27"],
    )
    assert [block.text for block in runner.until_done().content] == ["Nothing to report."]


FAULTS = {
    "HTML": (200, PAGE, "is a page of HTML, not a message of the Messages API; check ANTHROPIC_BASE_URL"),
    "401": (401, {"error": {"message": "no"}}, "refused the key; check ANTHROPIC_API_KEY or"),
    "403": (403, {"error": {"message": "no seat"}}, r"does not permit .*\(HTTP 403\): no seat"),
    "403 in HTML": (403, PAGE, r"does not permit .*\(HTTP 403\): no reason was given"),
    "404": (404, PAGE, "There is no Messages API at .*/v1/messages; check ANTHROPIC_BASE_URL"),
    "no such model": (
        404,
        {"type": "error", "error": {"type": "not_found_error", "message": f"model '{MODEL}' not found"}},
        f"does not serve the model '{MODEL}'; name a current one by --model or ANTHROPIC_MODEL",
    ),
    "400": (
        400,
        {"error": {"message": f"{MODEL} does not support tools", "type": "api_error"}},
        "rejected the request: qwen3-coder does not support tools",
    ),
    "nothing": (200, b"", "not a message|could not be read"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_server_that_does_not_answer_is_one_sentence_that_names_it(serve, name):
    status, content, words = FAULTS[name]
    server = serve(lambda path, headers, body: (status, content))
    with pytest.raises(SettingsError, match=words) as caught:
        connect(server.settings)
    assert server.url in str(caught.value)
    assert "\n" not in str(caught.value) and "<" not in str(caught.value)


def test_a_server_that_is_not_there_is_asked_no_further(serve):
    server = serve(overlooks)
    server.close()
    settings = replace(server.settings, base_url=server.url.replace("//", "//me:canary-7c1e@"))
    with pytest.raises(SettingsError, match=r"could not be reached .*check ANTHROPIC_BASE_URL") as caught:
        connect(settings)
    assert server.url in str(caught.value) and "The API" not in str(caught.value)
    assert "canary-7c1e" not in str(caught.value)


def test_a_warning_names_the_address_without_a_password_in_it(serve, caplog):
    server = serve(overlooks)
    with caplog.at_level(logging.WARNING):
        connect(replace(server.settings, base_url=server.url.replace("//", "//me:canary-7c1e@")))
    [record] = caplog.records
    assert server.url in record.getMessage() and "canary-7c1e" not in caplog.text


def test_an_address_is_named_without_a_password_in_it(serve):
    server = serve(lambda path, headers, body: (400, b""))
    settings = replace(server.settings, base_url=server.url.replace("//", "//me:canary-7c1e@"))
    with pytest.raises(SettingsError) as caught:
        connect(settings)
    assert server.url in str(caught.value) and "canary-7c1e" not in str(caught.value)


def test_the_stand_in_over_http_describes_its_models_and_is_asked_nothing_else(caplog):
    api = OfflineAPI(review)
    server = server_for(api)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    settings = Settings(False, "claude-sonnet-5-5", "a test", api_key="x", base_url=url)
    connect(settings)
    assert [request.path for request in api.requests] == ["/v1/models/claude-sonnet-5-5"]
    assert caplog.records == []
    with pytest.raises(SettingsError, match="does not serve the model 'claude-sonnet-55'"):
        connect(Settings(False, "claude-sonnet-55", "a test", api_key="x", base_url=url))
    server.should_exit = True
    thread.join(timeout=10)


@pytest.fixture
def api(monkeypatch):
    """What answers at the API's own address; nothing leaves the process."""
    answers = []

    def answer(request):
        assert str(request.url).startswith(API_URL)
        status, kind, content = answers[0]
        return httpx2.Response(status, headers={"content-type": kind}, content=content)

    def client(**options):
        transport = httpx2.Client(transport=httpx2.MockTransport(answer))
        return original(**options, http_client=transport, max_retries=0)

    original = anthropic.Anthropic
    monkeypatch.setattr("memory_demo.settings.anthropic.Anthropic", client)
    return answers


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((200, "text/html", PAGE), "Something else than the API answers at https://api.anthropic.com"),
        ((200, "application/json", PAGE), "Something else than the API answers"),
        ((200, "application/json", b"null"), "Something else than the API answers"),
        ((200, "application/json", b'{"object": "list"}'), "Something else than the API answers"),
        ((403, "text/html", PAGE), r"does not let this key use the model .*\(HTTP 403\)"),
        ((403, "application/json", b'{"error": {"message": "x"}}'), "does not let this key use"),
        ((401, "text/html", PAGE), "refused the key"),
        ((503, "text/html", PAGE), "could not be reached"),
    ],
)
def test_at_the_api_itself_an_answer_that_is_no_model_is_one_sentence(api, answer, words):
    api.append(answer)
    with pytest.raises(SettingsError, match=words) as caught:
        connect(Settings(False, "claude-sonnet-5-5", "a test", api_key="x"))
    assert "\n" not in str(caught.value) and "<" not in str(caught.value)


def test_the_schema_of_the_ordinary_tool_is_what_the_sdk_says_of_the_typed_one():
    schema = gateway.MEMORY_FUNCTION["input_schema"]["properties"]
    commands = typing.get_args(typing.get_args(BetaMemoryTool20250818Command)[0])
    fields = {name: field.annotation for command in commands for name, field in command.model_fields.items()}
    names = {typing.get_args(command.model_fields["command"].annotation)[0] for command in commands}
    assert set(schema["command"]["enum"]) == names
    assert set(schema) == set(fields)
    kinds = {str: "string", int: "integer", typing.Optional[typing.List[int]]: "array"}  # noqa: UP006, UP045  as the SDK spells them
    assert {name: schema[name]["type"] for name in fields if name != "command"} == {
        name: kinds[fields[name]] for name in fields if name != "command"
    }
    assert gateway.MEMORY_FUNCTION["name"] == "memory"
    assert all(name in gateway.MEMORY_FUNCTION["description"] for name in names)
    assert all(hasattr(BetaAbstractMemoryTool, name) for name in names)


def test_streamed_against_a_server_that_has_only_messages(serve, tmp_path, capsys):
    client, model, _ = connect(serve(refuses).settings)
    messages = [{"role": "user", "content": "Review x.py"}]
    memory = MemoryToolHandler(tmp_path)
    run_conversation_loop(client, model, messages, memory, "You review code.", verbose=True)
    assert "Nothing to report." in capsys.readouterr().out
    assert messages[1]["content"][0]["input"] == {"command": "view", "path": "/memories"}
    assert messages[3]["content"] == [{"type": "text", "text": "Nothing to report."}]


KNOWN_MODEL = client_for(OfflineAPI(review)).beta.models.retrieve("claude-sonnet-5-5")
# The SDK says of `lifecycle` that a retired model remains in the catalogue.
RETIRED = KNOWN_MODEL.to_dict(mode="json") | {"lifecycle": "retired"}


def test_a_retired_model_is_refused_in_one_sentence(serve):
    server = serve(lambda path, headers, body: (200, RETIRED))
    with pytest.raises(SettingsError, match=f"^The model '{MODEL}' is retired; name a current one"):
        connect(server.settings)


def test_a_model_that_the_api_itself_calls_retired_is_refused(api):
    api.append((200, "application/json", json.dumps(RETIRED).encode()))
    with pytest.raises(SettingsError, match=f"^The model '{MODEL}' is retired; name a current one"):
        connect(Settings(False, MODEL, "a test", api_key="x"))
