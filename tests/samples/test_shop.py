"""The shop's bugs, shown by running it: they lie between two files, and the twins do not have them."""

import contextlib
import importlib
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from test_sample_files import TELLTALES

from memory_demo.evaluation.matching import LABELS_OF_SHOP, read_labels

SHOP = Path(__file__).resolve().parents[2] / "memory_demo" / "sample_code" / "shop"
PAIRS, LABELS = read_labels(LABELS_OF_SHOP)

Load = Callable[[str], ModuleType]


@pytest.fixture(params=[False, True], ids=["sample", "fixed"])
def fixed(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def load(fixed: bool, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Import a file of the shop, or its twin, with the files that it leans on."""
    for folder in (SHOP, SHOP / "fixed") if fixed else (SHOP,):
        monkeypatch.syspath_prepend(str(folder))
    yield importlib.import_module
    for name in ("checkout", "refunds", "loyalty", "ledger", "sqltext"):
        sys.modules.pop(name, None)


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE orders (number, shop, note)")
        connection.execute("CREATE TABLE refunds (number, customer, reason)")
        connection.executemany(
            "INSERT INTO orders VALUES (?, ?, ?)", [(1, "mine", "gift"), (2, "other", "gift")]
        )
        connection.executemany(
            "INSERT INTO refunds VALUES (?, ?, ?)", [(1, "me", "late"), (2, "you", "late")]
        )
        yield connection


def test_two_payments_at_the_same_time(load: Load, fixed: bool, connection: sqlite3.Connection) -> None:
    meeting = threading.Barrier(2)

    def audit(_: str) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            meeting.wait(0.2 if fixed else 60)

    checkout, ledger = load("checkout"), load("ledger").Ledger(audit)
    ledger.add("v", 100)
    orders = [checkout.Order(number, "v", 100) for number in (1, 2)]
    assert sorted(checkout.Checkout(ledger, connection).pay(orders)) == ([1] if fixed else [1, 2])


def test_a_quote_in_a_search(load: Load, fixed: bool, connection: sqlite3.Connection) -> None:
    words = "' OR 1 = 1 --"
    checkout, refunds, ledger = load("checkout"), load("refunds"), load("ledger").Ledger()
    for found in (
        lambda: checkout.Checkout(ledger, connection).search("mine", words),
        lambda: refunds.Refunds(ledger, connection).search("me", words),
    ):
        if fixed:
            assert found() == []
        else:  # the comment takes the rest of the statement with it, and so do the values
            assert found() == [1, 2]


def test_what_only_leans_on_a_lock_and_an_escape_is_right(load: Load, connection: sqlite3.Connection) -> None:
    loyalty, ledger = load("loyalty"), load("ledger").Ledger()
    connection.execute("CREATE TABLE vouchers (voucher, customer)")
    connection.executemany("INSERT INTO vouchers VALUES (?, ?)", [(str(n), "O'Neil") for n in range(50)])
    loyalty.Loyalty(ledger, connection).reward(["O'Neil", "' OR 1 = 1 --"])
    assert [ledger.balance(str(n)) for n in range(50)] == [100] * 50


def test_labels_point_into_the_files_and_nothing_gives_them_away() -> None:
    assert {pair.learn for pair in PAIRS} | {name for pair in PAIRS for name in pair.apply} >= {
        x.file for x in LABELS
    }
    for path in sorted(SHOP.glob("*.py")):
        text = path.read_text("utf-8")
        assert TELLTALES.findall(f"{path.name}\n{text}") == []
        compile(text, path.name, "exec")
    for label in LABELS:
        lines = (SHOP / label.file).read_text("utf-8").splitlines()
        assert lines[label.start_line - 1].strip()
        assert (SHOP / "fixed" / label.file).is_file()
