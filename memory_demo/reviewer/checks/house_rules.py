"""Rules of a house that no bug report names: only a note in memory can switch them on."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from memory_demo.reviewer.checks.code import Code, Finding, called, end, start

_MONEY = re.compile(r"(?i)(?<![a-z])(money|amount|price|cost|fee|balance|cent|euro|dollar)s?(?![a-z])")


def money_as_float(code: Code) -> Iterator[Finding]:
    """Something named like money that is declared float, or made one."""
    for node in ast.walk(code.tree):
        name, kind = "", "float"
        if isinstance(node, ast.arg) and node.annotation:
            name, kind = node.arg, ast.unparse(node.annotation)
        elif isinstance(node, ast.AnnAssign):
            name, kind = ast.unparse(node.target), ast.unparse(node.annotation)
        elif isinstance(node, ast.Call) and called(node) == "float":
            name = " ".join(map(ast.unparse, node.args))
        if _MONEY.search(name) and re.search(r"\bfloat\b", kind):
            where = getattr(code.function(node) or code.owner(node), "name", "the module")
            yield Finding("money-as-float", start(node)[0], end(node)[0], where, name)
