"""What both experiments share: who answers, and a review as plain data that JSON can hold."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import anthropic

from memory_demo.costs import billed_for
from memory_demo.demo_helpers import Turn
from memory_demo.narration import sentence
from memory_demo.review_report import Review
from memory_demo.settings import Connection

SAMPLES = Path(__file__).parent.parent / "sample_code"
SHOP = SAMPLES / "shop"

SYMPTOMS = {
    "web_scraper_v1.py": "It stores fewer pages than it fetches, and the count differs between runs.",
    "sql_query_builder.py": "A search for a phrase with an apostrophe fails with a syntax error, and one search returned rows "
    "of other customers.",
    "cache_manager.py": "A new cache already contains entries that were put into another one.",
    "checkout.py": "Under load one voucher sometimes pays for two orders. And a search for a note with an apostrophe fails "
    "with a syntax error.",
}
"""What somebody has noticed about each file that a lesson is learnt from."""


def answered_by_stand_in(connection: Connection) -> bool:
    """Whether the offline stand-in answers, be it in this process or over HTTP, and not Claude."""
    if connection.offline:
        return True
    try:
        described = connection.client.beta.models.with_raw_response.retrieve(connection.model)
    except anthropic.APIError:
        return False
    return "x-offline-stand-in" in described.headers


def files_read(review: Review) -> int:
    """How often a source file was read."""
    calls = [call for turn in review.turns for call in turn.tool_calls]
    return sum(call.name == "read_source" and not call.is_error for call in calls)


def as_json(review: Review) -> dict[str, Any]:
    """A review with every finding, turn and tool call."""
    return {
        "file": review.file,
        "text": review.text,
        "problem": review.problem,
        "findings": [asdict(finding) for finding in review.findings],
        "turns": [_turn_as_json(turn) for turn in review.turns],
    }


def _turn_as_json(turn: Turn) -> dict[str, Any]:
    return {
        "input_tokens": turn.input_tokens,
        "output_tokens": turn.output_tokens,
        "cleared_input_tokens": turn.cleared_input_tokens,
        "cleared_tool_uses": turn.cleared_tool_uses,
        "billed": billed_for(turn)._asdict(),
        "seconds": turn.seconds,
        "stop_reason": turn.response.stop_reason,
        "tool_calls": [
            {
                "name": call.name,
                "input": dict(call.input),
                "is_error": call.is_error,
                "summary": sentence(call),
            }
            for call in turn.tool_calls
        ],
    }
