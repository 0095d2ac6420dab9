"""Statement text that is put together from values."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TypeAlias

from memory_demo.reviewer.checks.code import Code, Dependency, Finding, assigned, called, end, escapes_quotes

Piece: TypeAlias = str | ast.expr
"""Part of a text: as written, or a value."""

_STATEMENT = re.compile(r"(?is)\s*(SELECT\b.+\bFROM\b|INSERT\s+INTO\b|UPDATE\b.+\bSET\b|DELETE\s+FROM\b)")
_BEFORE_VALUE = re.compile(r"(?i)(['\"%=<>(,]|\bLIKE|\bIN|\bVALUES)\s*$")
_HOLE = re.compile(r"%[srd]|\{\w*\}")


def sql_from_values(code: Code) -> Iterator[Finding]:
    """A statement with a value where a placeholder belongs; the form says how the value got there."""
    for scope in (code.tree, *(function.node for function in code.functions)):
        name = getattr(scope, "name", "the module")
        for node, values in _built_statements(code, scope):
            unsafe = [value for value in values if not _is_safe(code, scope, value)]
            if unsafe:
                form, depends = _form(code, scope, node, unsafe), _dependency(code, unsafe)
                what = ", ".join(map(ast.unparse, unsafe))
                yield Finding(form, node.lineno, end(node)[0], name, what, depends)


def _built_statements(code: Code, scope: ast.AST) -> Iterator[tuple[ast.expr, list[ast.expr]]]:
    """Expressions that put a statement together, each with the values that stand where placeholders belong."""
    known: dict[str, str] = {}
    parts: set[ast.AST] = set()
    for node in code.nodes(scope):
        for made in assigned(node):
            name = ast.unparse(made.target)
            before = known.get(name, "") if isinstance(made.node, ast.AugAssign) else ""
            if before and made.value not in parts:
                parts |= {*ast.walk(made.value)}
                yield from _with_values(made.value, before, known)
            known[name] = before + "".join(p for p in _pieces(made.value, known) if isinstance(p, str))
        if isinstance(node, ast.JoinedStr | ast.BinOp | ast.Call) and node not in parts:
            if found := list(_with_values(node, "", known)):
                parts |= {*ast.walk(node)}
                yield from found


def _with_values(
    node: ast.expr, text: str, known: dict[str, str]
) -> Iterator[tuple[ast.expr, list[ast.expr]]]:
    values = []
    for piece in _pieces(node, known):
        if isinstance(piece, str):
            text += piece
        elif _STATEMENT.match(text) and _BEFORE_VALUE.search(text):
            values.append(piece)
    if values:
        yield node, values


def _pieces(node: ast.expr, known: dict[str, str]) -> list[Piece]:
    """A text taken apart: what is written there, and the values in between."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.JoinedStr():
            return [p for value in node.values for p in _pieces(value, known)]
        case ast.FormattedValue():
            return [node.value]
        case ast.BinOp(op=ast.Add()):
            return [*_pieces(node.left, known), *_pieces(node.right, known)]
        case ast.BinOp(op=ast.Mod()):
            values = node.right.elts if isinstance(node.right, ast.Tuple) else [node.right]
            return _filled(_pieces(node.left, known), values)
        case ast.Call(func=ast.Attribute(attr="format", value=template)):
            return _filled(_pieces(template, known), [*node.args, *(k.value for k in node.keywords)])
        case ast.Name() if known.get(node.id):
            return [known[node.id]]
    return [node]


def _filled(template: list[Piece], values: list[ast.expr]) -> list[Piece]:
    texts = _HOLE.split("".join(piece for piece in template if isinstance(piece, str)))
    mixed = ((text, value) for text, value in zip(texts, [*values, None], strict=False))
    return [piece for pair in mixed for piece in pair if piece is not None] + texts[len(values) + 1 :]


def _is_safe(code: Code, scope: ast.AST, value: ast.expr) -> bool:
    """Whether a value is fixed, a number, or made of placeholders."""
    text = ast.unparse(value)
    if isinstance(value, ast.Name):
        bound = [made.value for made in code.assignments(scope) if ast.unparse(made.target) == text]
        return text.isupper() or (bool(bound) and all(_is_safe(code, code.tree, one) for one in bound))
    is_number = isinstance(value, ast.Call) and called(value) in {"int", "float", "len"}
    is_placeholders = re.search(r"['\"](\?|%s)", text) is not None
    return isinstance(value, ast.Constant) or is_number or is_placeholders or escapes_quotes(value)


def _form(code: Code, scope: ast.AST, node: ast.expr, values: list[ast.expr]) -> str:
    bound = {ast.unparse(made.target): made.value for made in code.assignments(scope)}
    sources = [bound.get(ast.unparse(value), value) for value in values]
    if any(isinstance(one, ast.Call) and called(one) == "join" for one in sources):
        return "sql-join"
    by_format = isinstance(node, ast.Call) or (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod))
    return "sql-format" if by_format else "sql-text"


def _dependency(code: Code, values: list[ast.expr]) -> Dependency | None:
    """The function that each of these values comes from, if it is one and the same for all."""
    if not all(isinstance(value, ast.Call) and called(value) != "join" for value in values):
        return None
    names = {called(value) for value in values if isinstance(value, ast.Call)}
    module, name = code.imports.get(min(names), ("", min(names)))
    return Dependency(module, name) if len(names) == 1 else None
