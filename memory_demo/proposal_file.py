"""A proposal as a file: what a review on one machine proposed, for a person to approve on another.

Whoever sends such a file may have written it by hand. So it is taken in as the tool uses of a model are, by commands of
a handler, into a proposal to the memory here; and what waits then must be what the file says.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from memory_demo.review_targets import CommandError
from memory_stores.proposals import ProposedFile, changed_since

if TYPE_CHECKING:
    from memory_tool import MemoryToolHandler

MAX_BYTES = 20_000_000
_TEXT = {"type": ["string", "null"]}
_SCHEMA = {
    "type": "object",
    "properties": {
        "proposal": {"type": "string"},
        "files": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"path": {"type": "string"}, "before": _TEXT, "after": _TEXT},
                "required": ["path", "before", "after"],
            },
        },
    },
    "required": ["proposal", "files"],
}


class _File(NamedTuple):
    """A file before and after the proposal, None where there is none."""

    before: str | None
    after: str | None


def write_proposal(place: Path, name: str, files: Sequence[ProposedFile]) -> None:
    """Write a proposal to a file. Raises CommandError."""
    for file in files:
        if "\ufffd" in (file.after or ""):
            raise CommandError(
                f"The proposal was not written to {place}, as {file.path} may hold bytes that are not text."
            )
    kept = [{"path": file.path, "before": file.before, "after": file.after} for file in files]
    try:
        place.write_text(json.dumps({"proposal": name, "files": kept}, indent=2), "utf-8")
    except OSError as error:
        raise CommandError(f"The proposal was not written to {place}: {error.strerror}.") from error


@contextlib.contextmanager
def taken_in(place: Path, name: str, session: MemoryToolHandler) -> Iterator[None]:
    """The proposal of a file waits in the memory below `session`, which writes to it, for as long as the block lasts.

    Raises CommandError for a file that is no such proposal, ProposalError if the memory does not hold any more what it held
    when the proposal was made.
    """
    files = _read(place, name)
    if any(waiting.name == name for waiting in session.proposals.list()):
        raise CommandError(f"A proposal {name!r} waits in this memory already: approve or reject that first.")
    try:
        for path, file in files.items():
            _propose(session, path, file, place)
        _check_same(session.proposals.diff(name), files)
        yield
    finally:
        session.proposals.reject(name)  # what is left of it; after an approval there is nothing


def _read(place: Path, name: str) -> dict[str, _File]:
    import jsonschema

    document = _parsed(place)
    if not jsonschema.Draft202012Validator(_SCHEMA).is_valid(document):
        raise CommandError(f"{place} does not hold a proposal as review --to writes it.")
    if document["proposal"] != name:
        raise CommandError(f"{place} holds the proposal {document['proposal'][:200]!r}, not {name!r}.")
    return {file["path"]: _File(file["before"], file["after"]) for file in document["files"]}


def _parsed(place: Path) -> Any:
    try:
        with place.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CommandError(f"{place} cannot be read: {error.strerror}.") from error
    if len(data) > MAX_BYTES:
        raise CommandError(f"{place} holds more than {MAX_BYTES:,} bytes, which is too long for a proposal.")
    try:
        return json.loads(data.decode())
    except (ValueError, RecursionError):
        return None


def _propose(session: MemoryToolHandler, path: str, file: _File, place: Path) -> None:
    session.execute(command="delete", path=path)  # makes room where there was a directory
    if file.after is not None:
        answer = session.execute(command="create", path=path, file_text=file.after)
        if "error" in answer:
            raise CommandError(f"{place} proposes what may not be stored. {answer['error']}")


def _check_same(waiting: Sequence[ProposedFile], files: dict[str, _File]) -> None:
    """Raise ProposalError unless what waits would make of the memory what the file's proposal made of its own."""
    shown = {file.path: _File(file.before, file.after) for file in waiting}
    for path in sorted({*shown, *files}):
        here, there = shown.get(path, _File(None, None)), files.get(path, _File(None, None))
        if here.after != there.after or here.before not in there:
            raise changed_since(path, here.before, there.after)
