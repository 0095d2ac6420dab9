"""Rules of a house that no bug report names: only a note in memory can switch them on."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from memory_demo.reviewer.checks.code import Code, Finding, called, end

_MONEY = re.compile(
    r"(?i)(^|_|\b)(money|amounts?|prices?|costs?|fees?|balances?|salary|salaries|cents|euros?|dollars?)(_|$|\b)"
)


def money_as_float(code: Code) -> Iterator[Finding]:
    """Something named like money that is declared float, or made one."""
    for node in ast.walk(code.tree):
        match node:
            case (
                ast.arg(arg=name, annotation=kind) | ast.AnnAssign(target=ast.Name(id=name), annotation=kind)
            ):
                is_float = kind is not None and "float" in ast.unparse(kind)
            case ast.Call(args=[value, *_]) if called(node) == "float":
                name, is_float = ast.unparse(value), True
            case _:
                continue
        if is_float and _MONEY.search(name):
            around = code.inside(node)
            where = getattr(around, "name", "") or code.owner(node) or "the module"
            yield Finding("money-as-float", node.lineno, end(node)[0], where, name)
