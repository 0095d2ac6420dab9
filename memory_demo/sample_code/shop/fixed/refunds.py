"""Refunds: money goes back to gift vouchers, several at a time, less a fee."""

import sqlite3
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ledger import Ledger
from sqltext import literal


@dataclass(frozen=True)
class Refund:
    """What goes back to a voucher, and what is kept of it."""

    voucher: str
    cents: int
    fee_cents: int = 0


class Refunds:
    """Settles refunds, and finds them again."""

    def __init__(self, ledger: Ledger, connection: sqlite3.Connection, *, workers: int = 4) -> None:
        self._ledger = ledger
        self._connection = connection
        self._workers = workers
        self._lock = threading.Lock()

    def settle(self, refunds: Iterable[Refund]) -> int:
        """Settle refunds and return the fees, in cents."""
        with ThreadPoolExecutor(self._workers) as pool:
            return sum(pool.map(self._settle, refunds))

    def of_customer(self, customer: str) -> list[int]:
        """Numbers of a customer's refunds."""
        rows = self._connection.execute(
            f"SELECT number FROM refunds WHERE customer = {literal(customer)} ORDER BY number"
        )
        return [number for (number,) in rows]

    def search(self, customer: str, words: str) -> list[int]:
        """Numbers of a customer's refunds whose reason contains these words."""
        rows = self._connection.execute(
            "SELECT number FROM refunds WHERE customer = ? AND reason LIKE '%' || ? || '%' ORDER BY number",
            (customer, words),
        )
        return [number for (number,) in rows]

    def _settle(self, refund: Refund) -> int:
        self._ledger.add(refund.voucher, refund.cents)
        with self._lock:
            return self._ledger.spend(refund.voucher, refund.fee_cents)
