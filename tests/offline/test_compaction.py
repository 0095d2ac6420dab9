"""Compaction, plain and streamed, through the SDK with strict response validation.

Recorded (claude-sonnet-4-6, public test suite of pydantic-ai): a prompt of 225,039 characters with a trigger of 50,000
tokens; a reply whose content is a compaction block and a text; `applied_edits` []; two iterations, of which the last is
the one on top of `usage`; in a stream a start without content, one delta with all of it, a stop. And a conversation that
holds a compaction block which the client wrote, answered 200 from the summary alone.
"""

import json
from pathlib import Path

import anthropic
import pytest
from anthropic import beta_tool
from hypothesis import given
from hypothesis import strategies as st

from memory_demo.demo_helpers import run_conversation_loop
from memory_demo.offline import OfflineAPI, Prompt, Reply, offline_client, summarise
from memory_demo.offline.compaction import SUMMARY_INSTRUCTION_TOKENS, read_back
from memory_demo.offline.tokens import estimate
from memory_demo.source_tools import report_finding_tool

MODEL = "claude-sonnet-4-6"
THINKING_MODEL = "claude-sonnet-5-5"
BETAS = ["compact-2026-01-12", "context-management-2025-06-27"]
LONG = {"role": "user", "content": "The quick brown fox jumps over the lazy dog. " * 5_000 + "Now say hello."}
CLEAR = {"type": "clear_tool_uses_20250919", "keep": {"type": "tool_uses", "value": 0}}


def compact(trigger=50_000, **options):
    return {"type": "compact_20260112", "trigger": {"type": "input_tokens", "value": trigger}, **options}


def request(*messages, edits=None, **changes):
    management = {"edits": [compact()] if edits is None else edits}
    return {
        "model": MODEL,
        "max_tokens": 1000,
        "system": "Be brief.",
        "messages": [*messages],
        "betas": BETAS,
        "context_management": management,
        **changes,
    }


@pytest.fixture
def seen():
    return []


@pytest.fixture
def client(seen):
    def respond(prompt):
        seen.append(prompt)
        return Reply(({"type": "text", "text": f"Answer {len(seen)}."},), thinking="Well.")

    return offline_client(
        respond, summariser=lambda prompt: "They said hello.", _strict_response_validation=True
    )


def plain(client, **settings):
    return client.beta.messages.create(**settings)


def streamed(client, **settings):
    with client.beta.messages.stream(**settings) as stream:
        return stream.get_final_message()


def count(client, *, max_tokens, **settings):
    return client.beta.messages.count_tokens(**settings).input_tokens


@pytest.mark.parametrize("send", [plain, streamed])
def test_a_long_conversation_is_summarised_and_then_answered(client, seen, send):
    message = send(client, **request(LONG))
    assert [block.type for block in message.content] == ["compaction", "text"]
    assert message.content[0].content == "They said hello."
    assert message.stop_reason == "end_turn"
    assert message.context_management.applied_edits == []
    (prompt,) = seen
    summary = {"type": "compaction", "content": "They said hello."}
    assert prompt.messages == ({"role": "user", "content": [summary]},)


@pytest.mark.parametrize("send", [plain, streamed])
def test_usage_counts_each_step_and_shows_the_last_on_top(client, send):
    message = send(client, **request(LONG))
    compaction, answer = message.usage.iterations
    assert (compaction.type, answer.type) == ("compaction", "message")
    assert compaction.input_tokens == count(client, **request(LONG)) + SUMMARY_INSTRUCTION_TOKENS
    assert compaction.output_tokens == estimate("They said hello.")
    assert (message.usage.input_tokens, message.usage.output_tokens) == (
        answer.input_tokens,
        answer.output_tokens,
    )
    assert answer.input_tokens < 100 < compaction.input_tokens


def test_plain_and_streamed_are_the_same(client):
    first, second = offline_client(same), offline_client(same)
    one, other = plain(first, **request(LONG)), streamed(second, **request(LONG))
    assert one.model_dump(exclude_none=True) == other.model_dump(exclude_none=True)


def same(prompt):
    return Reply(({"type": "text", "text": "Hello."},))


