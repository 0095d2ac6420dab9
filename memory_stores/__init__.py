"""Where memory files live: a protocol, a confined directory, and a shared database."""

from memory_stores.protocol import Change, Entry, MemoryStore, StoreError, Version, VersionedStore

__all__ = ["Change", "Entry", "MemoryStore", "StoreError", "Version", "VersionedStore"]
