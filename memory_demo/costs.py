"""What tokens cost: published prices, and the arithmetic of a bill."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from memory_demo.demo_helpers import Turn
from memory_demo.usage import Billed, billed, iterations

PRICES_SOURCE = "https://platform.claude.com/docs/en/about-claude/pricing"
PRICES_DATE = "2026-11-24"


class Price(NamedTuple):
    """Dollars a million tokens; cache writes are those that live for five minutes."""

    input: float
    cache_write: float
    cache_read: float
    output: float


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


def billed_for(turn: Turn) -> Billed:
    """The tokens of a turn, by how they are priced."""
    return billed(turn.response.usage.model_dump())


def cost(turns: Iterable[Turn], tariff: Tariff) -> float:
    """Dollars for these turns as they were billed, cache reads and writes at their own prices."""
    return sum(bill(tokens, tariff) for tokens in _iterations(turns))


def cost_without_cache(turns: Iterable[Turn], tariff: Tariff) -> float:
    """Dollars for the same turns if nothing had been cached."""
    plain = (Billed(one.whole_input, 0, 0, one.output_tokens) for one in _iterations(turns))
    return sum(bill(tokens, tariff) for tokens in plain)


def _iterations(turns: Iterable[Turn]) -> Iterator[Billed]:
    for turn in turns:
        yield from iterations(turn.response.usage.model_dump())


def bill(tokens: Billed, tariff: Tariff) -> float:
    """Dollars for one iteration of an answer. A cache write that lives for an hour costs twice its input."""
    price = tariff.for_prompt(tokens.whole_input)
    for_an_hour = tokens.ephemeral_1h_input_tokens
    return (
        tokens.input_tokens * price.input
        + for_an_hour * 2 * price.input
        + (tokens.cache_creation_input_tokens - for_an_hour) * price.cache_write
        + tokens.cache_read_input_tokens * price.cache_read
        + tokens.output_tokens * price.output
    ) / 1e6
