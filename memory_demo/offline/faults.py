"""Faults on demand, as plain data: what goes wrong with one request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True)
class ErrorAnswer:
    """The API answers with an error."""

    status: int
    type: str
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DroppedConnection:
    """The connection ends without an answer."""


@dataclass(frozen=True)
class BrokenStream:
    """The connection ends after so many server-sent events; without any if the request does not stream."""

    after_events: int = 4


Fault: TypeAlias = ErrorAnswer | DroppedConnection | BrokenStream


def rate_limit(retry_after: float = 1) -> Fault:
    """429 with `retry-after` in seconds."""
    message = "This request would exceed your organization's rate limit."
    return ErrorAnswer(429, "rate_limit_error", message, {"retry-after": f"{retry_after:g}"})


def server_error() -> Fault:
    """500."""
    return ErrorAnswer(500, "api_error", "Internal server error")


def overloaded() -> Fault:
    """529."""
    return ErrorAnswer(529, "overloaded_error", "Overloaded")
