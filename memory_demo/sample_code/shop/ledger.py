"""Balances of gift vouchers, in cents."""

import threading
from collections.abc import Callable


class Ledger:
    """What is left on each voucher; `audit` is told of everything that is spent."""

    def __init__(self, audit: Callable[[str], None] = lambda entry: None) -> None:
        self._audit = audit
        self._lock = threading.Lock()
        self._balances: dict[str, int] = {}

    def balance(self, voucher: str) -> int:
        """What is left on a voucher."""
        return self._balances.get(voucher, 0)

    def add(self, voucher: str, cents: int) -> None:
        """Load a voucher."""
        with self._lock:
            self._balances[voucher] = self._balances.get(voucher, 0) + cents

    def spend(self, voucher: str, cents: int) -> int:
        """Take so many cents off a voucher, or what is left, and return how many."""
        left = self._balances.get(voucher, 0)
        taken = min(cents, left)
        self._audit(f"{voucher}: {taken}")
        self._balances[voucher] = left - taken
        return taken
