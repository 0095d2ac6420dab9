"""Requests that others recorded with the API's answers: the stand-in gives the same status, and what was seen agrees."""

import json
from pathlib import Path

import pytest

from memory_demo.offline import OfflineAPI, Reply

REQUESTS = json.loads((Path(__file__).parent / "recorded_requests.json").read_text(encoding="utf-8"))[
    "requests"
]


def answer(recorded):
    headers = {
        "x-api-key": "k",
        "anthropic-version": "2023-06-01",
        "anthropic-beta": ",".join(recorded["betas"]),
    }
    api = OfflineAPI(lambda prompt: Reply(({"type": "text", "text": "Done."},)))
    given = api.handle(
        "POST", f"{recorded['path']}?beta=true", headers, json.dumps(recorded["request"]).encode()
    )
    return given.status, json.loads(given.body)


def seen(name, content):
    """What a recording says of an answer, in the stand-in's."""
    if name == "message":
        return content["error"]["message"]
    if name == "input_tokens":
        return pytest.approx((content.get("usage") or content)["input_tokens"], rel=0.03)
    if name == "applied_edits":
        return content["context_management"]["applied_edits"]
    if name == "iterations":
        return [step["type"] for step in content["usage"]["iterations"]]
    return list(json.loads(content["content"][0]["text"]))


@pytest.mark.parametrize("recorded", REQUESTS, ids=lambda recorded: Path(recorded["source"]).stem)
def test_the_stand_in_answers_as_the_api_did(recorded):
    status, content = answer(recorded)
    assert status == recorded["status"], content
    assert {name: seen(name, content) for name in recorded["seen"]} == recorded["seen"]


def test_a_request_that_was_not_recorded_so_is_refused():
    """The control: the same requests with one field too many."""
    for recorded in REQUESTS:
        assert answer({**recorded, "request": {**recorded["request"], "surprise": 1}})[0] in (400, 404)
