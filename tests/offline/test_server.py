"""The stand-in over loopback HTTP."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import anthropic
import httpx2
import pytest

from memory_demo.offline import OfflineAPI, Reply, client_for
from memory_demo.offline.__main__ import main
from memory_demo.offline.faults import BrokenStream, DroppedConnection, overloaded

ROOT = Path(__file__).parents[2]
REQUEST = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Grüße"}],
}


def respond(prompt):
    return Reply(({"type": "text", "text": f"{prompt.messages[0]['content'][0]['text']} zurück."},))


def sdk(url, **options):
    return anthropic.Anthropic(api_key="offline", base_url=url, **{"max_retries": 0, **options})


def test_http_gives_what_the_client_in_process_gets(serve):
    over_http = sdk(serve(OfflineAPI(respond)), _strict_response_validation=True)
    in_process = client_for(OfflineAPI(respond))
    plain = over_http.beta.messages.create(**REQUEST)
    assert plain.content[-1].text == "Grüße zurück."
    assert plain.to_dict() == in_process.beta.messages.create(**REQUEST).to_dict()
    with over_http.beta.messages.stream(**REQUEST) as stream:
        assert stream.get_final_message().to_dict() == plain.to_dict()
    assert over_http.models.list(limit=3).to_dict() == in_process.models.list(limit=3).to_dict()
    assert over_http.models.retrieve("claude-haiku-4-5").max_tokens == 64_000


def test_the_same_request_gives_the_same_response_headers_and_all(serve):
    url = serve(OfflineAPI(respond))
    headers = {"x-api-key": "k", "anthropic-version": "2023-06-01"}
    first, second = (
        httpx2.post(f"{url}/v1/messages", headers=headers, content=json.dumps(REQUEST)) for _ in range(2)
    )
    assert first.content == second.content
    assert first.headers == second.headers
    assert first.headers["x-offline-stand-in"] == "true"
    assert "date" not in first.headers


def test_errors_pass_through(serve):
    client = sdk(serve(OfflineAPI(respond, faults=[overloaded()])))
    with pytest.raises(anthropic.OverloadedError):
        client.messages.create(**REQUEST)
    with pytest.raises(anthropic.BadRequestError, match="foo: Extra inputs are not permitted"):
        client.messages.create(**REQUEST, extra_body={"foo": 1})
    with pytest.raises(anthropic.NotFoundError):
        client.get("/v1/nothing", cast_to=object)


def test_connections_are_really_dropped(serve):
    client = sdk(serve(OfflineAPI(respond, faults=[DroppedConnection(), BrokenStream(3)])))
    with pytest.raises(anthropic.APIConnectionError):
        client.messages.create(**REQUEST)
    events = []
    with pytest.raises((anthropic.APIConnectionError, httpx2.RemoteProtocolError)):
        for event in client.messages.create(**REQUEST, stream=True):
            events.append(event.type)
    assert events == ["message_start", "content_block_start"]
    assert client.messages.create(**REQUEST).stop_reason == "end_turn"


def free_port():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return unused.getsockname()[1]


def command(*arguments):
    return [sys.executable, "-m", "memory_demo.offline", *map(str, arguments)]


def test_the_command_says_how_to_point_a_client_at_it_and_ends_quietly():
    port = free_port()
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"}
    with subprocess.Popen(command("--port", port), cwd=ROOT, **pipes) as process:
        try:
            line = process.stdout.readline()
            assert f"ANTHROPIC_BASE_URL=http://127.0.0.1:{port}" in line
            client = sdk(f"http://127.0.0.1:{port}", max_retries=8)
            message = client.messages.create(**{**REQUEST, "max_tokens": 1000})
            assert message.stop_reason == "end_turn"
            if sys.platform != "win32":
                process.send_signal(signal.SIGINT)
                assert process.communicate(timeout=10) == ("", "")
                assert process.returncode == 0
        finally:
            process.terminate()


@pytest.mark.parametrize("port", ["99999", "-1", "http"])
def test_a_port_that_is_none_is_refused_in_one_sentence(port, capsys):
    with pytest.raises(SystemExit) as ended:
        main([f"--port={port}"])
    assert ended.value.code == 2
    assert "choose a number from 0 to 65535" in capsys.readouterr().err.splitlines()[-1]
