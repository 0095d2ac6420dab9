"""Shared state that is read and then written, with room for another thread or task in between."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from memory_demo.reviewer.checks.code import Code, Finding, FunctionNode, assigned, end, place, start


def lost_updates(code: Code) -> Iterator[Finding]:
    """Threads read shared state and write back what depends on it, with no lock held."""
    for function in code.threaded:
        for node, name, read in _dependent_writes(code, function):
            if not code.holds_lock(node):
                yield Finding("lost-update", read[0], end(node)[0], function.name, name)


def stale_reads(code: Code) -> Iterator[Finding]:
    """Tasks read shared state, await, and write back what depends on the old value."""
    for function in code.tasks:
        awaited = [end(node) for node in code.nodes(function) if isinstance(node, ast.Await)]
        for node, name, read in _dependent_writes(code, function):
            if any(read < point <= end(node) for point in awaited) and not code.holds_lock(node):
                yield Finding("stale-read", read[0], end(node)[0], function.name, name)


def checks_then_acts(code: Code) -> Iterator[Finding]:
    """A test of shared state and the change that it allows, with no lock over the two."""
    for function in dict.fromkeys([*code.threaded, *code.tasks]):
        dependent = [node for node, _, _ in _dependent_writes(code, function)]
        tests = [node for node in code.nodes(function) if isinstance(node, ast.If)]
        for test in [test for test in tests if not code.holds_lock(test)]:
            below = [node for line in test.body for node in ast.walk(line)]
            apart = function in code.threaded or any(isinstance(node, ast.Await) for node in below)
            tested = _reads(code, test.test)
            acts = [(n, _shared(code, t)) for b in below for n, t, _ in assigned(b) if n not in dependent]
            for node, name in [act for act in acts if act[1] in tested and apart][:1]:
                yield Finding("check-then-act", test.lineno, end(node)[0], function.name, name)


def unguarded_calls(code: Code) -> Iterator[Finding]:
    """Threads call a method of one shared object of another file: a bug if that method changes it with no lock."""
    for function in code.threaded:
        classes = _imported_attributes(code, code.owner(function))
        for call in (call for call in code.calls if code.function(call) is function):
            func = call.func
            if isinstance(func, ast.Attribute) and place(func.value) in classes and not code.holds_lock(call):
                module, owner = classes[place(func.value)]
                method, lines = f"{owner}.{func.attr}", (call.lineno, end(call)[0])
                yield Finding("unguarded-call", *lines, function.name, method, (module, method), False)


def _dependent_writes(code: Code, function: FunctionNode) -> Iterator[tuple[Any, str, tuple[int, int]]]:
    """Assignments to shared state of something that depends on it: the node, the state, and where it was read."""
    held: dict[str, dict[str, tuple[int, int]]] = {}
    for node, target, value in code.assignments(function):
        names = [part.id for part in ast.walk(value) if isinstance(part, ast.Name)]
        before = {state: at for name in names for state, at in held.get(name, {}).items()}
        reads = before | _reads(code, value)
        name = _shared(code, target)
        if isinstance(node, ast.AugAssign):
            reads[name] = start(target)
        if name and name in reads:
            yield node, name, reads[name]
        elif isinstance(target, ast.Name):
            held[target.id] = reads


def _reads(code: Code, node: ast.expr) -> dict[str, tuple[int, int]]:
    """Shared state that an expression reads, and where."""
    methods = [part.func for part in ast.walk(node) if isinstance(part, ast.Call)]
    parts = [part for part in ast.walk(node) if part not in methods]
    return {name: start(part) for part in reversed(parts) if (name := _shared(code, part))}


def _shared(code: Code, node: ast.AST) -> str:
    """The attribute of self or the declared global that a node speaks of, "" for anything else."""
    while isinstance(node, ast.Subscript):
        node = node.value
    if not isinstance(node, ast.Name):
        return place(node)
    declared = (n for n in ast.walk(code.function(node) or node) if isinstance(n, ast.Global | ast.Nonlocal))
    return node.id if any(node.id in line.names for line in declared) else ""


def _imported_attributes(code: Code, owner: ast.ClassDef | None) -> dict[str, tuple[str, str]]:
    """Attributes of a class that hold an object of an imported class: its module and its name."""
    found = {}
    for made in (f for f in code.functions if f.name == "__init__" and code.owner(f) is owner):
        hints = {a.arg: ast.unparse(a.annotation) for a in made.args.args if a.annotation}
        for _, target, value in code.assignments(made):
            source = ast.unparse(value.func if isinstance(value, ast.Call) else value)
            if imported := code.imports.get(hints.get(source, source)):
                found[place(target)] = imported
    return found
