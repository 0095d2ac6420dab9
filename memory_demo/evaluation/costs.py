"""What tokens cost: published prices, and the arithmetic of a bill."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from memory_demo.demo_helpers import Turn

PRICES_SOURCE = "https://platform.claude.com/docs/en/about-claude/pricing"
PRICES_DATE = "2026-11-24"


class Price(NamedTuple):
    """Dollars a million tokens; cache writes are those that live for five minutes."""

    input: float
    cache_write: float
    cache_read: float
    output: float


class Usage(NamedTuple):
    """Tokens that a request is billed for; input that was neither written to the cache nor read from it is `uncached`."""

    uncached: int
    cache_written: int
    cache_read: int
    output: int

    @property
    def prompt(self) -> int:
        return self.uncached + self.cache_written + self.cache_read


@dataclass(frozen=True)
class Tariff:
    """The prices of one model. A request whose prompt is above `threshold` tokens pays `above` for all of it."""

    price: Price
    threshold: int | None = None
    above: Price | None = None

    def for_prompt(self, tokens: int) -> Price:
        """The prices of a request with a prompt of that many tokens, cached ones included."""
        return self.above if self.above and self.threshold and tokens > self.threshold else self.price


TARIFFS: Mapping[str, Tariff] = {
    "claude-sonnet-5-5": Tariff(Price(2.00, 2.50, 0.20, 10.00)),
    "claude-opus-5-5": Tariff(Price(4.00, 5.00, 0.20, 20.00)),
    "claude-fable-5-1": Tariff(Price(10.00, 12.50, 0.25, 50.00)),
    "claude-haiku-5-5": Tariff(
        Price(0.10, 0.125, 0.01, 0.50), threshold=100_000, above=Price(0.50, 0.625, 0.05, 2.50)
    ),
}


def usage_of(turn: Turn) -> Usage:
    """What a turn is billed for. Where the API says what its iterations took, such as a compaction, all of them count."""
    usage = turn.response.usage
    parts: list[Any] = list(getattr(usage, "iterations", None) or [usage])
    fields = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
    return Usage(*(sum(getattr(part, field, None) or 0 for part in parts) for field in fields))


def cost(turns: Iterable[Turn], tariff: Tariff) -> float:
    """Dollars for these turns as they were billed, cache reads and writes at their own prices."""
    return sum(bill(usage_of(turn), tariff) for turn in turns)


def cost_without_cache(turns: Iterable[Turn], tariff: Tariff) -> float:
    """Dollars for the same turns if nothing had been cached."""
    usages = (usage_of(turn) for turn in turns)
    return sum(bill(Usage(usage.prompt, 0, 0, usage.output), tariff) for usage in usages)


def bill(usage: Usage, tariff: Tariff) -> float:
    """Dollars for one request."""
    price = tariff.for_prompt(usage.prompt)
    return (
        usage.uncached * price.input
        + usage.cache_written * price.cache_write
        + usage.cache_read * price.cache_read
        + usage.output * price.output
    ) / 1e6
