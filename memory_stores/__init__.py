"""Where memory files live: a protocol, a confined directory, and a shared database."""

from memory_stores.files import FileStore
from memory_stores.protocol import Change, Entry, MemoryStore, StoreError, Version, VersionedStore

__all__ = ["Change", "Entry", "FileStore", "MemoryStore", "StoreError", "Version", "VersionedStore"]
