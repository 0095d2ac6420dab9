"""What is left after the SDK's retries reaches the caller as one sentence, and the conversation is as it was."""

import copy

import pytest

from memory_demo.demo_helpers import ConversationError, run_conversation_loop
from memory_demo.offline import offline_client
from memory_demo.offline.faults import BrokenStream, DroppedConnection, overloaded, rate_limit, server_error
from memory_demo.offline.prompt import Reply

MODEL = "claude-sonnet-5-5"


def answer(prompt):
    return Reply(
        ({"type": "text", "text": "Here is a review of some length, so that a stream can break off in it."},)
    )


def converse(client, messages, model=MODEL, **options):
    return run_conversation_loop(client, model, messages, None, "You review code.", **options)


FAULTS = {
    "rate limit": (lambda: rate_limit(retry_after=7), "repeat the call in 7 s"),
    "server error": (server_error, "HTTP 500"),
    "overloaded": (overloaded, "HTTP 529"),
    "dropped connection": (DroppedConnection, "connection to the API was lost"),
}


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_becomes_one_sentence_and_the_call_can_be_repeated(name, stream):
    fault, advice = FAULTS[name]
    client = offline_client(answer, faults=[fault()], max_retries=0)
    messages = [{"role": "user", "content": "Review this"}]
    before = copy.deepcopy(messages)
    with pytest.raises(ConversationError) as caught:
        converse(client, messages, stream=stream)
    assert advice in str(caught.value)
    assert str(caught.value).count("\n") == 0
    assert caught.value.__cause__ is not None
    assert messages == before
    assert converse(client, messages, stream=stream).stop_reason == "end_turn"


@pytest.mark.parametrize("after_events", [1, 4, 6])
def test_a_stream_that_breaks_off_adds_nothing(after_events):
    client = offline_client(answer, faults=[BrokenStream(after_events)], max_retries=0)
    messages = [{"role": "user", "content": "Review this"}]
    with pytest.raises(ConversationError, match="connection to the API was lost"):
        converse(client, messages, stream=True)
    assert len(messages) == 1
    assert converse(client, messages, stream=True).stop_reason == "end_turn"


def test_the_sdk_retries_before_anything_is_said():
    client = offline_client(answer, faults=[rate_limit(retry_after=0), overloaded()], max_retries=2)
    response = converse(client, [{"role": "user", "content": "Review this"}])
    assert response.stop_reason == "end_turn"


def test_a_model_that_is_gone_is_named():
    with pytest.raises(ConversationError, match="does not serve the model 'claude-3-7-sonnet-20250219'"):
        converse(
            offline_client(answer), [{"role": "user", "content": "Hi"}], model="claude-3-7-sonnet-20250219"
        )


def test_a_request_that_the_api_rejects_gives_its_reason():
    with pytest.raises(ConversationError, match=r"rejected the request: .*max_tokens"):
        converse(offline_client(answer), [{"role": "user", "content": "Hi"}], max_tokens=0)
