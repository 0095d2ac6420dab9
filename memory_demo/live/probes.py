"""Small questions to the API, each about a fact that the stand-in asserts.

A probe gives JSON: the API's answer and the stand-in's are equal or they are not. It knows no right answer. Estimates of
tokens are compared as a ratio, and what a model writes in its own words is only shown.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import anthropic
from anthropic.types.beta import BetaMessage

from memory_demo.offline.prompt import Prompt, Reply

Kind = Literal["fact", "estimate", "words"]
Json = Any

CLEARING = "context-management-2025-06-27"
COMPACTION = "compact-2026-01-12"
# Facts about one model's refusals: these two are asked whatever model the run is for.
WITHOUT_XHIGH, WITHOUT_EFFORT = "claude-sonnet-4-6", "claude-haiku-4-5"

LENGTHS = (40, 50, 52, 53, 54, 55, 56, 58, 62, 80, 160, 320)
REPEAT = "Repeat the result of the first tool use word for word. Write nothing else."

_TOOL = {"name": "look", "description": "Look something up.", "input_schema": {"type": "object"}}
_OTHER = {"name": "note", "description": "Note something.", "input_schema": {"type": "object"}}
_MEMORY = {"type": "memory_20250818", "name": "memory"}
_QUESTION = {"role": "user", "content": "Say ok."}
_ENGLISH = "The quick brown fox jumps over the lazy dog while the farmer and his wife look on from the gate. "
_CODE = (
    "def total(items):\n    return sum(item.price * item.count for item in items if not item.cancelled)\n\n"
)
_TABLE = "| 2026-11-24 | 4,817.25 | EUR | 0.0031 | c-17 |\n"


class Use(NamedTuple):
    """One tool use of a made-up conversation."""

    result: str
    tool: str = "look"
    is_error: bool = False
    id: str = ""


class Asker:
    """Asks one API, with one model unless a probe names another."""

    def __init__(self, client: anthropic.Anthropic, model: str) -> None:
        self._client = client
        self._request: dict[str, Any] = {
            "model": model,
            "messages": [_QUESTION],
            "tools": [_TOOL, _OTHER],
            "betas": [CLEARING, COMPACTION],
        }

    def message(
        self, *, max_tokens: int = 64, extra: Mapping[str, Any] | None = None, **changes: Any
    ) -> BetaMessage:
        """The answer to a short question with changes; `extra` is sent as it is, unseen by the SDK."""
        request = {**self._request, **changes}
        message: BetaMessage = self._client.beta.messages.create(
            max_tokens=max_tokens, extra_body=dict(extra) if extra else None, **request
        )
        return message

    def count(self, **changes: Any) -> Any:
        """The count of tokens for the same request; costs nothing."""
        return self._client.beta.messages.count_tokens(**{**self._request, **changes})

    def refusal(self, *, extra: Mapping[str, Any] | None = None, **changes: Any) -> Json:
        """Status and message of the error, or that there was none."""
        try:
            self.message(extra=extra, **changes)
        except anthropic.APIStatusError as error:
            body = error.body if isinstance(error.body, dict) else {}
            return {"status": error.status_code, "message": (body.get("error") or {}).get("message")}
        return {"status": 200}


@dataclass(frozen=True)
class Probe:
    """One question: its name, what it is about, how it is asked, and how answers compare."""

    name: str
    about: str
    ask: Callable[[Asker], Json]
    kind: Kind = "fact"


def probe_responder(prompt: Prompt) -> Reply:
    """Answers for the stand-in: it can repeat a tool result, and says ok to everything else."""
    blocks = [block for message in prompt.messages for block in message["content"]]
    wanted = any(block.get("text") == REPEAT for block in blocks)
    results = [block["content"] for block in blocks if block["type"] == "tool_result"]
    return Reply(({"type": "text", "text": str(results[0]) if wanted and results else "ok"},))


def ask_all(probes: Sequence[Probe], client: anthropic.Anthropic, model: str) -> dict[str, Json]:
    """The answers by name. An error where none was expected is an answer too."""
    asker = Asker(client, model)
    answers: dict[str, Json] = {}
    for probe in probes:
        try:
            answers[probe.name] = probe.ask(asker)
        except anthropic.APIStatusError as error:
            body = error.body if isinstance(error.body, dict) else {}
            answers[probe.name] = {"refused": (body.get("error") or {}).get("message", str(error))}
    return answers


def conversation(*uses: Use, ending: Sequence[Mapping[str, Any]] = ()) -> list[dict[str, Any]]:
    """A question and tool uses with their results, one a turn."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Look these up, then say ok."}]
    for number, use in enumerate(uses):
        id = use.id or f"toolu_{number:024}"
        call = {"type": "tool_use", "id": id, "name": use.tool, "input": {"topic": f"number {number}"}}
        result = {"type": "tool_result", "tool_use_id": id, "content": use.result, "is_error": use.is_error}
        messages += [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    return [*messages, *(dict(message) for message in ending)]


def clearing(trigger: int = 1, keep: int = 1, by: str = "tool_uses", **options: Any) -> dict[str, Any]:
    """A `context_management` with one clearing edit; by default it clears all but the last use."""
    edit = {
        "type": "clear_tool_uses_20250919",
        "trigger": {"type": by, "value": trigger},
        "keep": {"type": "tool_uses", "value": keep},
        **options,
    }
    return {"edits": [edit]}


def text_of(length: int) -> str:
    """So many characters of a tool's result."""
    return ("Build 17 passed. No open issues. Coverage is 91 percent. " * (length // 50 + 1))[:length]


LONG = text_of(3_000)


def cleared(asker: Asker, uses: Sequence[Use], management: Mapping[str, Any], **changes: Any) -> list[int]:
    """Tool uses and input tokens that were cleared."""
    message = asker.message(messages=conversation(*uses), context_management=management, **changes)
    edits = message.context_management.applied_edits if message.context_management else []
    return [
        sum(getattr(edit, "cleared_tool_uses", 0) for edit in edits),
        sum(edit.cleared_input_tokens for edit in edits),
    ]


def uses_cleared(uses: Sequence[Use], management: Mapping[str, Any]) -> Callable[[Asker], Json]:
    """How many of these uses are cleared."""
    return lambda asker: cleared(asker, uses, management)[0]


def _lengths() -> list[Probe]:
    return [
        Probe(
            f"cleared-{length}",
            f"uses cleared of two results of {length} characters and a long one, with keep 1 and one more long one",
            uses_cleared([*[Use(text_of(length))] * 2, *[Use(LONG)] * 2], clearing()),
        )
        for length in LENGTHS
    ]


def _at_trigger(above: int) -> Callable[[Asker], Json]:
    def ask(asker: Asker) -> Json:
        uses = [Use(LONG)] * 3
        never = clearing(900_000, by="input_tokens")
        tokens = asker.count(messages=conversation(*uses), context_management=never).input_tokens
        return cleared(asker, uses, clearing(tokens - above, by="input_tokens"))[0]

    return ask


def _at_least(above: int) -> Callable[[Asker], Json]:
    def ask(asker: Asker) -> Json:
        uses = [Use(LONG)] * 3
        _, tokens = cleared(asker, uses, clearing())
        least = {"type": "input_tokens", "value": tokens + above}
        return cleared(asker, uses, clearing(clear_at_least=least))[0]

    return ask


def _inputs_save_more(asker: Asker) -> Json:
    uses = [Use(LONG)] * 3
    without, with_inputs = (
        cleared(asker, uses, clearing(clear_tool_inputs=inputs)) for inputs in (False, True)
    )
    return {"uses": [without[0], with_inputs[0]], "saves_more": with_inputs[1] > without[1]}


def _counts_agree(asker: Asker) -> Json:
    request: dict[str, Any] = {
        "messages": conversation(*[Use(LONG)] * 3),
        "context_management": clearing(),
    }
    count = asker.count(**request)
    message = asker.message(**request)
    edits = message.context_management.applied_edits if message.context_management else []
    original = count.context_management.original_input_tokens if count.context_management else None
    return {
        "count is what is billed": count.input_tokens == message.usage.input_tokens,
        "original is more by what was cleared": original
        == count.input_tokens + sum(edit.cleared_input_tokens for edit in edits),
    }


def _applied(asker: Asker) -> Json:
    none = asker.message(messages=conversation(Use(LONG)), context_management=clearing(5))
    return [
        none.context_management.model_dump() if none.context_management else None,
        asker.message(messages=conversation(Use(LONG))).context_management is None,
    ]


def _placeholder(asker: Asker) -> Json:
    ending = [{"role": "user", "content": [{"type": "text", "text": REPEAT}]}]
    messages = conversation(Use(LONG), Use(LONG), ending=ending)
    message = asker.message(messages=messages, context_management=clearing(), max_tokens=1_000)
    return "".join(block.text for block in message.content if block.type == "text")


def _clearing_probes() -> list[Probe]:
    long, short, note = Use(LONG), Use(text_of(30)), Use(LONG, "note")
    without_note: dict[str, Any] = {"exclude_tools": ["note"]}
    return [
        Probe("trigger-at", "cleared uses when the prompt has exactly the trigger's tokens", _at_trigger(0)),
        Probe("trigger-above", "cleared uses when it has one token more", _at_trigger(1)),
        Probe(
            "tool-uses-at", "three uses at a trigger of 3 tool uses", uses_cleared([long] * 3, clearing(3))
        ),
        Probe("tool-uses-above", "three uses at a trigger of 2", uses_cleared([long] * 3, clearing(2))),
        Probe(
            "short-results-trigger",
            "whether short results count towards a tool_uses trigger",
            uses_cleared([short, short, long, long], clearing(3)),
        ),
        Probe(
            "excluded-trigger",
            "whether excluded tools count towards a tool_uses trigger",
            uses_cleared([note, note, long, long], clearing(3, **without_note)),
        ),
        Probe(
            "excluded-stay",
            "whether excluded tools are cleared",
            uses_cleared([note, note, long, long], clearing(**without_note)),
        ),
        Probe(
            "excluded-keep",
            "whether excluded tools take a place among the kept",
            uses_cleared([long, long, note], clearing(**without_note)),
        ),
        Probe(
            "at-least-met", "cleared uses when clear_at_least is exactly what can be cleared", _at_least(0)
        ),
        Probe("at-least-missed", "cleared uses when it is one token more", _at_least(1)),
        Probe("clear-inputs", "what clear_tool_inputs adds", _inputs_save_more),
        Probe(
            "errors-cleared",
            "whether results that are errors are cleared",
            uses_cleared([Use(LONG, is_error=True), long, long], clearing()),
        ),
        Probe("applied-edits", "applied_edits when nothing fires, and without edits", _applied),
        Probe("counts-agree", "count_tokens before and after clearing, beside the bill", _counts_agree),
        Probe("placeholder", "what stands in place of a cleared result", _placeholder, "words"),
    ]


def _counted(**changes: Any) -> Callable[[Asker], Json]:
    return lambda asker: asker.count(**changes).input_tokens


def _user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def _counting_probes() -> list[Probe]:
    return [
        Probe(
            "tokens-memory-tool",
            "the memory tool and a short question",
            _counted(tools=[_MEMORY]),
            "estimate",
        ),
        Probe(
            "tokens-english",
            "4,850 characters of English",
            _counted(messages=_user(_ENGLISH * 50)),
            "estimate",
        ),
        Probe(
            "tokens-code",
            f"{len(_CODE) * 50:,} characters of Python",
            _counted(messages=_user(_CODE * 50)),
            "estimate",
        ),
        Probe(
            "tokens-table", "4,800 characters of a table", _counted(messages=_user(_TABLE * 100)), "estimate"
        ),
    ]


def _refusals() -> list[Probe]:
    uses = conversation(Use("ok"))
    answered = [_QUESTION, {"role": "assistant", "content": "ok"}]
    system = {"role": "system", "content": "Be brief."}
    edits: dict[str, Sequence[Mapping[str, Any]]] = {
        "edit-order": [*clearing()["edits"], {"type": "clear_thinking_20251015"}],
        "negative-keep": clearing(keep=-1)["edits"],
        "compaction-trigger": [
            {"type": "compact_20260112", "trigger": {"type": "input_tokens", "value": 49_999}}
        ],
    }
    cases: dict[str, dict[str, Any]] = {
        "thinking-disabled": {"extra": {"thinking": {"type": "disabled"}}},
        "thinking-budget": {
            "max_tokens": 2_000,
            "extra": {"thinking": {"type": "enabled", "budget_tokens": 1_024}},
        },
        "forced-tool": {"extra": {"tool_choice": {"type": "any"}}},
        "temperature": {"extra": {"temperature": 0.5}},
        "prefill": {"messages": [*answered]},
        "unknown-field": {"extra": {"surprise": 1}},
        "unknown-beta": {"betas": ["surprise-2026-01-01"]},
        "no-beta": {"betas": [], "extra": {"context_management": clearing()}},
        "result-without-use": {"messages": [uses[0], *uses[2:]]},
        "use-without-result": {"messages": [*uses[:2], _QUESTION]},
        "empty-text": {"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]},
        "same-tool-twice": {"tools": [_TOOL, _TOOL]},
        "unknown-model": {"model": "claude-sonnet-55"},
        "effort-xhigh": {"model": WITHOUT_XHIGH, "extra": {"output_config": {"effort": "xhigh"}}},
        "effort-at-all": {"model": WITHOUT_EFFORT, "extra": {"output_config": {"effort": "low"}}},
        "ids-repeat": {"messages": conversation(Use("ok", id="toolu_1"), Use("ok", id="toolu_1"))},
        "assistant-first": {"messages": [answered[1], _QUESTION]},
        "system-last": {"messages": [_QUESTION, system]},
        "system-inside": {"messages": [_QUESTION, system, answered[1], _QUESTION]},
        "system-after-assistant": {"messages": [*answered, system, _QUESTION]},
        "system-first": {"messages": [system, _QUESTION]},
        **{name: {"extra": {"context_management": {"edits": edit}}} for name, edit in edits.items()},
    }
    return [
        Probe(name, f"what is said to: {name.replace('-', ' ')}", _refusal(case))
        for name, case in cases.items()
    ]


def _refusal(case: Mapping[str, Any]) -> Callable[[Asker], Json]:
    return lambda asker: asker.refusal(**case)


def _after_change(**changes: Any) -> Callable[[Asker], Json]:
    """What is said when a reply with thinking in it is sent back after a change to what came before."""

    def ask(asker: Asker) -> Json:
        question = {"role": "user", "content": "What is 4817 times 2963? Think first."}
        request: dict[str, Any] = {"system": "Be brief.", "messages": [question]}
        first = asker.message(max_tokens=2_000, **request)
        types = {block.type for block in first.content}
        if "thinking" not in types or "tool_use" in types:
            return {"blocks": sorted(types)}
        history = [question, {"role": "assistant", "content": first.to_dict()["content"]}, _QUESTION]
        if "question" in changes:
            history[0] = {"role": "user", "content": changes["question"]}
            return asker.refusal(**{**request, "messages": history})
        return asker.refusal(**{**request, "messages": history, **changes})

    return ask


def _compacted(asker: Asker) -> Json:
    prompt = _user(_ENGLISH * 2_300 + "Say ok.")
    edit = {"type": "compact_20260112", "trigger": {"type": "input_tokens", "value": 50_000}}
    message = asker.message(messages=prompt, context_management={"edits": [edit]}, max_tokens=2_000)
    steps = message.usage.iterations or []
    return {
        "first block": [block.type for block in message.content][:1],
        "applied_edits": len(message.context_management.applied_edits)
        if message.context_management
        else None,
        "iterations": [step.type for step in steps],
        "top is the last": bool(steps) and steps[-1].input_tokens == message.usage.input_tokens,
    }


def _own_summary(asker: Asker) -> Json:
    block = {"type": "compaction", "content": "The user said hello."}
    messages = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": [block]}, _QUESTION]
    return asker.refusal(
        messages=messages, extra={"context_management": {"edits": [{"type": "compact_20260112"}]}}
    )


def _structured(asker: Asker) -> Json:
    properties = {"city": {"type": "string"}, "people": {"type": "integer"}}
    schema = {
        "type": "object",
        "properties": properties,
        "required": [*properties],
        "additionalProperties": False,
    }
    message = asker.message(
        max_tokens=1_000, extra={"output_config": {"format": {"type": "json_schema", "schema": schema}}}
    )
    text = "".join(block.text for block in message.content if block.type == "text")
    try:
        return {key: type(value).__name__ for key, value in json.loads(text).items()}
    except ValueError:
        return {"no JSON": text}


PROBES: Sequence[Probe] = (
    *_lengths(),
    *_clearing_probes(),
    *_counting_probes(),
    *_refusals(),
    Probe(
        "signature-system", "thinking sent back under another system prompt", _after_change(system="Be long.")
    ),
    Probe("signature-tools", "thinking sent back with a tool less", _after_change(tools=[_TOOL])),
    Probe(
        "signature-history",
        "thinking sent back after another question",
        _after_change(question="What is 2 + 2?"),
    ),
    Probe("compaction", "a prompt of more than 50,000 tokens, compacted", _compacted),
    Probe("compaction-block", "a compaction block that the client wrote", _own_summary),
    Probe("structured-output", "types of the fields of an answer in the form of a schema", _structured),
)
