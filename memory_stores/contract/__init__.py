"""The tests that a store must pass, for people who write their own.

They need pytest and hypothesis. Say how a store is made, in a test module of yours, and pytest collects the rest:

    class TestMyStore(StoreContract):
        @pytest.fixture
        def make_store(self, tmp_path):
            return functools.partial(MyStore, tmp_path / "memory.db")

A store with a history takes `VersionedStoreContract`, one that takes proposals too `ProposableStoreContract`.

`make_store` is called with ``scope=`` and any of ``max_file_bytes=, max_files=, max_total_bytes=``, also in processes
that are killed or race, so it must be possible to pickle it. Each test makes tenants of its own: one database may serve
all tests. A test that your store cannot pass is overridden by name, with what it does instead.

`memory_stores/contract/example.py` is a whole store, as an example; its own tests are in tests/stores/.
"""

from __future__ import annotations

import pytest

for _part in (
    "files",
    "kills",
    "limits",
    "proposals",
    "races",
    "recording",
    "retention",
    "tenants",
    "texts",
    "undo",
    "versions",
):
    pytest.register_assert_rewrite(f"{__name__}.{_part}")

from memory_stores.contract.files import FilesContract  # noqa: E402  # after the line that has its asserts explained
from memory_stores.contract.kills import KillsContract  # noqa: E402
from memory_stores.contract.limits import LimitsContract  # noqa: E402
from memory_stores.contract.proposals import ProposalsContract  # noqa: E402
from memory_stores.contract.races import RacesContract  # noqa: E402
from memory_stores.contract.retention import RetentionContract  # noqa: E402
from memory_stores.contract.tenants import TenantsContract  # noqa: E402
from memory_stores.contract.texts import TextsContract  # noqa: E402
from memory_stores.contract.undo import UndoContract  # noqa: E402
from memory_stores.contract.versions import VersionsContract  # noqa: E402

__all__ = ["ProposableStoreContract", "StoreContract", "VersionedStoreContract"]


class StoreContract(
    FilesContract, TextsContract, LimitsContract, TenantsContract, RacesContract, KillsContract
):
    """What any store must do."""


class VersionedStoreContract(StoreContract, VersionsContract, UndoContract, RetentionContract):
    """What a store with a history must do."""


class ProposableStoreContract(VersionedStoreContract, ProposalsContract):
    """What a store must do that also takes proposals."""
