"""What the tests of the contract stand on: tenants of the store under test, and other processes."""

from __future__ import annotations

import multiprocessing
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeAlias

import pytest

from memory_stores.protocol import MemoryStore, Path, Reader
from memory_tool import MemoryToolHandler

MakeStore: TypeAlias = Callable[..., MemoryStore]
Contents: TypeAlias = dict[Path, bytes | None]
"""What is at each path; None for a directory."""

M = "/memories"
_Arguments = ParamSpec("_Arguments")

# Not forked from the tests' process: that has threads, and open connections of the store.
if sys.platform == "win32":
    PROCESSES = multiprocessing.get_context("spawn")
else:
    PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["memory_stores.contract"])


class Tenant(NamedTuple):
    """A tenant of the store under test. It can be sent to another process."""

    make_store: MakeStore
    scope: tuple[str, ...]

    def store(self, **limits: int) -> MemoryStore:
        """A store for the tenant's files, as another program would make it."""
        return self.make_store(scope=self.scope, **limits)


def new_tenant(make_store: MakeStore) -> Tenant:
    """A tenant that nobody has seen before."""
    return Tenant(make_store, (f"tenant-{uuid.uuid4().hex}",))


class StoreTests:
    """Fixtures that every part of the contract shares."""

    examples = 40
    """How many examples a property is tried on."""

    @pytest.fixture
    def make_store(self) -> MakeStore:
        """What makes a store, given ``scope=`` and any of ``max_file_bytes=, max_files=, max_total_bytes=``.

        It must be possible to pickle it: other processes make stores of the same tenant with it.
        """
        raise NotImplementedError("Give your tests a fixture make_store: see memory_stores.contract.")

    @pytest.fixture
    def tenant(self, make_store: MakeStore) -> Tenant:
        return new_tenant(make_store)

    @pytest.fixture
    def store(self, tenant: Tenant) -> MemoryStore:
        return tenant.store()

    @pytest.fixture
    def handler(self, store: MemoryStore) -> MemoryToolHandler:
        return MemoryToolHandler(store=store)


def contents(reader: Reader) -> Contents:
    return {entry.path: None if entry.is_directory else reader.read(entry.path) for entry in reader.entries()}


def files(reader: Reader) -> dict[Path, bytes]:
    """`contents` without the directories."""
    return {path: data for path, data in contents(reader).items() if data is not None}


def fill(store: MemoryStore, **held: str) -> None:
    """Write files in one change; `a__b` names ``a/b``."""
    with store.change() as change:
        for name, text in held.items():
            change.write(tuple(name.split("__")), text.encode())


@contextmanager
def process(
    work: Callable[Concatenate[Connection, _Arguments], None],
    *arguments: _Arguments.args,
    **options: _Arguments.kwargs,
) -> Iterator[tuple[BaseProcess, Connection]]:
    """A process that does `work`, with the other end of the connection that it was given."""
    ours, theirs = PROCESSES.Pipe()
    started = PROCESSES.Process(target=work, args=(theirs, *arguments), kwargs=options)
    started.start()
    theirs.close()
    try:
        yield started, ours
    finally:
        started.kill()
        started.join()
        ours.close()


def answer_of(connection: Connection, seconds: float = 60) -> Any:
    """What a process sent; an exception in it is raised here."""
    assert connection.poll(seconds), "the process did not come to an end"
    answer = connection.recv()
    if isinstance(answer, BaseException):
        raise answer
    return answer
