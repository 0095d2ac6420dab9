"""What a file offers to its callers: methods that hold their own lock or do not, functions that escape or do not."""

from __future__ import annotations

import ast

from memory_demo.reviewer.checks.code import Code, FunctionNode, assigned, changed, escapes_quotes, place

LOCKS, UNLOCKED = "holds its own lock", "changes its object without a lock"
ESCAPES, RAW = "escapes quotes", "does not escape quotes"
EXCUSES = {LOCKS, ESCAPES}


def offers(code: Code) -> dict[str, str]:
    """What each public function or `Class.method` offers, for those that change their object or quote a text."""
    public = [f for f in code.functions if not f.name.startswith("_")]
    names = [f"{owner.name}.{f.name}" if (owner := code.owner(f)) else f.name for f in public]
    return {name: offer for name, f in zip(names, public, strict=True) if (offer := _offer(code, f))}


def _offer(code: Code, function: FunctionNode) -> str:
    nodes = code.nodes(function)
    changes = [n for n in nodes if any(map(place, [*changed(n), *(made[1] for made in assigned(n))]))]
    if changes:
        return LOCKS if all(map(code.holds_lock, changes)) else UNLOCKED
    if escapes_quotes(function):
        return ESCAPES
    texts = (ast.unparse(n.value) for n in nodes if isinstance(n, ast.Return) and n.value)
    return RAW if any("\"'" in text or "'\"" in text for text in texts) else ""