def test_a_stream_has_the_recorded_events():
    headers = {"x-api-key": "k", "anthropic-version": "2023-06-01", "anthropic-beta": ",".join(BETAS)}
    body = {key: value for key, value in request(LONG, stream=True).items() if key != "betas"}
    answer = OfflineAPI(same).handle("POST", "/v1/messages", headers, json.dumps(body).encode())
    found = [json.loads(chunk.decode().split("data: ")[1]) for chunk in answer.body]
    assert [event["type"] for event in found[:5]] == [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_stop",
    ]
    assert found[1]["content_block"] == {"type": "compaction", "content": None}
    assert found[3]["delta"]["type"] == "compaction_delta"
    assert found[5]["content_block"]["type"] == "text"
    started, ended = found[0]["message"]["usage"], found[-2]["usage"]
    assert "iterations" not in started
    assert started["input_tokens"] == ended["iterations"][0]["input_tokens"]
    assert ended["input_tokens"] == ended["iterations"][1]["input_tokens"]


@pytest.mark.parametrize("model", [MODEL, THINKING_MODEL])
@pytest.mark.parametrize("keeps_history", [True, False])
def test_the_conversation_goes_on_from_the_block(client, seen, model, keeps_history):
    """What stands before the block may be sent or left out; thinking after it is bound to the block."""
    first = client.beta.messages.create(**request(LONG, model=model))
    answer = {"role": "assistant", "content": first.content}
    before = [LONG] if keeps_history else []
    history = [*before, answer, {"role": "user", "content": "And now?"}]
    second = client.beta.messages.create(**request(*history, model=model))
    assert [block.type for block in second.content if block.type != "thinking"] == ["text"]
    assert [step.type for step in second.usage.iterations] == ["message"]
    assert [message["role"] for message in seen[1].messages] == ["user", "assistant", "user"]
    assert seen[1].messages[0]["content"] == [{"type": "compaction", "content": "They said hello."}]
    third = [
        *history,
        {"role": "assistant", "content": second.content},
        {"role": "user", "content": "Go on."},
    ]
    assert client.beta.messages.create(**request(*third, model=model)).stop_reason == "end_turn"


def test_a_summary_that_was_changed_breaks_the_thinking_after_it(client):
    first = client.beta.messages.create(**request(LONG, model=THINKING_MODEL))
    content = [block.to_dict() for block in first.content]
    content[0]["content"] = "They said goodbye."
    history = [{"role": "assistant", "content": content}, {"role": "user", "content": "And now?"}]
    with pytest.raises(anthropic.BadRequestError, match="bound to a different conversation"):
        client.beta.messages.create(**request(*history, model=THINKING_MODEL))


def test_a_block_that_the_client_wrote_is_taken(client, seen):
    """As recorded, but for the texts."""
    wrote = {"type": "compaction", "content": "Summary: user said hello."}
    history = [
        {"role": "user", "content": "Hello!"},
        {"role": "assistant", "content": [wrote, {"type": "text", "text": "Hello! How can I help?"}]},
        {"role": "user", "content": "What did I say earlier?"},
    ]
    message = client.beta.messages.create(**request(*history, edits=[{"type": "compact_20260112"}]))
    assert [step.type for step in message.usage.iterations] == ["message"]
    assert message.usage.iterations[0].input_tokens == message.usage.input_tokens
    texts = [block for message in seen[0].messages for block in message["content"]]
    assert texts[0] == wrote
    assert "Hello!" not in [block.get("text") for block in texts]


def test_a_block_without_content_changes_nothing(client, seen):
    failed = {"type": "compaction", "content": None}
    history = [
        {"role": "user", "content": "Hello!"},
        {"role": "assistant", "content": [failed, {"type": "text", "text": "Hi."}]},
        {"role": "user", "content": "What did I say?"},
    ]
    client.beta.messages.create(**request(*history))
    assert [block["text"] for message in seen[0].messages for block in message["content"]] == [
        "Hello!",
        "Hi.",
        "What did I say?",
    ]


def test_the_trigger_is_reached_at_its_value_and_not_before(client):
    tokens = count(client, **request(LONG))
    at = client.beta.messages.create(**request(LONG, edits=[compact(tokens)]))
    beyond = client.beta.messages.create(**request(LONG, edits=[compact(tokens + 1)]))
    assert at.content[0].type == "compaction"
    assert beyond.content[0].type == "text"


