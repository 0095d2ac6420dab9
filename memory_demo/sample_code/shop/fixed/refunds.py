"""Fees for refunds, taken off gift vouchers, several at a time."""

import sqlite3
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ledger import Ledger


@dataclass(frozen=True)
class Refund:
    """A refund, and the fee that its voucher pays."""

    voucher: str
    number: int
    fee_cents: int = 0


class Refunds:
    """Takes fees off vouchers, and finds refunds again."""

    def __init__(self, ledger: Ledger, connection: sqlite3.Connection, *, workers: int = 4) -> None:
        self._ledger = ledger
        self._connection = connection
        self._workers = workers
        self._lock = threading.Lock()

    def settle(self, refunds: Iterable[Refund]) -> int:
        """Take the fees, and return their sum in cents."""
        with ThreadPoolExecutor(self._workers) as pool:
            return sum(pool.map(self._settle, refunds))

    def search(self, customer: str, words: str) -> list[int]:
        """Numbers of a customer's refunds whose reason contains these words."""
        rows = self._connection.execute(
            "SELECT number FROM refunds WHERE customer = ? AND reason LIKE '%' || ? || '%' ORDER BY number",
            (customer, words),
        )
        return [number for (number,) in rows]

    def _settle(self, refund: Refund) -> int:
        with self._lock:
            return self._ledger.spend(refund.voucher, refund.fee_cents)
