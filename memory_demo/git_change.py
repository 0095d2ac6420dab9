"""What a branch changes, asked of git so that neither the branch nor a setting of the checkout has a say in it.

`git diff` obeys `.gitattributes`, `.gitmodules` and some twenty settings: they can hide a file, and they can name commands.
So git is only asked for the files of the base and of the index; which of them differ is decided by the bytes on disk.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from memory_demo.git import Blob, Blobs, GitError, found_by_git, run_git
from memory_demo.python_source import MAX_BYTES, has_python_suffix
from memory_demo.working_tree import ChangedFile, WorkingTree

_CONVERTED = (
    "differs from what is staged, and git may convert it "
    "(see working-tree-encoding, ident and filter in .gitattributes): stage it or take the edit back"
)
# What git replaces on checkout in a file with the attribute ident, but for what git itself has put there.
_ODD_IDENT = re.compile(rb"\$Id:(?! [0-9a-f]{40,64} \$)")


class Repository:
    """The git repository around a folder. Every method raises GitError where git does not answer."""

    def __init__(self, folder: Path) -> None:
        self.top = found_by_git(folder, "--show-toplevel")

    def commit(self, revision: str) -> str:
        """The id of a commit; as that, it can no longer be taken for an option."""
        answer = self._git("rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}")
        return answer.decode().split()[-1]

    def merge_base(self, commit: str) -> str:
        """The last commit that HEAD has in common with this one. Raises GitError where there are several."""
        found = self._git("merge-base", "--all", commit, "HEAD").decode().split()
        if len(found) > 1:
            # Of two sides that have merged each other's older commits, a file may have changed since one base alone.
            raise GitError(
                f"The branch and its base parted at {len(found)} commits, and what has changed since differs with each; "
                "merge the base into the branch first."
            )
        return found[0]

    def files(self, commit: str) -> dict[str, Blob]:
        """Every file of a commit, by path from the top."""
        entries = _records(self._git("ls-tree", "-r", "-z", "--full-tree", commit))
        return {path: Blob(mode, id) for (mode, _, id), path in entries}

    def names(self, commits: Iterable[str]) -> set[str]:
        """The path of every file of the index and of these commits, from the top."""
        return {path for path, _ in self._tracked()}.union(*map(self.files, commits))

    def content(self, blobs: Iterable[Blob]) -> dict[str, bytes]:
        """The contents of these blobs by id, without those that are too large to review."""
        with Blobs(self.top) as kept:
            content = {blob.id: kept.first_bytes(blob) for blob in blobs}
        return {id: data for id, data in content.items() if len(data) <= MAX_BYTES}

    def changed_files(self, commit: str, named: Iterable[str] = ()) -> list[ChangedFile]:
        """The Python files that are not as they were in this commit, on disk or else in the index.

        Links, submodules and special files that may hold Python are among them, with the reason why they are not
        reviewed, and so are files that git may have converted on checkout. Files that the index does not have are not,
        but for those that are `named`, by path from the top.
        """
        base, renamed, tracked = self.files(commit), self._renamed(commit), dict(self._tracked())
        algorithm = self._git("rev-parse", "--show-object-format").decode().strip()
        with Blobs(self.top) as kept:
            tree = WorkingTree(self.top, algorithm, tracked, base, kept)
            changed = list(tree.changed(dict.fromkeys([*tracked, *named])))
        unlike = {
            file.path: tracked[file.path]
            for file in changed
            if file.data is not None and tree.index_differs(file.path, file.data)
        }
        converted = self._converted(unlike)
        changed = [
            ChangedFile(file.path, None, _CONVERTED) if file.path in converted else file for file in changed
        ]
        return self._with_base(changed, base, renamed)

    def python_files(self) -> list[str]:
        """The tracked files that are Python by their suffix, links left out."""
        return [
            path
            for path, blob in self._tracked()
            if blob.is_file and has_python_suffix(path) and not (self.top / path).is_symlink()
        ]

    def _with_base(
        self, changed: list[ChangedFile], base: dict[str, Blob], renamed: dict[str, str]
    ) -> list[ChangedFile]:
        old = {file.path: renamed.get(file.path, file.path) for file in changed if file.data is not None}
        before = {path: base[name] for path, name in old.items() if name in base and base[name].is_file}
        content = self.content(before.values())
        return [
            replace(file, old_path=old[file.path], base=content.get(before[file.path].id))
            if file.path in before
            else file
            for file in changed
        ]

    def _renamed(self, commit: str) -> dict[str, str]:
        """The files that are new in the index and much like one that is gone: their new names, and their old ones."""
        answer = self._git(
            *("diff-index", "--cached", "-z", "--name-status", "--find-renames", "-l1000", "--diff-filter=R"),
            commit,
        )
        fields = [os.fsdecode(field) for field in answer.split(b"\0")]
        return dict(zip(fields[2::3], fields[1::3], strict=False))

    def _converted(self, blobs: Mapping[str, Blob]) -> set[str]:
        """Those of these files of which git may write other code to disk than it has, by an attribute of the branch."""
        # The attributes of the index: a file of attributes can itself be one that git converts.
        answer = self._git(
            *("check-attr", "--cached", "-z", "--stdin", "working-tree-encoding", "ident", "filter"),
            stdin=b"".join(os.fsencode(path) + b"\0" for path in blobs),
        )
        fields = [os.fsdecode(field) for field in answer.split(b"\0")]
        values = list(zip(fields[::3], fields[1::3], fields[2::3], strict=False))
        content = self.content(
            blobs[path] for path, name, value in values if (name, value) == ("ident", "set")
        )
        filters = self._filters()

        def converts(path: str, name: str, value: str) -> bool:
            if name == "filter":
                return value in filters
            if name == "ident":
                return value == "set" and bool(_ODD_IDENT.search(content.get(blobs[path].id, b"$Id:")))
            return value.lower() not in ("unspecified", "unset", "utf-8", "utf8")

        return {path for path, name, value in values if converts(path, name, value)}

    def _filters(self) -> set[str]:
        """The filters that do something to what git writes to disk."""
        pattern = r"^filter\..*\.(smudge|process)$"
        answer = run_git(self.top, ("config", "-z", "--name-only", "--get-regexp", pattern), answers=(0, 1))
        names = [os.fsdecode(name) for name in answer.split(b"\0")]
        return {name.removeprefix("filter.").rpartition(".")[0] for name in names}

    def _tracked(self) -> Iterator[tuple[str, Blob]]:
        """Every path of the index once."""
        seen = set()
        for (mode, id, _), path in _records(self._git("ls-files", "-z", "--stage")):
            if path not in seen:
                seen.add(path)
                yield path, Blob(mode, id)

    def _git(self, *arguments: str, stdin: bytes = b"") -> bytes:
        return run_git(self.top, arguments, stdin)


def difference(before: str, after: str, *, context: int = 3) -> str:
    """The hunks of a unified diff of two texts, "" if they are the same."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in {"before": before, "after": after}.items():
            (Path(folder) / name).write_bytes(text.encode())
        # Not by difflib: its time grows with the square of what a hostile author may choose.
        answer = run_git(
            Path(folder),
            (
                *(
                    "diff",
                    "--no-index",
                    "--text",
                    f"--unified={context}",
                    "--inter-hunk-context=0",
                    "--no-color",
                ),
                *("--no-ext-diff", "--no-textconv", "--diff-algorithm=histogram", "before", "after"),
            ),
            settings={"GIT_CEILING_DIRECTORIES": str(Path(folder).parent)},
            answers=(0, 1),
        )
    _, marker, hunks = answer.decode().partition("\n@@ ")
    return f"{marker[1:]}{hunks}"


def unchanged_lines(before: str, after: str) -> dict[int, int]:
    """The lines of `after` (from 1) that a diff takes over from `before`, each with its number there."""
    if before == after:
        return {number: number for number in range(1, after.removesuffix("\n").count("\n") + 2)}
    kept = {}
    old = new = 1
    for line in difference(before, after, context=MAX_BYTES).split("\n")[1:]:
        if line.startswith(" "):
            kept[new] = old
        old += line.startswith((" ", "-"))
        new += line.startswith((" ", "+"))
    return kept


def _records(answer: bytes) -> Iterator[tuple[list[str], str]]:
    for record in answer.split(b"\0")[:-1]:
        facts, _, path = record.partition(b"\t")
        yield facts.decode().split(), os.fsdecode(path)
