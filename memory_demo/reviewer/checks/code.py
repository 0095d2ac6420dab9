"""Code as the checks see it: its functions, which of them run at the same time, and where a lock is held."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

Place: TypeAlias = tuple[int, int]
"""Line and column."""

_LOCK_WORDS = {"lock", "rlock", "mutex", "condition", "cond", "guard", "semaphore", "sem", "transaction"}
_POOL_CALLS = {"submit", "map", "imap", "imap_unordered", "apply_async", "starmap", "run_in_executor"}
_TASK_CALLS = {"gather", "create_task", "ensure_future", "start_soon"}
_LOOPS = (ast.For, ast.AsyncFor, ast.While, ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)
_CHANGES = {"append", "add", "update", "extend", "insert", "setdefault", "pop", "remove", "discard", "clear"}
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_ASSIGNMENTS = (ast.Assign, ast.AugAssign, ast.AnnAssign)


class Dependency(NamedTuple):
    """What a finding stands or falls with: a function or a method (`Class.method`) of another file.

    `module` is as imported, "" where the code does not show it.
    """

    module: str
    name: str


class Finding(NamedTuple):
    """One bug: its form, lines (1-indexed, inclusive), the function or class it is in, and what it is about.

    With `depends`, code in another file can excuse it; `if_unseen` says whether it holds where that file is not seen.
    """

    form: str
    line: int
    end_line: int
    where: str
    what: str
    depends: Dependency | None = None
    if_unseen: bool = True


class Function(NamedTuple):
    """A function or method; `owner` is the class around it, "" outside one."""

    owner: str
    node: ast.FunctionDef | ast.AsyncFunctionDef


class Assignment(NamedTuple):
    """One target of an assignment, and the value it gets."""

    node: ast.Assign | ast.AugAssign | ast.AnnAssign
    target: ast.expr
    value: ast.expr


class Code:
    """A parsed module. Raises SyntaxError for what is not Python or is nested too deeply to follow."""

    def __init__(self, source: str) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.tree = ast.parse(source)
            nodes = list(ast.walk(self.tree))
            self.parents = {child: node for node in nodes for child in ast.iter_child_nodes(node)}
            ast.unparse(self.tree)
        except (ValueError, RecursionError, MemoryError) as error:
            raise SyntaxError(f"cannot be followed: {error}") from error
        self.functions = [Function(self.owner(node), node) for node in nodes if isinstance(node, _FUNCTIONS)]
        self.calls = [node for node in nodes if isinstance(node, ast.Call)]
        self._processes = re.search("multiprocessing|ProcessPool", source) is not None

    @cached_property
    def imports(self) -> dict[str, tuple[str, str]]:
        """Names that `from module import name` binds: the module, and the name there."""
        lines = (node for node in ast.walk(self.tree) if isinstance(node, ast.ImportFrom))
        return {a.asname or a.name: (line.module or "", a.name) for line in lines for a in line.names}

    @cached_property
    def threaded(self) -> list[Function]:
        """Functions that several threads run, and what they call without holding a lock."""
        return [] if self._processes else self._reached(self._given_to_threads())

    @cached_property
    def tasks(self) -> list[Function]:
        """The same for coroutines that run as several tasks."""
        found = self._reached(self._given_to_tasks())
        return [function for function in found if isinstance(function.node, ast.AsyncFunctionDef)]

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        while node in self.parents:
            node = self.parents[node]
            yield node

    def inside(self, node: ast.AST) -> ast.AST | None:
        """The function around a node."""
        return next((up for up in self.above(node) if isinstance(up, _FUNCTIONS)), None)

    def owner(self, node: ast.AST) -> str:
        return next((up.name for up in self.above(node) if isinstance(up, ast.ClassDef)), "")

    def nodes(self, scope: ast.AST) -> list[Any]:
        """The nodes of a function or module in the order of the source, without those of functions inside it."""
        around = None if isinstance(scope, ast.Module) else scope
        own = (node for node in ast.walk(scope) if hasattr(node, "lineno") and self.inside(node) is around)
        return sorted(own, key=start)

    def assignments(self, scope: ast.AST) -> Iterator[Assignment]:
        for node in self.nodes(scope):
            yield from assigned(node)

    def holds_lock(self, node: ast.AST) -> bool:
        """Whether a `with` around this node takes what is named as a lock, or its function acquires something."""
        for up in self.above(node):
            if isinstance(up, ast.With | ast.AsyncWith) and any(
                _names_lock(i.context_expr) for i in up.items
            ):
                return True
            if isinstance(up, _FUNCTIONS):
                return any(isinstance(n, ast.Attribute) and n.attr == "acquire" for n in ast.walk(up))
        return False

    def _given_to_threads(self) -> Iterator[ast.expr]:
        for call in self.calls:
            name, receiver = called(call), ast.unparse(call.func)
            if name == "Thread" and self._is_repeated(call):
                yield from (keyword.value for keyword in call.keywords if keyword.arg == "target")
            elif name in _POOL_CALLS and (name == "submit" or re.search("(?i)pool|exec", receiver)):
                yield from call.args[:2]

    def _given_to_tasks(self) -> Iterator[ast.expr]:
        for call in self.calls:
            several = len(call.args) > 1 or any(isinstance(arg, ast.Starred) for arg in call.args)
            if called(call) in _TASK_CALLS and (several or self._is_repeated(call)):
                inside = (node for arg in call.args for node in ast.walk(arg))
                yield from (node.func for node in inside if isinstance(node, ast.Call))
                yield from call.args

    def _is_repeated(self, node: ast.AST) -> bool:
        around = self.inside(node)
        return any(isinstance(up, _LOOPS) and self.inside(up) is around for up in self.above(node))

    def _named(self, node: ast.expr) -> list[Function]:
        """The functions of this module that `self.name` or `name` can mean at this place."""
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self":
            owner = self.owner(node)
            return [f for f in self.functions if (f.owner, f.node.name) == (owner, node.attr)]
        if not isinstance(node, ast.Name):
            return []
        known = {*self.above(node)}
        return [f for f in self.functions if f.node.name == node.id and self.parents[f.node] in known]

    def _reached(self, given: Iterable[ast.expr]) -> list[Function]:
        found = [function for node in given for function in self._named(node)]
        for function in found:  # grows as it goes
            calls = [
                n for n in self.nodes(function.node) if isinstance(n, ast.Call) and not self.holds_lock(n)
            ]
            found += [f for call in calls for f in self._named(call.func) if f not in found]
        return list(dict.fromkeys(found))


def start(node: Any) -> Place:
    return node.lineno, node.col_offset


def end(node: Any) -> Place:
    return node.end_lineno, node.end_col_offset


def assigned(node: ast.AST) -> list[Assignment]:
    if not isinstance(node, _ASSIGNMENTS) or node.value is None:
        return []
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [Assignment(node, target, node.value) for target in targets]


def changed(node: ast.AST) -> list[ast.expr]:
    """The containers that a statement or a call changes."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _CHANGES:
        return [node.func.value]
    return [made.target.value for made in assigned(node) if isinstance(made.target, ast.Subscript)]


def called(call: ast.Call) -> str:
    """The last name of what is called."""
    return ast.unparse(call.func).rpartition(".")[2]


def escapes_quotes(node: ast.AST) -> bool:
    """Whether a quote is doubled anywhere in this code."""
    calls = (n for n in ast.walk(node) if isinstance(n, ast.Call) and called(n) == "replace")
    return any([ast.unparse(arg) for arg in call.args] == ['"\'"', "\"''\""] for call in calls)


def place(node: ast.AST) -> str:
    """The attribute of self that `self.a`, `self.a.b` or `self.a[key]` speaks of; "" for anything else."""
    while isinstance(node, ast.Subscript):
        node = node.value
    text = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
    return text if re.fullmatch(r"self(\.\w+)+", text) and "local" not in text else ""


def _names_lock(node: ast.expr) -> bool:
    words = re.findall(r"[A-Z]?[a-z]+", ast.unparse(node))
    return not _LOCK_WORDS.isdisjoint(word.lower() for word in words)
