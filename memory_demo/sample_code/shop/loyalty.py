"""Loyalty: load gift vouchers of regular customers, several at a time."""

import sqlite3
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from ledger import Ledger
from sqltext import literal


class Loyalty:
    """Loads vouchers, and knows which customer holds which."""

    def __init__(self, ledger: Ledger, connection: sqlite3.Connection, *, workers: int = 4) -> None:
        self._ledger = ledger
        self._connection = connection
        self._workers = workers

    def reward(self, customers: Iterable[str]) -> None:
        """Load a euro onto each voucher of each customer."""
        with ThreadPoolExecutor(self._workers) as pool:
            list(pool.map(self._load, [voucher for customer in customers for voucher in self.vouchers(customer)]))

    def vouchers(self, customer: str) -> list[str]:
        """The vouchers of a customer."""
        rows = self._connection.execute(
            f"SELECT voucher FROM vouchers WHERE customer = {literal(customer)} ORDER BY voucher"
        )
        return [voucher for (voucher,) in rows]

    def _load(self, voucher: str) -> None:
        self._ledger.add(voucher, 100)
