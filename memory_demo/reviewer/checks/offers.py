"""What a file offers to its callers: methods that hold their own lock or do not, functions that escape or do not."""

from __future__ import annotations

import ast

from memory_demo.reviewer.checks.code import Code, Function, assigned, changed, escapes_quotes, place

LOCKS, UNLOCKED, ESCAPES, RAW = (
    "holds its own lock",
    "changes its object without a lock",
    "escapes quotes",
    "does not escape quotes",
)
EXCUSES = {LOCKS, ESCAPES}


def offers(code: Code) -> dict[str, str]:
    """What each public function or `Class.method` offers, for those that change their object or quote a text."""
    found = {}
    for function in code.functions:
        name = function.node.name
        if offer := "" if name.startswith("_") else _offer(code, function):
            found[f"{function.owner}.{name}" if function.owner else name] = offer
    return found


def _offer(code: Code, function: Function) -> str:
    nodes = code.nodes(function.node)
    changes = [n for n in nodes if any(map(place, [*changed(n), *(made.target for made in assigned(n))]))]
    if changes:
        return LOCKS if all(map(code.holds_lock, changes)) else UNLOCKED
    if escapes_quotes(function.node):
        return ESCAPES
    texts = (ast.unparse(n.value) for n in nodes if isinstance(n, ast.Return) and n.value)
    return RAW if any("\"'" in text or "'\"" in text for text in texts) else ""
