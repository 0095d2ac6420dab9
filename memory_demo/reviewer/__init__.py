"""The reviewer that answers offline, by rules: a pure function from the context to the next step. It is not Claude."""

from memory_demo.reviewer.forms import what_it_knows
from memory_demo.reviewer.reviewer import review

__all__ = ["review", "what_it_knows"]
