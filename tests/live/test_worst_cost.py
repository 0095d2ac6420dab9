"""The bound on what a request can cost, by the published prices: memory_demo/costs.py says where they are."""

import json
from pathlib import Path

import pytest

from memory_demo.live.budget import worst_cost

RECORDED = Path(__file__).parents[1] / "offline" / "recorded_requests.json"


def test_a_prompt_of_more_tokens_than_estimated_is_within_the_bound():
    """By the API's own counts, as others recorded them."""
    for recorded in json.loads(RECORDED.read_text("utf-8"))["requests"]:
        if "input_tokens" in recorded["seen"]:
            sent = {**recorded["request"], "model": "claude-sonnet-5-5", "max_tokens": 100}
            paid = (recorded["seen"]["input_tokens"] * 2.50 + 100 * 10.00) / 1e6
            assert paid < worst_cost(sent)


@pytest.mark.parametrize(
    ("model", "estimated", "prompt", "answer"),
    [
        ("claude-sonnet-5-5", 13_000, 2.50, 10.00),
        ("claude-9", 13_000, 12.50, 50.00),  # not known here: the dearest there is
        ("claude-haiku-5-5", 13_000, 0.125, 0.50),
        ("claude-haiku-5-5", 91_000, 0.625, 2.50),  # perhaps more than 100,000
    ],
)
def test_all_of_a_prompt_is_written_to_the_cache_and_the_answer_is_as_long_as_it_may_be(
    model, estimated, prompt, answer
):
    words = "x" * (estimated * 35 // 13)
    sent = {"model": model, "max_tokens": 1_000, "messages": [{"role": "user", "content": words}]}
    expected = (1.25 * estimated * prompt + 1_000 * answer) / 1e6
    assert worst_cost(sent) == pytest.approx(expected, rel=0.001)
