"""Which of the findings in a changed file were there before the change."""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Callable, Sequence

from memory_demo.git_change import unchanged_lines
from memory_demo.review_report import Finding


def found_before(found: Sequence[Finding], before: Sequence[Finding], base: str, text: str) -> list[Finding]:
    """Those of the findings in `text` that are also among those `before`, which are the findings in `base`.

    Two are the same if they are of one category, and begin on a line that the change left alone or on the same code
    in the same function. Each finding in the base answers for one: a bug that is copied is a new one.
    """
    kept = unchanged_lines(base, text)
    place, old_place = _places(text), _places(base)
    same: list[Callable[[Finding, Finding], bool]] = [
        lambda new, old: kept.get(new.line) == old.line,
        lambda new, old: place(new.line) == old_place(old.line),
    ]
    open_new, open_old = list(found), list(before)
    for is_same in same:
        for new in list(open_new):
            for old in open_old:
                if old.category == new.category and is_same(new, old):
                    open_new.remove(new)
                    open_old.remove(old)
                    break
    return [finding for finding in found if finding not in open_new]


def untouched(findings: Sequence[Finding], base: str, text: str) -> list[Finding]:
    """Those of the findings in `text` on whose lines the change from `base` does nothing."""
    kept = unchanged_lines(base, text)
    return [f for f in findings if all(line in kept for line in range(f.line, f.end_line + 1))]


def _places(text: str) -> Callable[[int], tuple[str, str]]:
    """For a line: the function or class around it, and its code."""
    lines = text.split("\n")
    around = [""] * (len(lines) + 1)
    waiting: deque[tuple[ast.AST, str]] = deque([(ast.parse(text), "")])
    while waiting:
        node, name = waiting.popleft()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{name}.{node.name}"
            last = node.end_lineno or node.lineno
            around[node.lineno : last + 1] = [name] * (last + 1 - node.lineno)
        waiting += [(child, name) for child in ast.iter_child_nodes(node)]
    return lambda line: (around[line], lines[line - 1].strip())
