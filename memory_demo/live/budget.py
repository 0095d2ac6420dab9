"""What a run costs, and its end before it costs too much."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memory_demo.costs import TARIFFS, Tariff, bill
from memory_demo.live.recordings import COSTS, append
from memory_demo.offline.tokens import count_input
from memory_demo.usage import billed

# Estimates of a prompt may be too low by so much before a budget is overdrawn.
MARGIN = 1.25


class BudgetSpent(BaseException):
    """The next request could cost more than is left.

    Not an Exception, so that nothing on the way takes it for a request that failed, and tries again or goes on.
    """


@dataclass(frozen=True)
class Budget:
    """Dollars for everything that is recorded in a directory, whichever process asks."""

    directory: Path
    limit: float

    def spent(self) -> float:
        """Dollars so far."""
        try:
            lines = (self.directory / COSTS).read_bytes().splitlines()
        except FileNotFoundError:
            return 0.0
        return float(sum(json.loads(line)["dollars"] for line in lines))

    def check(self, request: Mapping[str, Any]) -> None:
        """Raise BudgetSpent for a request whose dearest answer could not be paid."""
        spent, worst = self.spent(), worst_cost(request)
        if spent + worst > self.limit:
            raise BudgetSpent(
                f"${spent:.4f} of ${self.limit:.2f} are spent, and the next request can cost ${worst:.4f}."
            )

    def add(self, model: str, usage: Mapping[str, Any]) -> None:
        """Note what an answer cost."""
        append(self.directory, COSTS, {"model": model, "dollars": cost(model, usage), "usage": usage})


def cost(model: str, usage: Mapping[str, Any]) -> float:
    """Dollars for an answer, every iteration of it."""
    return bill(billed(usage), _tariff(model))


def worst_cost(request: Mapping[str, Any]) -> float:
    """Dollars for the longest answer to a request, nothing of which is read from the cache; 0 for one without answer."""
    if "max_tokens" not in request:
        return 0.0
    prompt = MARGIN * count_input(request.get("system"), request.get("tools"), request.get("messages") or ())
    price = _tariff(str(request.get("model"))).for_prompt(int(prompt))
    return float(prompt * price.cache_write + request["max_tokens"] * price.output) / 1e6


def _tariff(model: str) -> Tariff:
    """The model's prices; for one whose prices are not known here, the dearest there are."""
    return TARIFFS.get(model) or max(TARIFFS.values(), key=lambda tariff: tariff.price.output)
