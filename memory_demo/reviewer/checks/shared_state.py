"""One object where several were meant: defaults and class attributes that are changed."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from memory_demo.reviewer.checks.code import Code, Finding, FunctionNode, assigned, changed, end, place


def mutable_defaults(code: Code) -> Iterator[Finding]:
    """A default list, dict or set that the function changes, or keeps on an object that changes it."""
    for function in code.functions:
        given = function.args
        last = zip([*given.posonlyargs, *given.args][::-1], given.defaults[::-1], strict=False)
        for argument, default in [*last, *zip(given.kwonlyargs, given.kw_defaults, strict=True)]:
            is_cache = re.search("cache|memo", argument.arg) is not None  # kept over calls on purpose
            if _is_container(default) and not is_cache and _is_changed(code, function, argument.arg):
                lines = argument.lineno, end(default)[0]
                yield Finding("mutable-default", *lines, function.name, argument.arg)


def class_level_containers(code: Code) -> Iterator[Finding]:
    """A list, dict or set in a class body that methods change through self and never bind anew."""
    for owner in (node for node in ast.walk(code.tree) if isinstance(node, ast.ClassDef)):
        methods = [function for function in code.functions if code.owner(function) is owner]
        bound = {ast.unparse(target) for method in methods for _, target, _ in code.assignments(method)}
        for node, target, value in (made for line in owner.body for made in assigned(line)):
            name = ast.unparse(target)
            if not _is_container(value) or name.isupper() or "ClassVar" in ast.unparse(node):
                continue
            is_changed = any(_changes(code, method, f"self.{name}") for method in methods)
            if is_changed and not {f"self.{name}", f"cls.{name}", f"{owner.name}.{name}"} & bound:
                yield Finding("class-level-container", node.lineno, end(node)[0], owner.name, name)


def _is_container(node: ast.AST | None) -> bool:
    return node is not None and ast.unparse(node) in {"[]", "{}", "list()", "dict()", "set()"}


def _is_changed(code: Code, function: FunctionNode, name: str) -> bool:
    made = code.assignments(function)
    kept = [place(target) for _, target, value in made if ast.unparse(value) == name and place(target)]
    methods = [f for f in code.functions if kept and code.owner(f) is code.owner(function)]
    changes = _changes(code, function, name) or any(_changes(code, f, text) for f in methods for text in kept)
    return changes and name not in [ast.unparse(target) for _, target, _ in made]


def _changes(code: Code, function: FunctionNode, text: str) -> bool:
    """Whether a function changes the container that this text speaks of."""
    return any(ast.unparse(one) == text for node in code.nodes(function) for one in changed(node))
