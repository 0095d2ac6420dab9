"""What is recorded and what is not, and that a replay is strict. In process, below the SDK's own client."""

import inspect
import json
import typing

import anthropic
import httpx2
import pydantic
import pytest
from anthropic.types import beta
from hypothesis import given
from hypothesis import strategies as st

from memory_demo.live.budget import Budget, BudgetSpent, cost, worst_cost
from memory_demo.live.recordings import (
    COSTS,
    EXCHANGES,
    About,
    Exchange,
    RecordingError,
    RecordingFailed,
    difference,
    load,
    screened,
    start,
)
from memory_demo.live.transports import RecordingTransport, replay_client
from memory_demo.offline import OfflineAPI, Reply
from memory_demo.offline.faults import overloaded, rate_limit
from memory_demo.offline.tokens import count_input
from memory_demo.usage import billed

MODEL = "claude-sonnet-5-5"
# Put together here, so that no scanner takes this file for one that holds keys.
SECRET = "AKIA" + "IOSFODNN7QRSTUVW"
# Known by its beginning alone, which must be one of a word.
WORD = "hf" + "_" + "model0hub1" * 3
WORDS = "The lock is taken twice."
REQUEST = {"model": MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": "Hello"}]}


class OfflineTransport(httpx2.BaseTransport):
    def __init__(self, api):
        self.api = api
        self.asked = 0

    def handle_request(self, request):
        self.asked += 1
        answer = self.api.handle(
            request.method, request.url.raw_path.decode(), request.headers, request.read()
        )
        body = answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)
        return httpx2.Response(answer.status, headers=dict(answer.headers), content=body)


@pytest.fixture
def directory(tmp_path):
    start(tmp_path / "recording", About("2026-11-24", MODEL))
    return tmp_path / "recording"


