"""Killed writers: a change is there whole or not at all, and the next one works."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import pytest

from memory_stores.contract.harness import Contents, StoreTests, Tenant, answer_of, contents, fill, process
from memory_stores.protocol import Change, MemoryStore, Path, StoreLimit

LETTERS = "abcd"
SIZE = 50_000
FILES = 4
STEPS = 6


def kill_me() -> None:
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))  # on Windows SIGTERM ends it at once


def state(turn: int) -> Contents:
    """All that is there after so many changes."""
    data = LETTERS[turn % 4].encode() * SIZE
    even = turn % 2 == 0
    return {
        (): None,
        ("d",): None,
        ("d", "one"): data,
        ("two",): data,
        ("ping" if even else "pong",): None,
        ("ping" if even else "pong", "ball"): b"ball",
        **({("made",): None, ("made", "deep"): data} if even else {("flat",): data}),
    }


def step(change: Change, number: int, turn: int) -> None:
    """The steps from the state before a turn to the one after it."""
    data = LETTERS[turn % 4].encode() * SIZE
    even = turn % 2 == 0
    match number:
        case 0:
            change.write(("d", "one"), data)
        case 1:
            change.move(("pong" if even else "ping",), ("ping" if even else "pong",))
        case 2:
            change.remove(("flat" if even else "made",))
        case 3:
            change.write(("two",), data)
        case 4:
            change.write(("made", "deep") if even else ("flat",), data)
        case 5:
            change.write(("d", "one"), data)


def change_until_killed(connection: Connection, tenant: Tenant, turn: int, last: int | None) -> None:
    """Change from state to state, and tell of each turn before and after it; with `last`, be killed after that step."""
    store = tenant.store()
    connection.send((turn, turn))
    while True:
        turn += 1
        connection.send((turn - 1, turn))
        with store.change() as change:
            for number in range(STEPS):
                if number == last:
                    kill_me()
                step(change, number, turn)
            if last == STEPS:
                kill_me()
        connection.send((turn, turn))


def kill_at_some_moment(writer: BaseProcess, connection: Connection, seed: random.Random) -> Any:
    """Kill a process some time after it told that it is at work, as it does again and again; what it told last."""
    for _ in range(seed.randint(1, 6)):
        told = answer_of(connection)
    time.sleep(seed.uniform(0, 0.002))
    writer.kill()
    writer.join()
    return told


class KillsContract(StoreTests):
    kills = 20
    """How many writers are killed at a moment that nobody knows."""

    @pytest.mark.parametrize("moment", range(STEPS + 1))
    def test_killed_before_its_end_a_change_never_was(self, moment: int, tenant: Tenant) -> None:
        store = _with_state(tenant)
        with process(change_until_killed, tenant, 0, moment) as (writer, _):
            writer.join(60)
            assert writer.exitcode not in (None, 0)
        if moment % 2:  # by a reader first, or by the next writer
            assert contents(store) == state(0)
        fill(store, next="works")
        assert contents(store) == {**state(0), ("next",): b"works"}

    def test_killed_at_any_moment_a_change_is_whole_or_never_was(self, tenant: Tenant) -> None:
        store, turn, seed, in_the_middle = _with_state(tenant), 0, random.Random(7), 0
        for number in range(self.kills):
            with process(change_until_killed, tenant, turn, None) as (writer, connection):
                told = kill_at_some_moment(writer, connection, seed)
                before, after = _last_told(connection, told)
            in_the_middle += before != after
            if number % 2:  # else it is a reader that comes first
                with store.change():
                    pass
            held = contents(tenant.store() if number % 3 else store)
            assert held in (state(before), state(after)), _first_letters(held)
            turn = after if held == state(after) else before
            _check_room(tenant)
        assert in_the_middle > self.kills / 4, "writers were killed in the middle of a change"


def _with_state(tenant: Tenant) -> MemoryStore:
    store = tenant.store()
    with store.change() as change:
        for path, data in state(0).items():
            if data is not None:
                change.write(path, data)
    return store


def _check_room(tenant: Tenant) -> None:
    """That the store knows what it holds: of two more files that its limit leaves room for, no third goes in."""
    store = tenant.store(max_files=FILES + 2)
    fill(store, more__a="x", more__b="x")
    with pytest.raises(StoreLimit):
        fill(store, more__c="x")
    with store.change() as change:
        change.remove(("more",))


def _last_told(connection: Connection, told: tuple[int, int]) -> tuple[int, int]:
    """The last finished turn and the last begun, as a writer told them before it was killed."""
    with contextlib.suppress(EOFError):
        while connection.poll():
            told = connection.recv()
    return told


def _first_letters(held: Contents) -> dict[Path, bytes | None]:
    return {path: data and data[:1] for path, data in held.items()}