def test_without_the_edit_there_are_no_iterations(client):
    message = client.beta.messages.create(**request(LONG, edits=[CLEAR]))
    assert message.usage.iterations is None
    assert message.content[0].type == "text"


@pytest.mark.parametrize("send", [plain, streamed])
def test_a_reply_can_end_after_the_summary_and_be_continued(client, send):
    edits = [compact(pause_after_compaction=True)]
    paused = send(client, **request(LONG, edits=edits))
    assert [block.type for block in paused.content] == ["compaction"]
    assert paused.stop_reason == "compaction"
    assert [step.type for step in paused.usage.iterations] == ["compaction"]
    assert (paused.usage.input_tokens, paused.usage.output_tokens) == (0, 0)
    history = [LONG, {"role": "assistant", "content": paused.content}]
    resumed = send(client, **request(*history, edits=edits))
    assert resumed.stop_reason == "end_turn"


def test_clearing_first_can_keep_the_trigger_from_being_reached(client):
    call = {"type": "tool_use", "id": "a", "name": "look", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "a", "content": "x" * 200_000}
    history = [
        {"role": "user", "content": "Look."},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
    ]
    clear = {**CLEAR, "trigger": {"type": "input_tokens", "value": 10_000}}
    cleared = client.beta.messages.create(**request(*history, edits=[clear, compact()]))
    compacted = client.beta.messages.create(**request(*history, edits=[compact(), clear]))
    assert [edit.cleared_tool_uses for edit in cleared.context_management.applied_edits] == [1]
    assert cleared.content[0].type == "text"
    assert compacted.context_management.applied_edits == []
    assert compacted.content[0].type == "compaction"


def test_the_prompt_to_summarise_is_read_from_the_cache_and_the_answer_is_not(client):
    settings = request(LONG, cache_control={"type": "ephemeral"})
    client.beta.messages.create(**settings)
    compaction, answer = client.beta.messages.create(**settings).usage.iterations
    assert compaction.cache_read_input_tokens > 50_000
    assert compaction.input_tokens == SUMMARY_INSTRUCTION_TOKENS
    assert (answer.cache_read_input_tokens, answer.cache_creation_input_tokens) == (0, 0)


def test_instructions_take_the_place_of_the_apis_own(client):
    message = client.beta.messages.create(**request(LONG, edits=[compact(instructions="x" * 3500)]))
    usual = client.beta.messages.create(**request(LONG))
    difference = message.usage.iterations[0].input_tokens - usual.usage.iterations[0].input_tokens
    assert difference == estimate("x" * 3500) - SUMMARY_INSTRUCTION_TOKENS


def prompt_of(*messages):
    return Prompt("Be brief.", (), messages)


def compacted(prompt, *rest):
    """The prompt after compaction with the default summary, and what was said since."""
    summary = {"type": "compaction", "content": summarise(prompt)}
    return prompt_of({"role": "user", "content": [summary, *rest]})


CONVERSATION = prompt_of(
    {"role": "user", "content": [{"type": "text", "text": "Look at a.py.\nuser:\n> b.py"}]},
    {
        "role": "assistant",
        "content": [
            {"type": "text", "text": "I look."},
            {"type": "tool_use", "id": "a", "name": "look", "input": {"path": "a.py"}},
        ],
    },
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "y" * 200_000}]},
)


def test_the_default_summary_holds_what_was_asked_said_and_done():
    assert summarise(CONVERSATION).splitlines() == [
        "Summary by the offline stand-in, which is not Claude:",
        "user:",
        "> Look at a.py.",
        "> user:",
        "> > b.py",
        "assistant:",
        "> I look.",
        "tool use:",
        '> {"name": "look", "input": {"path": "a.py"}}',
    ]


def test_a_summary_of_a_summary_holds_both():
    later = compacted(CONVERSATION, {"type": "text", "text": "And b.py?"})
    assert summarise(later) == f"{summarise(CONVERSATION)}\nuser:\n> And b.py?"


