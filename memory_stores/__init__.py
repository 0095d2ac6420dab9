"""Where memory files live: a protocol, a confined directory, and a shared database."""

from typing import TYPE_CHECKING

from memory_stores.files import FileStore
from memory_stores.protocol import Change, Entry, MemoryStore, StoreError, Version, VersionedStore

if TYPE_CHECKING:
    from memory_stores.postgres import PostgresStore

__all__ = [
    "Change",
    "Entry",
    "FileStore",
    "MemoryStore",
    "PostgresStore",
    "StoreError",
    "Version",
    "VersionedStore",
]


def __getattr__(name: str) -> object:
    """`PostgresStore`, when it is first asked for: it needs packages that the others do not."""
    if name != "PostgresStore":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from memory_stores.postgres import PostgresStore
    except ModuleNotFoundError as error:
        if error.name not in ("psycopg", "psycopg_pool"):
            raise
        raise ImportError(
            "PostgresStore needs psycopg and psycopg_pool: pip install 'psycopg[binary]' psycopg_pool"
        ) from error
    return PostgresStore
