"""Faults on demand, as an SDK client meets them."""

import asyncio

import anthropic
import httpx2
import pytest

from memory_demo.offline import OfflineAPI, Reply, async_client_for, client_for
from memory_demo.offline.faults import BrokenStream, DroppedConnection, overloaded, rate_limit, server_error

REQUEST = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Hello"}],
}
FAULTS = {
    "rate limit": (rate_limit(0), anthropic.RateLimitError, "rate_limit_error"),
    "server error": (server_error(), anthropic.InternalServerError, "api_error"),
    "overloaded": (overloaded(), anthropic.OverloadedError, "overloaded_error"),
    "dropped connection": (DroppedConnection(), anthropic.APIConnectionError, None),
}


def api_with(*faults):
    return OfflineAPI(lambda prompt: Reply(({"type": "text", "text": "One two three four."},)), faults=faults)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """The SDK waits between its retries; here nobody is in a hurry to recover."""
    monkeypatch.setattr("anthropic._base_client.INITIAL_RETRY_DELAY", 0.0)
    monkeypatch.setattr("anthropic._base_client.MAX_RETRY_DELAY", 0.0)


@pytest.mark.parametrize(("fault", "error", "kind"), FAULTS.values(), ids=FAULTS)
def test_a_fault_reaches_a_client_that_does_not_retry(fault, error, kind):
    api = api_with(fault)
    client = client_for(api, max_retries=0)
    with pytest.raises(error) as caught:
        client.messages.create(**REQUEST)
    if kind:
        assert caught.value.body["error"]["type"] == kind
    assert client.messages.create(**REQUEST).stop_reason == "end_turn"
    assert len(api.requests) == 2


@pytest.mark.parametrize("fault", [fault for fault, _, _ in FAULTS.values()], ids=FAULTS)
def test_the_sdks_retries_get_over_a_fault(fault):
    api = api_with(fault, fault)
    assert client_for(api).messages.create(**REQUEST).stop_reason == "end_turn"
    assert len(api.requests) == 3


@pytest.mark.parametrize("fault", [fault for fault, _, _ in FAULTS.values()], ids=FAULTS)
def test_the_async_sdks_retries_get_over_a_fault(fault):
    api = api_with(fault)
    message = asyncio.run(async_client_for(api).messages.create(**REQUEST))
    assert message.stop_reason == "end_turn"
    assert len(api.requests) == 2


def test_faults_come_in_order_one_a_request():
    client = client_for(api_with(overloaded(), server_error(), rate_limit(0)), max_retries=0)
    statuses = []
    for _ in range(4):
        try:
            client.messages.create(**REQUEST)
            statuses.append(200)
        except anthropic.APIStatusError as error:
            statuses.append(error.status_code)
    assert statuses == [529, 500, 429, 200]


@pytest.mark.parametrize(("seconds", "header"), [(3, "3"), (0.5, "0.5")])
def test_a_rate_limit_says_when_to_come_back(seconds, header):
    with pytest.raises(anthropic.RateLimitError) as caught:
        client_for(api_with(rate_limit(seconds)), max_retries=0).messages.create(**REQUEST)
    assert caught.value.response.headers["retry-after"] == header


@pytest.mark.parametrize("after", [0, 1, 5])
def test_a_stream_breaks_off_after_so_many_events(after):
    client = client_for(api_with(BrokenStream(after)), max_retries=0)
    stream = client.messages.create(**REQUEST, stream=True)
    events = []
    with pytest.raises((anthropic.APIConnectionError, httpx2.RemoteProtocolError)):
        for event in stream:
            events.append(event.type)
    # The SDK keeps pings to itself.
    assert len(events) == len([n for n in range(after) if n != 2])
    assert client.messages.create(**REQUEST).stop_reason == "end_turn"


def test_an_async_stream_breaks_off():
    async def run():
        async with async_client_for(api_with(BrokenStream(3))).messages.stream(**REQUEST) as stream:
            return await stream.get_final_message()

    with pytest.raises((anthropic.APIConnectionError, httpx2.RemoteProtocolError)):
        asyncio.run(run())


def test_a_request_that_does_not_stream_loses_its_connection():
    with pytest.raises(anthropic.APIConnectionError):
        client_for(api_with(BrokenStream()), max_retries=0).messages.create(**REQUEST)


def test_a_fault_hits_other_endpoints_too():
    with pytest.raises(anthropic.OverloadedError):
        client_for(api_with(overloaded()), max_retries=0).models.list()
