"""A proposal as a file: what a review on one machine proposed, for a person to approve on another.

Whoever sends such a file may have written it by hand. So it is taken in as the tool uses of a model are, by commands of
a handler, into a proposal to the memory here; and what waits then must be what the file says.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ValidationError

from memory_demo.command_error import CommandError
from memory_stores.proposals import ProposedFile, changed_since, digest_of

if TYPE_CHECKING:
    from memory_tool import MemoryToolHandler

MAX_BYTES = 20_000_000


class ProposedText(BaseModel):
    """What a proposal makes of a file; None where there is no file."""

    path: str
    before: str | None
    after: str | None


class ProposalDocument(BaseModel):
    """A proposal as it travels."""

    proposal: str
    files: list[ProposedText]


def write_proposal(place: Path, name: str, files: Sequence[ProposedFile]) -> None:
    """Write a proposal to a file. Raises CommandError."""
    for file in files:
        if "\ufffd" in (file.after or ""):
            raise CommandError(
                f"The proposal was not written to {place}, as {file.path} may hold bytes that are not text."
            )
    changes = [ProposedText(path=file.path, before=file.before, after=file.after) for file in files]
    document = ProposalDocument(proposal=name, files=changes)
    try:
        place.write_text(document.model_dump_json(indent=2), "utf-8")
    except OSError as error:
        raise CommandError(f"The proposal was not written to {place}: {error.strerror}.") from error


@contextlib.contextmanager
def taken_in(document: ProposalDocument, session: MemoryToolHandler) -> Iterator[str]:
    """A proposal waits in the memory below `session`, which writes to it, for as long as the block lasts.

    Gives the digest of it. Raises CommandError for what may not be stored, ProposalError if the memory does not hold any
    more what it held when the proposal was made.
    """
    name, changes = document.proposal, document.files
    if any(waiting.name == name for waiting in session.proposals.list()):
        raise CommandError(f"A proposal {name!r} waits in this memory already: approve or reject that first.")
    try:
        for change in changes:
            _propose(session, change)
        files = session.proposals.diff(name)
        _check_same(files, changes)
        yield digest_of(files)
    finally:
        session.proposals.reject(name)  # what is left of it; after an approval there is nothing


def read_proposal(place: Path, name: str) -> ProposalDocument:
    """The proposal of this name that `write_proposal` wrote to a file. Raises CommandError."""
    try:
        with place.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CommandError(f"{place} cannot be read: {error.strerror}.") from error
    if len(data) > MAX_BYTES:
        raise CommandError(f"{place} holds more than {MAX_BYTES:,} bytes, which is too long for a proposal.")
    try:
        document = ProposalDocument.model_validate_json(data, strict=True)
    except ValidationError as error:
        raise CommandError(f"{place} does not hold a proposal as review --to writes it.") from error
    if document.proposal != name:
        raise CommandError(f"{place} holds the proposal {document.proposal[:200]!r}, not {name!r}.")
    return document


def _propose(session: MemoryToolHandler, change: ProposedText) -> None:
    session.execute(command="delete", path=change.path)  # makes room where there was a directory
    if change.after is not None:
        answer = session.execute(command="create", path=change.path, file_text=change.after)
        if "error" in answer:
            raise CommandError(f"The proposal holds what may not be stored. {answer['error']}")


def _check_same(waiting: Sequence[ProposedFile], changes: Sequence[ProposedText]) -> None:
    """Raise ProposalError unless what waits would make of the memory what the file's proposal made of its own."""
    here = {file.path: (file.before, file.after) for file in waiting}
    there = {change.path: (change.before, change.after) for change in changes}
    for path in sorted({*here, *there}):
        now, after = here.get(path, (None, None))
        before, proposed = there.get(path, (None, None))
        if after != proposed or now not in (before, proposed):
            raise changed_since(path, now, proposed)
