"""What the API cleared in the saved outputs of three public notebooks, and what the stand-in clears there."""

import json
from pathlib import Path
from typing import Any

import pytest

from memory_demo.offline import Reply, offline_client
from memory_demo.offline.tokens import estimate

RUNS = json.loads((Path(__file__).parent / "recorded_clearing.json").read_text(encoding="utf-8"))
BETA = "context-management-2025-06-27"
MODELS = {"2026-03": "claude-sonnet-4-6", "2025-09": "claude-sonnet-4-5"}
# In September 2025 the user's messages held the code: one before the fourth tool use, one after the third.
CODE = {"2025-09": {0: 12_500, 3: 6_000}}
KNOWN_EXCEPTION = ("2025-09", 4)
"""There the API cleared 1 use and kept one of 62 characters that it had counted at three uses. No limit gives both."""


def month(run: dict[str, Any]) -> str:
    return str(run["run"][:7])


def messages_of(run: dict[str, Any], uses: int) -> list[dict[str, Any]]:
    """A conversation of so many tool uses, with inputs and results of the recorded sizes."""
    code = CODE.get(month(run), {})
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Go on.\n" + "x" * code.get(0, 0)}]
    for number, use in enumerate(run["tool_uses"][:uses]):
        if number and number in code:
            messages.append({"role": "assistant", "content": "Next, please."})
            messages.append({"role": "user", "content": "x" * code[number]})
        call = {"type": "tool_use", "id": f"toolu_{number}", "name": use["tool"]}
        call["input"] = {"text": "x" * use["input_chars"]}
        result = {
            "type": "tool_result",
            "tool_use_id": f"toolu_{number}",
            "content": "x" * use["result_chars"],
        }
        messages += [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    return messages


def cleared(run: dict[str, Any], uses: int, **edit: Any) -> tuple[int, int]:
    """Uses and tokens that the stand-in clears."""
    tools = {use["tool"] for use in run["tool_uses"]} - {"memory"}
    message = offline_client(lambda prompt: Reply(({"type": "text", "text": "Done."},))).beta.messages.create(
        model=MODELS[month(run)],
        max_tokens=100,
        messages=messages_of(run, uses),
        tools=[
            {"type": "memory_20250818", "name": "memory"},
            *({"name": name, "input_schema": {"type": "object"}} for name in sorted(tools)),
        ],
        context_management={"edits": [{**run["edit"], **edit}]},
        betas=[BETA],
    )
    edits = message.context_management.applied_edits
    return sum(edit.cleared_tool_uses for edit in edits), sum(edit.cleared_input_tokens for edit in edits)


pytestmark = pytest.mark.filterwarnings("ignore:The model:DeprecationWarning")
CASES = [(run, request) for run in RUNS for request in run["requests"]]


def name(case: Any) -> str:
    return f"{case['run']}" if "run" in case else f"{case['tool_uses']} uses"


def test_there_are_twenty_recorded_requests() -> None:
    assert len(CASES) == 20


@pytest.mark.parametrize(("run", "request_"), CASES, ids=name)
def test_the_api_cleared_as_many_uses(run: dict[str, Any], request_: dict[str, Any]) -> None:
    uses, _ = cleared(run, request_["tool_uses"])
    if (month(run), request_["tool_uses"]) == KNOWN_EXCEPTION:
        assert (uses, request_["cleared_tool_uses"]) == (2, 1)
    else:
        assert uses == request_["cleared_tool_uses"]


def test_estimates_of_long_results_are_near_the_cleared_tokens() -> None:
    """Tables and prose: within 2 percent. The rest of what a use holds is too small to compare."""
    ratios = [
        cleared(run, request["tool_uses"])[1] / request["cleared_input_tokens"]
        for run, request in CASES
        if request["cleared_input_tokens"] > 1000
    ]
    assert len(ratios) == 13
    assert min(ratios) > 0.98 and max(ratios) < 1.02


@pytest.mark.parametrize(
    ("characters", "tokens", "off"),
    [(109_859, 40_950, -0.003), (225_039, 55_196, 0.514)],
    ids=["tables", "English"],
)
def test_how_far_estimates_are_off(characters: int, tokens: int, off: float) -> None:
    """Recorded counts. Plain English in short words has more characters a token than tables and code have."""
    assert estimate("x" * characters) / tokens - 1 == pytest.approx(off, abs=0.001)


def test_the_recorded_uses_are_cleared_at_the_recorded_trigger_only() -> None:
    """The control: with no trigger reached the same requests clear nothing."""
    never = {"trigger": {"type": "input_tokens", "value": 900_000}}
    assert all(cleared(run, request["tool_uses"], **never) == (0, 0) for run, request in CASES)
