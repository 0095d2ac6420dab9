"""One object where several were meant: defaults and class attributes that are changed."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from memory_demo.reviewer.checks.code import Code, Finding, Function, assigned, changed, end, place


def mutable_defaults(code: Code) -> Iterator[Finding]:
    """A default list, dict or set that the function changes, or keeps on an object that changes it."""
    for function in code.functions:
        for argument, default in _defaults(function.node.args):
            is_cache = re.search("cache|memo", argument.arg) is not None  # kept over calls on purpose
            if _is_container(default) and not is_cache and _is_changed(code, function, argument.arg):
                lines = argument.lineno, end(default)[0]
                yield Finding("mutable-default", *lines, function.node.name, argument.arg)


def class_level_containers(code: Code) -> Iterator[Finding]:
    """A list, dict or set in a class body that methods change through self and never bind anew."""
    for owner in (node for node in ast.walk(code.tree) if isinstance(node, ast.ClassDef)):
        methods = [f for f in code.functions if f.owner == owner.name]
        bound = {ast.unparse(made.target) for f in methods for made in code.assignments(f.node)}
        for made in (made for node in owner.body for made in assigned(node)):
            name = ast.unparse(made.target)
            if not _is_container(made.value) or name.isupper() or "ClassVar" in ast.unparse(made.node):
                continue
            if not {f"self.{name}", f"cls.{name}", f"{owner.name}.{name}"} & bound:
                if any(_changes(code, f, f"self.{name}") for f in methods):
                    yield Finding(
                        "class-level-container", made.node.lineno, end(made.node)[0], owner.name, name
                    )


def _defaults(arguments: ast.arguments) -> Iterator[tuple[ast.arg, ast.expr]]:
    positional = [*arguments.posonlyargs, *arguments.args]
    yield from zip(reversed(positional), reversed(arguments.defaults), strict=False)
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if default is not None:
            yield argument, default


def _is_container(node: ast.AST) -> bool:
    return re.fullmatch(r"\[\]|\{\}|(?:list|dict|set)\(\)", ast.unparse(node)) is not None


def _is_changed(code: Code, function: Function, name: str) -> bool:
    made = list(code.assignments(function.node))
    if any(ast.unparse(one.target) == name for one in made):
        return False
    kept = [place(one.target) for one in made if ast.unparse(one.value) == name and place(one.target)]
    siblings = [f for f in code.functions if f.owner == function.owner]
    return _changes(code, function, name) or any(_changes(code, f, text) for f in siblings for text in kept)


def _changes(code: Code, function: Function, text: str) -> bool:
    """Whether a function changes the container that this text speaks of."""
    return any(ast.unparse(one) == text for node in code.nodes(function.node) for one in changed(node))
