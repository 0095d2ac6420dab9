"""Pay orders with gift vouchers, several at a time."""

import sqlite3
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ledger import Ledger
from sqltext import pattern


@dataclass(frozen=True)
class Order:
    """An order, and the voucher that pays for it."""

    number: int
    voucher: str
    cents: int


class Checkout:
    """Takes what orders cost off their vouchers."""

    def __init__(self, ledger: Ledger, connection: sqlite3.Connection, *, workers: int = 4) -> None:
        self._ledger = ledger
        self._connection = connection
        self._workers = workers

    def pay(self, orders: Iterable[Order]) -> list[int]:
        """Pay orders, and return the numbers of those that their vouchers cover."""
        with ThreadPoolExecutor(self._workers) as pool:
            paid = pool.map(self._pay, orders)
            return [number for number in paid if number]

    def search(self, shop: str, words: str) -> list[int]:
        """Numbers of a shop's orders whose note contains these words."""
        rows = self._connection.execute(
            f"SELECT number FROM orders WHERE shop = ? AND note LIKE {pattern(words)} ORDER BY number", (shop,)
        )
        return [number for (number,) in rows]

    def _pay(self, order: Order) -> int:
        taken = self._ledger.spend(order.voucher, order.cents)
        return order.number if taken == order.cents else 0
