"""Code as the checks see it: its functions, which of them run at the same time, and where a lock is held."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Assignment: TypeAlias = tuple[ast.stmt, ast.expr, ast.expr]
"""The statement, one of its targets, and the value."""

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_LOOPS = (ast.For, ast.AsyncFor, ast.While, ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)
_LOCK_WORDS = {"lock", "rlock", "mutex", "condition", "cond", "guard", "semaphore", "sem", "transaction"}
_GIVES_TO_POOL = (
    r"(?i)\.submit$|\.run_in_executor$|(pool|executor)\w*\.(i?map|imap_unordered|apply_async|starmap)$"
)
_TASK_CALLS = {"gather", "create_task", "ensure_future", "start_soon"}
_CHANGES = {"append", "add", "update", "extend", "insert", "setdefault", "pop", "remove", "discard", "clear"}


class Finding(NamedTuple):
    """One bug: its form, lines (1-indexed, inclusive), the function or class it is in, and what it is about.

    `depends` names the function or method of another file that can excuse it, as module ("" if the code does not show
    it) and `name` or `Class.method`. `if_unseen` says whether the finding holds while that file is not seen.
    """

    form: str
    line: int
    end_line: int
    where: str
    what: str
    depends: tuple[str, str] | None = None
    if_unseen: bool = True


class Code:
    """A parsed module. Raises SyntaxError for what is not Python or is nested too deeply to follow."""

    def __init__(self, source: str) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.tree = ast.parse(source)
            every = list(ast.walk(self.tree))
            ast.unparse(self.tree)
        except (ValueError, RecursionError, MemoryError) as error:
            raise SyntaxError(f"cannot be followed: {error}") from error
        self.parents = {child: node for node in every for child in ast.iter_child_nodes(node)}
        self.functions = [node for node in every if isinstance(node, _FUNCTIONS)]
        self.calls = [node for node in every if isinstance(node, ast.Call)]
        self._has_processes = re.search("multiprocessing|ProcessPool", source) is not None

    @cached_property
    def imports(self) -> dict[str, tuple[str, str]]:
        """Names that `from module import name` binds: the module, and the name there."""
        lines = (node for node in ast.walk(self.tree) if isinstance(node, ast.ImportFrom))
        return {a.asname or a.name: (line.module or "", a.name) for line in lines for a in line.names}

    @cached_property
    def threaded(self) -> list[FunctionNode]:
        """Functions that several threads run, and what they call without holding a lock."""
        return [] if self._has_processes else self._reached(self._given_to_threads())

    @cached_property
    def tasks(self) -> list[FunctionNode]:
        """The same for coroutines that run as several tasks."""
        return [f for f in self._reached(self._given_to_tasks()) if isinstance(f, ast.AsyncFunctionDef)]

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        while node in self.parents:
            node = self.parents[node]
            yield node

    def function(self, node: ast.AST) -> ast.AST | None:
        """The function around a node."""
        return next((up for up in self.above(node) if isinstance(up, _FUNCTIONS)), None)

    def owner(self, node: ast.AST) -> ast.ClassDef | None:
        """The class around a node."""
        return next((up for up in self.above(node) if isinstance(up, ast.ClassDef)), None)

    def nodes(self, scope: ast.AST) -> list[Any]:
        """The nodes of a function or module in the order of the source, without those of functions inside it."""
        around = None if isinstance(scope, ast.Module) else scope
        own = (node for node in ast.walk(scope) if hasattr(node, "lineno") and self.function(node) is around)
        return sorted(own, key=start)

    def assignments(self, scope: ast.AST) -> list[Assignment]:
        return [made for node in self.nodes(scope) for made in assigned(node)]

    def holds_lock(self, node: ast.AST) -> bool:
        """Whether a `with` around this node takes what is named as a lock, or its function acquires something."""
        within = [up for up in self.above(node) if self.function(up) is self.function(node)]
        taken = [item for up in within if isinstance(up, ast.With | ast.AsyncWith) for item in up.items]
        words = [word.lower() for item in taken for word in re.findall("[A-Z]?[a-z]+", ast.unparse(item))]
        acquires = any(called(c) == "acquire" and self.function(c) is self.function(node) for c in self.calls)
        return acquires or not _LOCK_WORDS.isdisjoint(words)

    def _given_to_threads(self) -> Iterator[ast.expr]:
        for call in self.calls:
            if called(call) == "Thread" and self._is_repeated(call):
                yield from (keyword.value for keyword in call.keywords if keyword.arg == "target")
            elif re.search(_GIVES_TO_POOL, ast.unparse(call.func)):
                yield from call.args[:2]

    def _given_to_tasks(self) -> Iterator[ast.AST]:
        for call in self.calls:
            several = len(call.args) > 1 or any(isinstance(arg, ast.Starred) for arg in call.args)
            if called(call) in _TASK_CALLS and (several or self._is_repeated(call)):
                inside = (node for arg in call.args for node in ast.walk(arg))
                yield from (node.func if isinstance(node, ast.Call) else node for node in inside)

    def _is_repeated(self, node: ast.AST) -> bool:
        loops = (up for up in self.above(node) if isinstance(up, _LOOPS))
        return any(self.function(loop) is self.function(node) for loop in loops)

    def _named(self, node: ast.AST) -> list[FunctionNode]:
        """The functions of this module that `self.name` or `name` can mean at this place."""
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self":
            return [f for f in self.functions if f.name == node.attr and self.owner(f) is self.owner(node)]
        known = {*self.above(node)} if isinstance(node, ast.Name) else set()
        return [f for f in self.functions if self.parents[f] in known and f.name == ast.unparse(node)]

    def _reached(self, given: Iterable[ast.AST]) -> list[FunctionNode]:
        found = list(dict.fromkeys(function for node in given for function in self._named(node)))
        for function in found:  # grows as it goes
            calls = [c for c in self.calls if self.function(c) is function and not self.holds_lock(c)]
            found += dict.fromkeys(f for call in calls for f in self._named(call.func) if f not in found)
        return found


def start(node: Any) -> tuple[int, int]:
    """Line and column."""
    return node.lineno, node.col_offset


def end(node: Any) -> tuple[int, int]:
    return node.end_lineno, node.end_col_offset


def assigned(node: ast.AST) -> list[Assignment]:
    if isinstance(node, ast.Assign):
        return [(node, target, node.value) for target in node.targets]
    if isinstance(node, ast.AugAssign | ast.AnnAssign) and node.value:
        return [(node, node.target, node.value)]
    return []


def changed(node: ast.AST) -> list[ast.expr]:
    """The containers that a statement or a call changes."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _CHANGES:
        return [node.func.value]
    return [target.value for _, target, _ in assigned(node) if isinstance(target, ast.Subscript)]


def called(call: ast.Call) -> str:
    """The last name of what is called."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)


def escapes_quotes(node: ast.AST) -> bool:
    """Whether a quote is doubled anywhere in this code."""
    return """.replace("'", "''")""" in ast.unparse(node)


def place(node: ast.AST) -> str:
    """The attribute of self that `self.a`, `self.a.b` or `self.a[key]` speaks of; "" for anything else."""
    while isinstance(node, ast.Subscript):
        node = node.value
    text = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
    return text if re.fullmatch(r"self(\.\w+)+", text) and "local" not in text else ""