class LosingTransport(OfflineTransport):
    """Loses half of each answer: the connection breaks, or the answer just ends."""

    def __init__(self, breaks):
        super().__init__(OfflineAPI(say))
        self.breaks = breaks

    def handle_request(self, request):
        whole = super().handle_request(request)
        return httpx2.Response(whole.status_code, headers=whole.headers, content=self.half(whole.content))

    def half(self, content):
        yield content[: len(content) // 2]
        if self.breaks:
            raise httpx2.RemoteProtocolError("the peer closed the connection")


def say(prompt):
    return Reply(({"type": "text", "text": WORDS},))


@pytest.fixture
def recorder(directory):
    def make(responder=say, limit=5.0, faults=(), transport=None):
        transport = transport or OfflineTransport(OfflineAPI(responder, faults=faults))
        recording = RecordingTransport(transport, directory, Budget(directory, limit))
        return anthropic.Anthropic(
            api_key="canary-key",
            base_url="http://offline.invalid/prefix",
            http_client=httpx2.Client(transport=recording),
        )

    return make


@pytest.fixture(autouse=True)
def offline_paths(monkeypatch):
    """The stand-in has no prefix before its version; a gateway may."""
    handle = OfflineAPI.handle
    monkeypatch.setattr(
        OfflineAPI,
        "handle",
        lambda api, method, path, *rest: handle(api, method, path.removeprefix("/prefix"), *rest),
    )


def ask(client, words="Hello", **changes):
    messages = [{"role": "user", "content": words}]
    return client.beta.messages.create(**{"model": MODEL, "max_tokens": 100, "messages": messages, **changes})


def stream(client, words="Hello"):
    messages = [{"role": "user", "content": words}]
    with client.beta.messages.stream(model=MODEL, max_tokens=100, messages=messages) as events:
        return events.get_final_message()


def test_what_was_recorded_is_replayed_plain_and_streamed(recorder, directory):
    client = recorder()
    first, second = ask(client), stream(client)
    described = client.beta.models.retrieve(MODEL)
    replay = replay_client(directory)
    assert ask(replay).to_dict() == first.to_dict()
    assert stream(replay).to_dict() == second.to_dict()
    assert replay.beta.models.retrieve(MODEL).to_dict() == described.to_dict()


@pytest.mark.parametrize("send", [ask, stream])
@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x85"])
def test_what_ends_a_line_of_text_ends_none_of_a_recording(recorder, directory, send, end):
    words = f"one{end}two"
    answer = send(recorder(lambda prompt: Reply(({"type": "text", "text": words},))), words)
    assert answer.content[-1].text == words
    assert send(replay_client(directory), words).to_dict() == answer.to_dict()
    assert Budget(directory, 1).spent() == pytest.approx(cost(MODEL, answer.usage.to_dict()))
    send(recorder(lambda prompt: Reply(({"type": "text", "text": f"{end}{SECRET}"},))))
    assert load(directory)[-1].withheld


def test_errors_are_recorded_and_passing_ones_are_not(recorder, directory):
    client = recorder(faults=[overloaded(), rate_limit(0)])
    with pytest.raises(anthropic.NotFoundError):
        ask(client.with_options(max_retries=3), model="claude-9")
    assert [exchange.status for exchange in load(directory)] == [404]
    with pytest.raises(anthropic.NotFoundError, match="model: claude-9"):
        ask(replay_client(directory), model="claude-9")


def test_no_key_and_no_header_of_the_request_is_written(recorder, directory):
    ask(recorder())
    written = (directory / EXCHANGES).read_text(encoding="utf-8")
    assert "canary-key" not in written
    assert not {"x-api-key", "user-agent", "request-id", "x-stainless"} & set(written.lower().split('"'))


@pytest.mark.parametrize("send", [ask, stream])
def test_a_secret_in_a_request_is_not_written(recorder, directory, caplog, send):
    client = recorder()
    send(client, f"The key is {SECRET}.")
    send(client, "Hello")
    assert SECRET not in (directory / EXCHANGES).read_text(encoding="utf-8")
    withheld, kept = load(directory)
    assert withheld.withheld.startswith("the request was not kept: it holds what looks like a secret")
    assert (withheld.request, withheld.answer, kept.withheld) == (None, None, "")
    assert "is left out of the recording" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize("send", [ask, stream])
def test_a_secret_in_a_reply_is_not_written_whatever_pieces_it_came_in(recorder, directory, send):
    """A stream brings a tool's input in pieces of at most 24 characters; the key lies across two of them."""
    code = f"connect(user='reader',key='{SECRET}')"
    use = {"type": "tool_use", "name": "look", "input": {"code": code}}
    send(recorder(lambda prompt: Reply((use,))))
    written = (directory / EXCHANGES).read_text(encoding="utf-8")
    assert SECRET not in written and SECRET[-8:] not in written
    assert load(directory)[0].withheld.startswith("the reply was not kept")


def request_of(block):
    return Exchange(
        "POST", "/v1/messages", (), {"messages": [{"role": "user", "content": [block]}]}, 200, {}, {}
    )


def reply_of(*events, mark="data: "):
    """A stream of these events."""
    body = "".join(f"event: {event['type']}\n{mark}{json.dumps(event)}\n\n" for event in events)
    return Exchange("POST", "/v1/messages", (), {}, 200, {"content-type": "text/event-stream"}, body)


@pytest.mark.parametrize(
    "text", [f"event: rotated, the key is {SECRET}", f"event: note\ndata: {SECRET}", f"data: {{\n{SECRET}"]
)
def test_a_text_that_looks_like_a_stream_is_a_text(text):
    assert screened(request_of({"type": "text", "text": text})).withheld


@pytest.mark.parametrize(
    "given",
    [
        {"data": f"token {SECRET}"},
        {"id": SECRET},
        {"type": "thinking", "signature": SECRET},
        {"block": {"type": "redacted_thinking", "data": SECRET}},
        {SECRET: 1},
        {"password": "Tr0ub4dor3"},
        {"code": f"first line\n{WORD}"},
        {"type": "redacted_thinking", "data": f"first line\n{WORD}"},
    ],
    ids=["data", "id", "signature", "inner block", "name", "password", "line", "line of data"],
)
@pytest.mark.parametrize("send", [ask, stream])
def test_no_field_of_a_tools_input_is_overlooked(recorder, directory, send, given):
    use = {"type": "tool_use", "name": "look", "input": given}
    send(recorder(lambda prompt: Reply((use,))))
    assert load(directory)[0].withheld.startswith("the reply was not kept")


@pytest.mark.parametrize("mark", ["data: ", "data:"])
@pytest.mark.parametrize(
    "event",
    [
        {
            "type": "content_block_start",
            "index": 1,
            "content_block": {
                "type": "bash_code_execution_tool_result",
                "tool_use_id": "srvtoolu_01",
                "content": {"type": "bash_code_execution_result", "stdout": SECRET, "content": []},
            },
        },
        {
            "type": "content_block_delta",
            "index": 1,
            "delta": {
                "type": "citations_delta",
                "citation": {"type": "char_location", "cited_text": SECRET, "document_index": 0},
            },
        },
        {"type": "error", "error": {"type": "api_error", "message": f"{SECRET} is not a key"}},
    ],
    ids=["result", "citation", "error"],
)
def test_a_secret_is_found_wherever_it_stands_in_a_stream(event, mark):
    assert screened(reply_of(event, mark=mark)).withheld


def test_a_stream_of_no_json_is_screened_as_text():
    headers = {"content-type": "text/event-stream; charset=utf-8"}
    exchange = Exchange("POST", "/v1/messages", (), {}, 200, headers, f"event: message_start\ndata: {SECRET}")
    assert screened(exchange).withheld


def fields_of_the_sdk():
    """Type and name of each field of text of a block, by the SDK's own types."""
    models = [kind for kind in vars(beta).values() if inspect.isclass(kind)]
    for model in (kind for kind in models if issubclass(kind, pydantic.BaseModel)):
        types = typing.get_args(model.model_fields["type"].annotation) if "type" in model.model_fields else ()
        for name, field in model.model_fields.items():
            if str in (field.annotation, *typing.get_args(field.annotation)):
                yield from ((kind, name) for kind in types if isinstance(kind, str))


def test_only_what_is_random_by_design_is_overlooked():
    by_design = set()
    for kind, name in fields_of_the_sdk():
        is_id = (name == "id" and kind.endswith("tool_use")) or name == "tool_use_id"
        is_sealed = name == "signature" or name.startswith("encrypted_")
        is_bytes = name == "data" and kind in ("base64", "redacted_thinking")
        if is_id or is_sealed or is_bytes or (kind, name) == ("message", "id"):
            by_design.add((kind, name))
        block = {"type": kind, name: f"{SECRET} "}
        assert bool(screened(request_of(block)).withheld) == ((kind, name) not in by_design), block
    assert {("thinking", "signature"), ("base64", "data"), ("compaction", "encrypted_content")} <= by_design
    assert ("text", "data") not in by_design


def test_what_was_withheld_is_paid_and_is_named_by_a_replay(recorder, directory):
    ask(recorder(), f"The key is {SECRET}.")
    assert Budget(directory, 1).spent() > 0
    with pytest.raises(
        anthropic.BadRequestError, match="the next one in it was withheld, since the request was not kept"
    ):
        ask(replay_client(directory), "anything")


def test_a_replay_says_that_others_were_withheld(recorder, directory):
    client = recorder()
    ask(client, "Hello")
    ask(client, f"The key is {SECRET}.")
    with pytest.raises(
        anthropic.BadRequestError, match="others in it were withheld, since the request was not kept"
    ):
        ask(replay_client(directory), "anything")


def test_signatures_are_no_secrets(recorder, directory):
    client = recorder()
    first = ask(client)
    history = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": "Go on."},
    ]
    ask(client, messages=history)
    assert [exchange.withheld for exchange in load(directory)] == ["", ""]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"words": "Hallo"}, 'messages[0].content is "Hello" in the recording and "Hallo" in the request'),
        ({"max_tokens": 101}, "max_tokens is 100 in the recording and 101 in the request"),
        ({"system": "Be brief."}, "system is only in the request"),
        ({"betas": ["files-api-2025-04-14"]}, "betas has 0 items in the recording and 1 in the request"),
    ],
    ids=["words", "max_tokens", "system", "betas"],
)
def test_an_unexpected_request_is_an_error_that_names_the_difference(recorder, directory, changes, why):
    ask(recorder())
    with pytest.raises(anthropic.BadRequestError) as caught:
        ask(replay_client(directory), **changes)
    assert (
        caught.value.body["error"]["message"]
        == f"The recording {directory} has no answer to this request: {why}."
    )


