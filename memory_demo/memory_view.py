"""Memory as a person looks at it: read only, hidden files left out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from memory_demo.review_report import as_name
from memory_stores.proposals import ProposedFile
from memory_stores.protocol import Entry, NotADirectory, NotAFile, NotFound, Reader, TooLarge, spelled


def read_notes(memory: Reader) -> dict[str, str]:
    """Every file in memory: its path as the model names it, and its text. Bytes that are not UTF-8 show as U+FFFD."""
    notes = {}
    for entry in _visible(memory):
        if not entry.is_directory:
            # A hard link, too large to show, or gone meanwhile.
            with contextlib.suppress(NotAFile, TooLarge, NotFound, NotADirectory):
                notes[spelled(entry.path)] = memory.read(entry.path).decode("utf-8", "replace")
    return notes


def memory_tree(memory: Reader) -> str:
    """Memory as a tree with sizes in bytes."""
    lines = ["/memories/"]
    for entry in _visible(memory):
        indent, name = "    " * len(entry.path), entry.path[-1]
        lines.append(f"{indent}{name}/" if entry.is_directory else f"{indent}{name}  {entry.size} B")
    return "\n".join(lines) if len(lines) > 1 else f"{lines[0]}\n    (empty)"


def as_proposed(files: Sequence[ProposedFile]) -> str:
    """A proposal for the person who decides: of each file the diff, what the screens say, what had been read."""
    return "\n".join(map(_proposed, files))


def _proposed(file: ProposedFile) -> str:
    marks = [f"! line {mark.line}: {mark.reason}" for mark in file.marks]
    names = ", ".join(map(as_name, file.sources))
    read = f"had read: {names}" if names else "had read no file"
    return "\n".join(
        [
            file.diff.rstrip() or f"{file.path}: as it is",
            *marks,
            f"When this was written, the session {read}.",
            "",
        ]
    )


def _visible(memory: Reader) -> Iterator[Entry]:
    entries = iter(memory.entries())
    next(entries)  # the memory directory itself
    return (entry for entry in entries if not any(name.startswith(".") for name in entry.path))
