"""What a run costs, and its end before it costs too much."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from memory_demo.costs import TARIFFS, Tariff, bill
from memory_demo.live.recordings import COSTS, append, read
from memory_demo.offline.tokens import count_input
from memory_demo.usage import Billed, iterations

# Estimates of a prompt may be too low by so much before a budget is overdrawn.
MARGIN = 1.25


class BudgetSpent(BaseException):
    """The next request could cost more than is left.

    Not an Exception, so that nothing on the way takes it for a request that failed, and tries again or goes on.
    """


class Booking(NamedTuple):
    """Dollars that count as spent on a request until its answer says what it cost."""

    model: str
    dollars: float


@dataclass(frozen=True)
class Budget:
    """Dollars for everything that is recorded in a directory, whichever process asks.

    Its methods raise RecordingError and OSError where the file of costs cannot be read or written.
    """

    directory: Path
    limit: float

    def spent(self) -> float:
        """Dollars so far, those included that are only booked."""
        return math.fsum(read(self.directory, COSTS, lambda entry: float(entry["dollars"])))

    def unbilled(self) -> int:
        """Answers without a bill, such as those that were lost on their way."""
        return sum(read(self.directory, COSTS, lambda entry: -1 if "usage" in entry else 1))

    def book(self, request: Mapping[str, Any]) -> Booking:
        """Count the dearest answer to a request as spent. Raises BudgetSpent where that cannot be paid."""
        booking = Booking(str(request.get("model")), worst_cost(request))
        # First noted, then checked: of two processes at once, neither overlooks the other.
        append(self.directory, COSTS, booking._asdict())
        spent = self.spent()
        if spent > self.limit:
            self.settle(booking, {})
            raise BudgetSpent(
                f"${spent - booking.dollars:.4f} of ${self.limit:.2f} are spent, "
                f"and the next request can cost ${booking.dollars:.4f}."
            )
        return booking

    def settle(self, booking: Booking, usage: Mapping[str, Any]) -> None:
        """Note what an answer cost in place of what was booked for it; an empty usage costs nothing."""
        change = cost(booking.model, usage) - booking.dollars
        append(self.directory, COSTS, {"model": booking.model, "dollars": change, "usage": usage})


def cost(model: str, usage: Mapping[str, Any]) -> float:
    """Dollars for an answer, every iteration of it."""
    return sum(bill(tokens, _tariff(model)) for tokens in iterations(usage))


def worst_cost(request: Mapping[str, Any]) -> float:
    """Dollars for the longest answer to a request, nothing of which is read from the cache; 0 for one without answer."""
    if "max_tokens" not in request:
        return 0.0
    counted = count_input(request.get("system"), request.get("tools"), request.get("messages") or ())
    prompt = math.ceil(MARGIN * counted)
    # In a text of the request the quotation marks would be escaped.
    for_an_hour = prompt if '"ttl": "1h"' in json.dumps(request) else 0
    return bill(Billed(0, prompt, 0, request["max_tokens"], for_an_hour), _tariff(str(request.get("model"))))


def _tariff(model: str) -> Tariff:
    """The model's prices; for one whose prices are not known here, the dearest there are."""
    return TARIFFS.get(model) or max(TARIFFS.values(), key=lambda tariff: tariff.price.output)