def test_a_request_recorded_twice_gets_its_answers_in_order(recorder, directory):
    answers = iter(["one", "two"])
    client = recorder(lambda prompt: Reply(({"type": "text", "text": next(answers)},)))
    ask(client), ask(client)
    replay = replay_client(directory)
    assert [ask(replay).content[-1].text for _ in range(3)] == ["one", "two", "two"]


def test_a_recording_that_is_damaged_is_refused_in_one_sentence(directory):
    with pytest.raises(RecordingError, match="cannot be read"):
        replay_client(directory / "none")
    (directory / EXCHANGES).write_text("{}\n", encoding="utf-8")
    with pytest.raises(RecordingError, match="make it anew"):
        replay_client(directory)


def test_a_request_that_could_cost_too_much_is_not_sent(recorder, directory):
    worst = worst_cost(REQUEST)
    ask(recorder(limit=worst))
    spent = Budget(directory, 1).spent()
    assert 0 < spent < worst
    with pytest.raises(BudgetSpent, match=r"of \$0\.00 are spent"):
        ask(recorder(limit=worst))
    assert Budget(directory, 1).spent() == spent


@pytest.mark.parametrize("send", [ask, stream])
def test_an_answer_that_is_lost_stays_paid_for(recorder, directory, send):
    """The SDK asks again; it must not as often as the budget does not allow."""
    worst = worst_cost(REQUEST)
    losing = LosingTransport(breaks=True)
    client = recorder(limit=2.5 * worst, transport=losing)
    with pytest.raises(BudgetSpent):
        send(client)
    assert losing.asked == 2
    budget = Budget(directory, 1)
    assert (budget.spent(), budget.unbilled()) == (pytest.approx(2 * worst), 2)


