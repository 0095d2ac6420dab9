"""Shared state that is read and then written, with room for another thread or task in between."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from memory_demo.reviewer.checks.code import (
    Assignment,
    Code,
    Dependency,
    Finding,
    Function,
    Place,
    assigned,
    end,
    place,
    start,
)


class Write(NamedTuple):
    """An assignment to shared state of something that depends on it, and where the state was read."""

    node: ast.AST
    name: str
    read: Place


def lost_updates(code: Code) -> Iterator[Finding]:
    """Threads read shared state and write back what depends on it, with no lock held."""
    for function in code.threaded:
        for write in _dependent_writes(code, function):
            if not code.holds_lock(write.node):
                yield _finding("lost-update", function, write)


def stale_reads(code: Code) -> Iterator[Finding]:
    """Tasks read shared state, await, and write back what depends on the old value."""
    for function in code.tasks:
        awaited = [end(node) for node in code.nodes(function.node) if isinstance(node, ast.Await)]
        for write in _dependent_writes(code, function):
            between = any(write.read < point <= end(write.node) for point in awaited)
            if between and not code.holds_lock(write.node):
                yield _finding("stale-read", function, write)


def checks_then_acts(code: Code) -> Iterator[Finding]:
    """A test of shared state and the change that it allows, with no lock over the two."""
    for function in dict.fromkeys([*code.threaded, *code.tasks]):
        dependent = [write.node for write in _dependent_writes(code, function)]
        for test in code.nodes(function.node):
            if isinstance(test, ast.If) and not code.holds_lock(test) and (acts := _acts(code, test)):
                waits = any(isinstance(node, ast.Await) for line in test.body for node in ast.walk(line))
                if acts[0].node not in dependent and (waits or function in code.threaded):
                    write = Write(acts[0].node, _shared(code, acts[0].target), start(test))
                    yield _finding("check-then-act", function, write)


def unguarded_calls(code: Code) -> Iterator[Finding]:
    """Threads call a method of one shared object of another file: a bug if that method changes it with no lock."""
    for function in code.threaded:
        classes = _imported_attributes(code, function.owner)
        for node in code.nodes(function.node):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and not code.holds_lock(node)
            ):
                module, name = classes.get(place(node.func.value), ("", ""))
                if name:
                    method = f"{name}.{node.func.attr}"
                    depends = Dependency(module, method)
                    where = function.node.name
                    yield Finding("unguarded-call", node.lineno, end(node)[0], where, method, depends, False)


def _finding(form: str, function: Function, write: Write) -> Finding:
    return Finding(form, write.read[0], end(write.node)[0], function.node.name, write.name)


def _acts(code: Code, test: ast.If) -> list[Assignment]:
    """Assignments below a test to the shared state that it looks at."""
    tested = _reads(code, test.test)
    below = (made for line in test.body for node in ast.walk(line) for made in assigned(node))
    return [made for made in below if _shared(code, made.target) in tested]


def _dependent_writes(code: Code, function: Function) -> Iterator[Write]:
    held: dict[str, dict[str, Place]] = {}
    for made in code.assignments(function.node):
        reads: dict[str, Place] = {}
        for name in (node.id for node in ast.walk(made.value) if isinstance(node, ast.Name)):
            reads |= held.get(name, {})
        reads |= _reads(code, made.value)
        name = _shared(code, made.target)
        if isinstance(made.node, ast.AugAssign):
            reads[name] = start(made.target)
        if name and name in reads:
            yield Write(made.node, name, reads[name])
        elif isinstance(made.target, ast.Name):
            held[made.target.id] = reads


def _reads(code: Code, node: ast.expr) -> dict[str, Place]:
    """Shared state that an expression reads, and where."""
    found: dict[str, Place] = {}
    for part in ast.walk(node):
        name = _shared(code, part) if isinstance(part, ast.Attribute | ast.Name) else ""
        above = code.parents[part]
        if name and not (isinstance(above, ast.Call) and above.func is part):
            found.setdefault(name, start(part))
    return found


def _shared(code: Code, node: ast.AST) -> str:
    """The attribute of self or the declared global that a node speaks of, "" for anything else."""
    while isinstance(node, ast.Subscript):
        node = node.value
    if not isinstance(node, ast.Name):
        return place(node)
    declared = (n for n in ast.walk(code.inside(node) or node) if isinstance(n, ast.Global | ast.Nonlocal))
    return node.id if any(node.id in line.names for line in declared) else ""


def _imported_attributes(code: Code, owner: str) -> dict[str, tuple[str, str]]:
    """Attributes of a class that hold an object of an imported class: its module and its name."""
    found = {}
    for method in (f.node for f in code.functions if (f.owner, f.node.name) == (owner, "__init__")):
        hints = {
            a.arg: ast.unparse(a.annotation)
            for a in ast.walk(method)
            if isinstance(a, ast.arg) and a.annotation
        }
        for made in code.assignments(method):
            source = ast.unparse(made.value.func if isinstance(made.value, ast.Call) else made.value)
            if imported := code.imports.get(hints.get(source, source)):
                found[place(made.target)] = imported
    return found