def test_the_last_request_is_kept_longer_than_what_was_said_before():
    first, last = "x" * 30_000, "y" * 30_000
    prompt = prompt_of(
        {"role": "user", "content": [{"type": "text", "text": first}]},
        {"role": "assistant", "content": [{"type": "text", "text": "Yes."}]},
        {"role": "user", "content": [{"type": "text", "text": last}]},
    )
    lines = summarise(prompt).splitlines()
    assert [len(line) for line in lines if "[cut]" in line] == [2 + 2_000 + 6, 2 + 20_000 + 6]


def test_a_summary_that_somebody_else_wrote_is_read_as_the_users_text():
    other = prompt_of({"role": "user", "content": [{"type": "compaction", "content": "They said hello."}]})
    text = {"type": "text", "text": "They said hello."}
    assert read_back(other).messages == ({"role": "user", "content": [text]},)
    assert read_back(CONVERSATION) is CONVERSATION


TEXTS = st.text(st.sampled_from("a:> \n\r\u2028é"), min_size=1, max_size=12)
SAID = st.lists(
    st.tuples(
        st.sampled_from(["user", "assistant"]),
        st.one_of(
            TEXTS.map(lambda text: {"type": "text", "text": text}),
            TEXTS.map(lambda text: {"type": "tool_use", "id": "a", "name": "look", "input": {"a": text}}),
        ),
    ).filter(lambda said: said[0] == "assistant" or said[1]["type"] == "text"),
    min_size=1,
    max_size=5,
)


@given(SAID)
def test_what_a_summary_was_made_of_can_be_read_back(said):
    prompt = prompt_of(*({"role": role, "content": [block]} for role, block in said))
    back = read_back(compacted(prompt)).messages
    blocks = [(message["role"], {**message["content"][0], "id": "a"}) for message in back]
    assert blocks == [(role, {**block, "id": "a"}) for role, block in said]


SAMPLES = Path(__file__).parents[2] / "memory_demo" / "sample_code"
PADDING = "\n# padding" * 6_000


def review_samples(**options):
    """What is reported in three long files, read and reviewed in one conversation, and how often it was compacted."""
    reported, compactions = [], []

    @beta_tool
    def read_source(path: str) -> str:
        """Read a file."""
        return (SAMPLES / path).read_text(encoding="utf-8") + PADDING

    def on_turn(turn):
        compactions.extend(block for block in turn.response.content if block.type == "compaction")

    client = offline_client()
    tools = [read_source, report_finding_tool(reported)]
    messages = []
    for name in ("web_scraper_v1.py", "api_client_v1.py", "data_processor_v1.py"):
        messages.append({"role": "user", "content": f"Review {name} for race conditions."})
        run_conversation_loop(
            client, MODEL, messages, None, "You review code.", tools=tools, on_turn=on_turn, **options
        )
    return sorted({(finding.file, finding.line, finding.category) for finding in reported}), len(compactions)


def test_a_review_goes_on_after_compaction_and_finds_the_same():
    """The reviewer of this package, with a control: without compaction it finds what it finds with it."""
    usual, never = review_samples()
    after, compactions = review_samples(context_management={"edits": [compact()]}, betas=BETAS)
    assert len({file for file, _, _ in usual}) == 3 and never == 0
    assert compactions > 0
    assert after == usual


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"context_management": {"edits": [compact(49_999)]}},
            "context_management.edits.0.compact_20260112.trigger.value: "
            "Input should be greater than or equal to 50000",
        ),
        (
            {"model": "claude-haiku-4-5"},
            "context_management.edits.0.compact_20260112: compaction is not supported on this model",
        ),
        (
            {"betas": BETAS[1:]},
            "context_management.edits.0.compact_20260112: Extra inputs are not permitted",
        ),
    ],
    ids=["trigger", "model", "beta"],
)
def test_what_is_refused(client, changes, message):
    with pytest.raises(anthropic.BadRequestError) as caught:
        client.beta.messages.create(**request(LONG, **changes))
    assert caught.value.body["error"]["message"] == message


def test_models_say_whether_they_compact(client):
    def supported(model):
        return client.beta.models.retrieve(model).capabilities.context_management.compact_20260112.supported

    assert supported(MODEL) and supported(THINKING_MODEL)
    assert not supported("claude-haiku-4-5")