def test_a_stream_that_just_ends_has_no_bill(recorder, directory):
    """The first event tells of the prompt alone; what was written is on the last but one."""
    stream(recorder(transport=LosingTransport(breaks=False)))
    assert Budget(directory, 1).spent() == pytest.approx(worst_cost(REQUEST))


def test_what_was_refused_or_never_sent_is_not_paid(recorder, directory):
    limit = 1.5 * worst_cost({**REQUEST, "model": "claude-9"})
    with pytest.raises(anthropic.NotFoundError):
        ask(recorder(faults=[overloaded(), rate_limit(0)], limit=limit), model="claude-9")
    with pytest.raises(anthropic.APIConnectionError):
        ask(recorder(transport=httpx2.HTTPTransport()).with_options(base_url="http://127.0.0.1:9"))
    budget = Budget(directory, 1)
    assert (budget.spent(), budget.unbilled()) == (0, 0)


@pytest.mark.parametrize("status", [502, 504, 524])
def test_what_a_gateway_gave_up_may_have_been_paid(recorder, directory, status):
    """Its own words are no error of the API, and the server behind it may go on."""
    given_up = httpx2.MockTransport(lambda request: httpx2.Response(status, text="Gateway Timeout"))
    with pytest.raises(anthropic.InternalServerError):
        ask(recorder(transport=given_up).with_options(max_retries=1))
    budget = Budget(directory, 1)
    assert (budget.spent(), budget.unbilled()) == (pytest.approx(2 * worst_cost(REQUEST)), 2)


def damaged(path):
    path.write_text('{"model":"cla', encoding="utf-8")


def gone(path):
    path.unlink()
    path.parent.rename(path.parent.with_name("elsewhere"))


def occupied(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("name", "fault", "asked"),
    [(COSTS, damaged, 0), (COSTS, occupied, 0), (EXCHANGES, gone, 0), (EXCHANGES, occupied, 1)],
)
def test_a_recording_that_cannot_be_written_ends_the_run(recorder, directory, name, fault, asked):
    """At once: the SDK takes an exception for a broken connection, asks again, and pays again."""
    api = OfflineTransport(OfflineAPI(say))
    client = recorder(transport=api)
    (directory / COSTS).touch()
    fault(directory / name)
    with pytest.raises(RecordingFailed, match=r"^POST /v1/messages cannot be recorded "):
        ask(client)
    assert api.asked == asked


def test_a_budget_counts_every_iteration(recorder, directory):
    """Recorded figures of a compaction: 220 tokens on top where 55,196 + 220 were billed."""
    step = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    iterations = [
        {"type": "compaction", "input_tokens": 55_196, "output_tokens": 122, **step},
        {"type": "message", "input_tokens": 220, "output_tokens": 8, **step},
    ]
    usage = {"input_tokens": 220, "output_tokens": 8, **step}
    assert billed({**usage, "iterations": iterations}) == (55_416, 0, 0, 130, 0)
    assert billed(usage) == (220, 0, 0, 8, 0)
    assert cost(MODEL, {**usage, "iterations": iterations}) == pytest.approx((55_416 * 2 + 130 * 10) / 1e6)
    edit = {"type": "compact_20260112", "trigger": {"type": "input_tokens", "value": 50_000}}
    message = ask(
        recorder(), "x" * 200_000, betas=["compact-2026-01-12"], context_management={"edits": [edit]}
    )
    assert len(message.usage.iterations) == 2
    assert Budget(directory, 1).spent() == pytest.approx(cost(MODEL, message.usage.to_dict()))


def test_the_worst_cost_is_not_less_than_that_of_a_cache_written_for_an_hour():
    """Twice the price of input, by the price list, where five minutes are a quarter more."""
    words = "The lock is taken twice. " * 400
    mark = {"type": "ephemeral", "ttl": "1h"}
    message = {"role": "user", "content": [{"type": "text", "text": words, "cache_control": mark}]}
    tokens = count_input(None, None, [message])
    written = {"cache_creation_input_tokens": tokens, "cache_creation": {"ephemeral_1h_input_tokens": tokens}}
    paid = cost(MODEL, {"input_tokens": 0, "output_tokens": 100, **written})
    assert worst_cost({**REQUEST, "messages": [message]}) >= paid


def test_counting_tokens_and_asking_for_models_costs_nothing(recorder, directory):
    client = recorder(limit=0.0000001)
    client.beta.messages.count_tokens(model=MODEL, messages=[{"role": "user", "content": "Hello"}])
    client.beta.models.list()
    assert Budget(directory, 1).spent() == 0


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES, VALUES)
def test_a_difference_is_found_exactly_where_the_json_differs(one, other):
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (difference(one, other) == "") == same
    assert difference(one, one) == ""
