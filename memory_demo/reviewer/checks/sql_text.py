"""Statement text that is put together from values."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from memory_demo.reviewer.checks.code import Code, Finding, called, end, escapes_quotes

Piece: TypeAlias = str | ast.expr
"""Part of a text: as written, or a value."""
Bound: TypeAlias = Mapping[str, ast.expr]
"""What names were first bound to."""

_WORDS = r"\s*(SELECT\b.+\bFROM\b|INSERT\s+INTO\b|UPDATE\b.+\bSET\b|DELETE\s+FROM\b)"
_STATEMENT = re.compile(f"(?s){_WORDS}|{_WORDS.lower()}")  # but not "Select one from the list"
_BEFORE_VALUE = re.compile(r"(?i)(['\"%=<>(,]|\bLIKE|\bIN|\bVALUES)\s*$")
_HOLE = re.compile(r"%[srd]|\{\w*\}")


def sql_from_values(code: Code) -> Iterator[Finding]:
    """A statement with a value where a placeholder belongs; the form says how the value got there."""
    for scope in (code.tree, *code.functions):
        made = [one for one in code.assignments(scope) if not isinstance(one[0], ast.AugAssign)]
        bound = {ast.unparse(target): value for _, target, value in reversed(made)}
        parts: set[ast.AST] = set()
        for node in code.nodes(scope):
            values = [] if node in parts else [v for v in _values(node, bound) if not _is_safe(v, bound)]
            if values:
                parts |= {*ast.walk(node)}
                where, what = getattr(scope, "name", "the module"), ", ".join(map(ast.unparse, values))
                depends = _dependency(code, values[0]) if len(values) == 1 else None
                yield Finding(_form(node, values, bound), node.lineno, end(node)[0], where, what, depends)


def _values(node: ast.AST, bound: Bound) -> list[ast.expr]:
    """The values that stand where placeholders belong, if this puts a statement together."""
    text, values = "", []
    for piece in _pieces(node, bound):
        if isinstance(piece, str):
            text += piece
        elif _STATEMENT.match(text) and _BEFORE_VALUE.search(text):
            values.append(piece)
    return values


def _pieces(node: ast.AST, bound: Bound) -> list[Piece]:
    """A text taken apart: what is written there, and the values in between."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.JoinedStr(values=parts):
            return [piece for part in parts for piece in _pieces(part, bound)]
        case ast.FormattedValue(value=value):
            return [value]
        case ast.BinOp(op=ast.Add(), left=left, right=right) | ast.AugAssign(target=left, value=right):
            return [*_pieces(left, bound), *_pieces(right, bound)]
        case ast.BinOp(op=ast.Mod(), left=template, right=right):
            return _filled(template, right.elts if isinstance(right, ast.Tuple) else [right], bound)
        case ast.Call(func=ast.Attribute(attr="format", value=template), args=args, keywords=named):
            return _filled(template, [*args, *(keyword.value for keyword in named)], bound)
        case ast.Name(id=name) if name in bound:
            others = {key: value for key, value in bound.items() if key != name}
            return [piece for piece in _pieces(bound[name], others) if isinstance(piece, str)]
    return [node] if isinstance(node, ast.expr) else []


def _filled(template: ast.expr, values: list[ast.expr], bound: Bound) -> list[Piece]:
    first, *others = _HOLE.split("".join(p for p in _pieces(template, bound) if isinstance(p, str)))
    return [first, *(piece for pair in zip(values, others, strict=False) for piece in pair)]


def _is_safe(value: ast.expr, bound: Bound) -> bool:
    """Whether a value is fixed, a number, escaped, or made of placeholders."""
    text = ast.unparse(value)
    if text in bound:
        return _is_safe(bound[text], {key: one for key, one in bound.items() if key != text})
    is_number = isinstance(value, ast.Call) and called(value) in {"int", "float", "len"}
    is_placeholders = re.search(r"['\"](\?|%s)", text) is not None
    is_fixed = isinstance(value, ast.Constant) or text.isupper()
    return is_fixed or is_number or is_placeholders or escapes_quotes(value)


def _form(node: ast.AST, values: list[ast.expr], bound: Bound) -> str:
    if any(".join(" in ast.unparse(bound.get(ast.unparse(value), value)) for value in values):
        return "sql-join"
    added = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add)
    return "sql-text" if added or isinstance(node, ast.JoinedStr | ast.AugAssign) else "sql-format"


def _dependency(code: Code, value: ast.expr) -> tuple[str, str] | None:
    """The function that a value comes from, and its module if that was imported by name."""
    if not isinstance(value, ast.Call) or called(value) == "join":
        return None
    return code.imports.get(called(value), ("", called(value)))
