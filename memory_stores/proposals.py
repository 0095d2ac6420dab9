"""Proposals: what a session writes is its own to read, and nobody else's until a person approves it.

Over any store that can hold something beside the memory. A `Draft` reads through to the memory below and keeps its own
writes apart; `Proposals` is for the people who look at them. What a text says has no part in it: that nothing reaches
the memory without a person holds by structure.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import heapq
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeAlias

from memory_stores.history import Answer, RecordedChange, make_room, remove_file
from memory_stores.protocol import (
    Change,
    Entry,
    FileLimit,
    IsDirectory,
    Limits,
    MemoryStore,
    NotADirectory,
    NotAFile,
    NotFound,
    Occupied,
    Path,
    ProposableStore,
    Reader,
    StoreLimit,
    TooLarge,
    VersionedStore,
    parts,
    spelled,
)

Screen: TypeAlias = Callable[[str, str], str | None]


class ProposalError(Exception):
    """What cannot be approved, rejected or shown; the message is a sentence for who asked."""


def changed_since(path: str, now: str | None, proposed: str | None) -> ProposalError:
    """The refusal of what would overwrite a change, with both texts."""
    return ProposalError(
        f"{path} was changed since it was proposed, so nothing was approved.\n"
        f"--- in the memory now\n{now or '(nothing)'}\n--- proposed\n{proposed or '(nothing)'}"
    )


class Mark(NamedTuple):
    """What a screen says of a line (from 1) that a proposal adds: for the person who looks, not a verdict."""

    line: int
    reason: str


class ProposedFile(NamedTuple):
    """One file of a proposal. A text is None where there is no file; `sources` had been read when it was written.

    `digest` (SHA-256, hex) is of the bytes behind `after`, of what they are to replace, and of `sources`.
    """

    path: str
    before: str | None
    after: str | None
    diff: str
    marks: tuple[Mark, ...]
    sources: tuple[str, ...]
    digest: str


class Waiting(NamedTuple):
    """A file of a proposal as it is kept: `base` is the SHA-256 of what the memory held then. None where no file is."""

    path: Path
    base: str | None
    after: bytes | None
    sources: tuple[str, ...]

    @property
    def digest(self) -> str:
        """The SHA-256 (hex) of all this."""
        return _digest_of([self.path, self.base, _digest(self.after), self.sources])


def digest_of(files: Iterable[ProposedFile | Waiting]) -> str:
    """The digest (SHA-256, hex) of a proposal as `diff` shows it: it tells `approve` what a person has seen."""
    return _digest_of([file.digest for file in files])


class Proposal(NamedTuple):
    """A proposal as it is listed; `created_at` is aware (UTC)."""

    name: str
    created_at: datetime
    paths: tuple[str, ...]


class Proposals:
    """The proposals of one tenant, and `draft`, the one that this session writes to, if any.

    `answer` turns what a function returns or raises into ``{"success"|"error": text}``. Proposals older than `keep`, or
    the oldest when all together hold more bytes than that, are dropped.
    """

    def __init__(
        self,
        store: MemoryStore,
        answer: Callable[[Callable[[], str]], Answer],
        name: str | None = None,
        screens: Sequence[Screen] = (),
        keep: timedelta | int | None = None,
    ) -> None:
        self._store, self._answer, self._screens, self._keep = store, answer, tuple(screens), keep
        self.draft: Draft | None = None
        if name is not None and not name.isprintable():
            raise ValueError(f"{name!r} cannot be the name of a proposal: give one line of printable text.")
        if name is not None and isinstance(store, ProposableStore):
            self._drop_ended()
            self.draft = Draft(store, name)

    def list(self) -> Sequence[Proposal]:
        """Every proposal, oldest first."""
        self._drop_ended()
        found = [draft.summary() for draft in self._drafts()]
        return sorted(
            (proposal for proposal in found if proposal.paths), key=lambda proposal: proposal.created_at
        )

    def diff(self, name: str) -> Sequence[ProposedFile]:
        """The files of a proposal against the memory as it is now. Raises ProposalError for an unknown name."""
        files = self._known(name).waiting()
        if not files:
            raise _unknown(name)
        return [self._shown(file) for file in files]

    def approve(self, name: str, paths: Iterable[str] | None = None, *, seen: str, by: str = "") -> Answer:
        """Put a proposal, or some of its files as `list` spells them, into the memory: one change, recorded as by `by`.

        `seen` is `digest_of` what `diff` gave: refused as a whole if the proposal is another one by now; also, with both
        texts, if one of the files was changed in the memory since it was proposed.
        """
        return self._answer(lambda: self._approve(name, paths, seen, by))

    def reject(self, name: str) -> Answer:
        """Drop a proposal. The answer names what the memory holds as it was proposed: approved before, or by others."""
        return self._answer(lambda: self._reject(name))

    def holding(self, sha256: str) -> str | None:
        """The name of a proposal that holds content with this hash or is to replace such content, if one does."""
        for draft in self._drafts():
            if any(sha256 in (file.base, _digest(file.after)) for file in draft.waiting()):
                return draft.summary().name
        return None

    def note_source(self, path: str) -> None:
        """Note that this session has read a file; what it writes from now on says so."""
        if self.draft is not None:
            self.draft.note_source(path)

    def _approve(self, name: str, paths: Iterable[str] | None, seen: str, by: str) -> str:
        draft = self._known(name)
        with self._recorded_change(by) as change:
            # Looked up in the change, as a rejection looks at the memory last: so one of the two knows of the other.
            files = draft.waiting()
            chosen = _chosen(name, files, paths)
            if digest_of(files) != seen:
                raise ProposalError(f"The proposal {name!r} is not what was looked at: look at it again.")
            for file in chosen:
                _check_unchanged(file, change)
            _make_so(change, [file for file in chosen if not _holds(change, file)])
        draft.settle(chosen)
        return "\n".join(spelled(file.path) for file in chosen)

    def _reject(self, name: str) -> str:
        files = self._known(name).drop()
        if files is None:
            raise _unknown(name)
        with self._store.change() as change:
            held = ", ".join(spelled(file.path) for file in files if _holds(change, file))
        but = f", but the memory is as it proposed, by an approval or by others: {held}" if held else ""
        return f"Rejected {name}{but}"

    @contextlib.contextmanager
    def _recorded_change(self, by: str) -> Iterator[Change]:
        if isinstance(self._store, VersionedStore):
            with self._store.change() as versioned, RecordedChange(versioned, by) as recorded:
                yield recorded
        else:
            with self._store.change() as change:
                yield change

    def _known(self, name: str) -> Draft:
        self._drop_ended()
        if isinstance(self._store, ProposableStore):
            draft = Draft(self._store, name)
            if draft.is_there():
                return draft
        raise _unknown(name)

    def _drafts(self) -> Sequence[Draft]:
        """What sessions have left, also where it changes no file."""
        if not isinstance(self._store, ProposableStore):
            return []
        area = self._store.beside(_AREA)
        entries = list(area.entries((), 1))[1:]
        manifests = [_content(area, (*entry.path, _MANIFEST)) for entry in entries]
        return [Draft(self._store, json.loads(data)["name"]) for data in manifests if data is not None]

    def _shown(self, file: Waiting) -> ProposedFile:
        name, before, after = spelled(file.path), None, _text(file.after)
        with contextlib.suppress(NotAFile):
            before = _text(_content(self._store, file.path))
        lines = difflib.unified_diff(
            (before or "").splitlines(True), (after or "").splitlines(True), name, name
        )
        added = _added_lines(before or "", after or "")
        marks = [Mark(number, reason) for number, line in added for reason in self._reasons(name, line)]
        return ProposedFile(name, before, after, "".join(lines), tuple(marks), file.sources, file.digest)

    def _reasons(self, path: str, line: str) -> Iterator[str]:
        return filter(None, (screen(path, line) for screen in self._screens))

    def _drop_ended(self) -> None:
        if self._keep is None:
            return
        drafts = sorted(self._drafts(), key=lambda draft: draft.summary().created_at)
        left = sum(draft.size() for draft in drafts)
        for draft in drafts:
            if isinstance(self._keep, timedelta):
                ended = draft.summary().created_at < datetime.now(UTC) - self._keep
            else:
                ended = left > self._keep
            left -= draft.size()
            if ended:
                draft.drop()


def _unknown(name: str) -> ProposalError:
    return ProposalError(f"There is no proposal {name!r}.")


def _chosen(name: str, files: Sequence[Waiting], paths: Iterable[str] | None) -> Sequence[Waiting]:
    """Those of the files that a person names, each once, or all of them."""
    if not files:
        raise _unknown(name)
    if paths is None:
        return files
    # By the whole spelling: what is approved is what was named, and nothing that looks like it.
    known = {spelled(file.path): file for file in files}
    wanted = dict.fromkeys(paths)
    missing = next((path for path in wanted if path not in known), None)
    if missing is not None:
        raise ProposalError(
            f"{missing!r} is not in the proposal {name!r}: name its files as it lists them, such as {next(iter(known))}."
        )
    return [known[path] for path in wanted]


def _check_unchanged(file: Waiting, memory: Reader) -> None:
    """Raise ProposalError if the memory does not hold what it held when the file was proposed."""
    now = _content(memory, file.path)
    if _digest(now) != file.base and now != file.after:
        raise changed_since(spelled(file.path), _text(now), _text(file.after))


def _holds(memory: Reader, file: Waiting) -> bool:
    """Whether the memory is what a proposal would make of it, here."""
    with contextlib.suppress(NotAFile, TooLarge):
        return _content(memory, file.path) == file.after
    return False


def _make_so(change: Change, files: Sequence[Waiting]) -> None:
    for file in files:
        if file.after is None:
            remove_file(change, file.path)
    for file in files:
        if file.after is not None:
            make_room(change, file.path)
            change.write(file.path, file.after)


_AREA = "proposals"
_MANIFEST = "proposal.json"
_FILES = "files"


class Draft:
    """The memory as one proposal would make it: reads through to the store below, and keeps its writes apart.

    In the area beside the memory each proposal has a directory: the files that it writes, and a manifest. That says for
    each file that it changes what the memory held then (its SHA-256, or None), whether it is deleted, and what the
    session had read; and which directories the session removed.
    """

    def __init__(self, below: ProposableStore, name: str) -> None:
        self._below, self._name = below, name
        self._area = below.beside(_AREA)
        self._key = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        self._read: list[str] = []

    def find(self, path: Path) -> Entry | None:
        return self._view(self._area).find(path)

    def read(self, path: Path) -> bytes:
        return self._view(self._area).read(path)

    def entries(self, path: Path = (), depth: int | None = None) -> Iterator[Entry]:
        return self._view(self._area).entries(path, depth)

    @contextlib.contextmanager
    def change(self) -> Iterator[DraftChange]:
        with self._area.change() as change:
            manifest = self._manifest(change)
            begins = not manifest["files"]
            yield DraftChange(self._below, change, self._key, manifest, self._below.limits, tuple(self._read))
            if begins and manifest["files"]:
                manifest["created_at"] = datetime.now(UTC).isoformat()
            _save(change, self._key, manifest)

    def note_source(self, path: str) -> None:
        if path not in self._read:
            self._read.append(path)

    def is_there(self) -> bool:
        """Whether a session has left anything, be it no more than an empty directory that it removed."""
        return self._area.find((self._key,)) is not None

    def waiting(self) -> list[Waiting]:
        """The files that the proposal changes, as a reader sees them: in the middle of a change, perhaps."""
        return self._waiting(self._area)

    def size(self) -> int:
        return sum(len(file.after or b"") for file in self.waiting())

    def summary(self) -> Proposal:
        manifest = self._manifest(self._area)
        moment = datetime.fromisoformat(manifest["created_at"])
        return Proposal(self._name, moment, tuple(sorted(manifest["files"])))

    def drop(self) -> list[Waiting] | None:
        """End the proposal, and give the files that waited; None if it had ended already."""
        with self._area.change() as area:
            if area.find((self._key,)) is None:
                return None
            files = self._waiting(area)
            area.remove((self._key,))
        return files

    def settle(self, approved: Iterable[Waiting]) -> None:
        """Take out what was approved. What the session has written since goes on waiting, as a change of that."""
        with self._area.change() as area:
            manifest = self._manifest(area)
            for file in approved:
                noted = manifest["files"].get(spelled(file.path))
                if _content(area, self._place(file.path)) == file.after:
                    self._take_out(area, manifest, file.path)
                elif noted:
                    noted["base"] = _digest(file.after)
            self._save_or_end(area, manifest)

    def _take_out(self, area: Change, manifest: Mapping[str, Any], path: Path) -> None:
        manifest["files"].pop(spelled(path), None)
        if _content(area, self._place(path)) is not None:
            remove_file(area, self._place(path))

    def _save_or_end(self, area: Change, manifest: Mapping[str, Any]) -> None:
        if manifest["files"]:
            _save(area, self._key, manifest)
        elif area.find((self._key,)):
            area.remove((self._key,))

    def _waiting(self, area: Reader) -> list[Waiting]:
        noted = {parts(name): file for name, file in sorted(self._manifest(area)["files"].items())}
        return [
            Waiting(path, file["base"], _content(area, self._place(path)), tuple(file["sources"]))
            for path, file in noted.items()
        ]

    def _place(self, path: Path) -> Path:
        """Where the proposal keeps what it writes to a file."""
        return (self._key, _FILES, *path)

    def _view(self, area: Reader) -> _View:
        return _View(self._below, area, self._key, self._manifest(area))

    def _manifest(self, area: Reader) -> dict[str, Any]:
        return _manifest(area, self._key, self._name)


class _View:
    """The memory below with a proposal laid over it."""

    def __init__(self, below: Reader, area: Reader, key: str, manifest: dict[str, Any]) -> None:
        self._below, self._area, self._top, self._manifest = below, area, (key, _FILES), manifest

    def find(self, path: Path) -> Entry | None:
        own = self._area.find((*self._top, *path))
        if own is not None:
            return own._replace(path=path)
        below = self._below.find(path)
        return below if below and self._shows(below) else None

    def read(self, path: Path) -> bytes:
        try:
            return self._area.read((*self._top, *path))
        except NotFound:
            below = self._below.find(path)
            if below and not self._shows(below):
                raise NotFound(path) from None
            return self._below.read(path)
        except IsDirectory:
            raise IsDirectory(path) from None

    def entries(self, path: Path = (), depth: int | None = None) -> Iterator[Entry]:
        entry = self.find(path)
        if entry is None:
            raise NotFound(path)
        if not entry.is_directory:
            raise NotADirectory(path)
        last: Path | None = None
        for found in heapq.merge(
            self._own(path, depth),
            filter(self._shows, self._entries_below(path, depth)),
            key=lambda found: found.path,
        ):
            if found.path != last:
                yield found
            last = found.path

    def _own(self, path: Path, depth: int | None) -> Iterator[Entry]:
        with contextlib.suppress(NotFound, NotADirectory):
            for entry in self._area.entries((*self._top, *path), depth):
                yield entry._replace(path=entry.path[len(self._top) :])

    def _shows(self, below: Entry) -> bool:
        """Whether what is in the memory below would be there with the proposal too.

        A file would, unless the proposal deletes it or makes a file of a directory above. A directory that the session
        removed is there again once somebody else has put a file into it.
        """
        path = below.path
        if any(self._deletes(path[:depth]) is False for depth in range(1, len(path))):
            return False
        if not below.is_directory:
            return not self._deletes(path)
        return not self._is_removed(path) or any(
            self._shows(inner) for inner in self._entries_below(path) if not inner.is_directory
        )

    def _deletes(self, path: Path) -> bool | None:
        """Whether the proposal deletes a file, or writes it; None if it leaves it alone."""
        noted = self._manifest["files"].get(spelled(path))
        return None if noted is None else noted["deleted"]

    def _is_removed(self, directory: Path) -> bool:
        removed = self._manifest["removed"]
        return any(list(directory[:depth]) in removed for depth in range(1, len(directory) + 1))

    def _entries_below(self, path: Path, depth: int | None = None) -> Iterator[Entry]:
        with contextlib.suppress(NotFound, NotADirectory):
            yield from self._below.entries(path, depth)


class DraftChange(_View):
    """A change of a draft, under the limits that the memory has."""

    def __init__(
        self,
        below: Reader,
        area: Change,
        key: str,
        manifest: dict[str, Any],
        limits: Limits,
        sources: tuple[str, ...],
    ) -> None:
        super().__init__(below, area, key, manifest)
        self._area: Change = area
        self._limits, self._sources = limits, sources
        self._bases: dict[Path, str | None] = {}
        self._usage: tuple[int, int] | None = None

    def read(self, path: Path) -> bytes:
        data = super().read(path)
        self._bases.setdefault(path, _digest(data))
        return data

    def write(self, path: Path, data: bytes) -> None:
        entry = self.find(path)
        if entry and entry.is_directory:
            raise NotAFile(path)
        self._check_parents(path)
        size = entry.size if entry else 0
        if len(data) > max(self._limits.max_file_bytes, size):
            raise FileLimit(path, limit=self._limits.max_file_bytes)
        self._use(0 if entry else 1, len(data) - size)
        self._note(path, deleted=False)
        self._area.write((*self._top, *path), data)

    def remove(self, path: Path) -> None:
        entry = self.find(path)
        if entry is None:
            raise NotFound(path)
        for found in [entry] if path else list(self.entries((), 1))[1:]:
            self._remove(found)

    def move(self, old: Path, new: Path) -> None:
        source = self.find(old)
        if source is None:
            raise NotFound(old)
        if self.find(new) is not None:
            raise Occupied(new)
        self._check_parents(new)
        for entry in list(self.entries(old)) if source.is_directory else [source]:
            target = (*new, *entry.path[len(old) :])
            if entry.is_directory:
                self._make_directory(target)
                continue
            data = self.read(entry.path)
            self._remove(Entry(entry.path, len(data)))
            self.write(target, data)
        if source.is_directory:
            self._remove(source)

    def _remove(self, entry: Entry) -> None:
        files = list(self._files(entry))
        for file in files:
            self._note(file.path, deleted=True)
        self._use(-len(files), -sum(file.size for file in files))
        with contextlib.suppress(NotFound, NotADirectory):
            self._area.remove((*self._top, *entry.path))
        below = self._below.find(entry.path) if entry.is_directory else None
        if below and below.is_directory and not self._is_removed(entry.path):
            self._manifest["removed"].append(list(entry.path))
        for file in files:
            if self._manifest["files"][spelled(file.path)]["base"] is None:
                del self._manifest["files"][spelled(file.path)]  # the proposal alone had it

    def _files(self, entry: Entry) -> Iterator[Entry]:
        entries = self.entries(entry.path) if entry.is_directory else iter([entry])
        return (found for found in entries if not found.is_directory)

    def _make_directory(self, path: Path) -> None:
        placeholder = (*self._top, *path, "placeholder")
        self._area.write(placeholder, b"")
        self._area.remove(placeholder)

    def _check_parents(self, path: Path) -> None:
        for depth in range(1, len(path)):
            parent = self.find(path[:depth])
            if parent and not parent.is_directory:
                raise NotADirectory(path)

    def _note(self, path: Path, *, deleted: bool) -> None:
        """Note what the proposal does to a file: what was there before, and what the session had read by now."""
        files = self._manifest["files"]
        if spelled(path) not in files:
            base = self._bases.get(path) or _digest(_content(self._below, path))
            files[spelled(path)] = {"base": base, "sources": []}
        noted = files[spelled(path)]
        noted["deleted"] = deleted
        noted["sources"] = list(dict.fromkeys([*noted["sources"], *self._sources]))

    def _use(self, files: int, size: int) -> None:
        if self._usage is None:
            found = [entry.size for entry in self.entries() if not entry.is_directory]
            self._usage = len(found), sum(found)
        after = self._usage[0] + files, self._usage[1] + size
        over = after[0] > self._limits.max_files or after[1] > self._limits.max_total_bytes
        if (files > 0 or size > 0) and over:
            raise StoreLimit(limit=self._limits.max_files, size=self._limits.max_total_bytes)
        self._usage = after


def _manifest(area: Reader, key: str, name: str = "") -> dict[str, Any]:
    data = _content(area, (key, _MANIFEST))
    if data is None:
        return {"name": name, "created_at": datetime.now(UTC).isoformat(), "files": {}, "removed": []}
    manifest: dict[str, Any] = json.loads(data)
    return manifest


def _save(area: Change, key: str, manifest: Mapping[str, Any]) -> None:
    data = json.dumps(manifest).encode()
    if (area.find((key,)) or manifest["files"] or manifest["removed"]) and data != _content(
        area, (key, _MANIFEST)
    ):
        area.write((key, _MANIFEST), data)


def _content(reader: Reader, path: Path) -> bytes | None:
    """The content of a file; None where there is no file. Raises NotAFile for one that must not be read, TooLarge."""
    try:
        return reader.read(path)
    except (NotFound, IsDirectory):
        return None


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode("utf-8", "replace")


def _digest(data: bytes | None) -> str | None:
    return None if data is None else hashlib.sha256(data).hexdigest()


def _digest_of(values: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def _added_lines(before: str, after: str) -> Iterator[tuple[int, str]]:
    """The lines that `after` has and `before` has not, numbered from 1."""
    lines = after.splitlines()
    for tag, _, _, start, end in difflib.SequenceMatcher(
        None, before.splitlines(), lines, autojunk=False
    ).get_opcodes():
        if tag in ("insert", "replace"):
            yield from ((number + 1, lines[number]) for number in range(start, end))
