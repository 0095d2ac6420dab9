"""The documented text of every command, over any store."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import pytest

from memory_stores.contract.harness import M, StoreTests, Tenant, contents, fill
from memory_stores.protocol import MemoryStore
from memory_tool import VIEW_CHARACTERS, MemoryToolHandler

SNIPPET = "The memory file has been edited. Here is the snippet showing the change (with line numbers):\n"
PATH_OF_THIS_MACHINE = re.compile(r"(?<![\w.])/(?!memories)|[A-Za-z]:\\")
NEXT_PAGE = re.compile(r"\n\[[\d,]+ more .*: view again with view_range \[(\d+), (-?\d+)\][^\n]*\]$")


class Row(NamedTuple):
    name: str
    command: Mapping[str, object]
    answer: dict[str, str]
    overwrite: bool = True


def ok(text: str) -> dict[str, str]:
    return {"success": text}


def bad(text: str) -> dict[str, str]:
    return {"error": text}


ROWS = [
    Row(
        "view file",
        {"command": "view", "path": f"{M}/notes.txt"},
        ok(
            f"Here's the content of {M}/notes.txt with line numbers:\n     1\tone\n     2\ttwo\n     3\tthree\n     4\t"
        ),
    ),
    Row(
        "view file from a line to a line",
        {"command": "view", "path": f"{M}/notes.txt", "view_range": [2, 3]},
        ok(f"Here's the content of {M}/notes.txt with line numbers:\n     2\ttwo\n     3\tthree"),
    ),
    Row(
        "view file from a line to the end",
        {"command": "view", "path": f"{M}/twice.txt", "view_range": [2, -1]},
        ok(f"Here's the content of {M}/twice.txt with line numbers:\n     2\tb\n     3\ta\n     4\t"),
    ),
    Row(
        "view missing",
        {"command": "view", "path": f"{M}/none"},
        bad(f"The path {M}/none does not exist. Please provide a valid path."),
    ),
    Row(
        "view below a file",
        {"command": "view", "path": f"{M}/notes.txt/none"},
        bad(f"The path {M}/notes.txt/none does not exist. Please provide a valid path."),
    ),
    Row(
        "create",
        {"command": "create", "path": f"{M}/new/file.txt", "file_text": "text"},
        ok(f"File created successfully at: {M}/new/file.txt"),
    ),
    Row(
        "create over a file",
        {"command": "create", "path": f"{M}/notes.txt", "file_text": "text"},
        ok(f"File created successfully at: {M}/notes.txt"),
    ),
    Row(
        "create where a file is",
        {"command": "create", "path": f"{M}/notes.txt", "file_text": "text"},
        bad(f"Error: File {M}/notes.txt already exists"),
        overwrite=False,
    ),
    Row(
        "str_replace",
        {"command": "str_replace", "path": f"{M}/notes.txt", "old_str": "two", "new_str": "2"},
        ok(SNIPPET + "     1\tone\n     2\t2\n     3\tthree\n     4\t"),
    ),
    Row(
        "str_replace without new_str",
        {"command": "str_replace", "path": f"{M}/notes.txt", "old_str": "two\n"},
        ok(SNIPPET + "     1\tone\n     2\tthree\n     3\t"),
    ),
    Row(
        "str_replace missing file",
        {"command": "str_replace", "path": f"{M}/none", "old_str": "a", "new_str": "b"},
        bad(f"Error: The path {M}/none does not exist. Please provide a valid path."),
    ),
    Row(
        "str_replace directory",
        {"command": "str_replace", "path": f"{M}/sub", "old_str": "a", "new_str": "b"},
        bad(f"Error: The path {M}/sub does not exist. Please provide a valid path."),
    ),
    Row(
        "str_replace text that is not there",
        {"command": "str_replace", "path": f"{M}/notes.txt", "old_str": "four", "new_str": "b"},
        bad(f"No replacement was performed, old_str `four` did not appear verbatim in {M}/notes.txt."),
    ),
    Row(
        "str_replace text that is there twice",
        {"command": "str_replace", "path": f"{M}/twice.txt", "old_str": "a", "new_str": "b"},
        bad(
            "No replacement was performed. Multiple occurrences of old_str `a` in lines: 1, 3. "
            "Please ensure it is unique"
        ),
    ),
    Row(
        "insert",
        {"command": "insert", "path": f"{M}/notes.txt", "insert_line": 0, "insert_text": "zero\n"},
        ok(f"The file {M}/notes.txt has been edited."),
    ),
    Row(
        "insert missing file",
        {"command": "insert", "path": f"{M}/none", "insert_line": 0, "insert_text": "zero\n"},
        bad(f"Error: The path {M}/none does not exist"),
    ),
    Row(
        "insert into a directory",
        {"command": "insert", "path": f"{M}/sub", "insert_line": 0, "insert_text": "zero\n"},
        bad(f"Error: The path {M}/sub does not exist"),
    ),
    *(
        Row(
            f"insert at line {line}",
            {"command": "insert", "path": f"{M}/notes.txt", "insert_line": line, "insert_text": "zero\n"},
            bad(
                f"Error: Invalid `insert_line` parameter: {line}. "
                "It should be within the range of lines of the file: [0, 3]"
            ),
        )
        for line in (-1, -7, 4, 1_000_000)
    ),
    Row(
        "delete file",
        {"command": "delete", "path": f"{M}/notes.txt"},
        ok(f"Successfully deleted {M}/notes.txt"),
    ),
    Row("delete directory", {"command": "delete", "path": f"{M}/sub"}, ok(f"Successfully deleted {M}/sub")),
    Row(
        "delete missing",
        {"command": "delete", "path": f"{M}/none"},
        bad(f"Error: The path {M}/none does not exist"),
    ),
    Row(
        "rename file",
        {"command": "rename", "old_path": f"{M}/notes.txt", "new_path": f"{M}/a/b.txt"},
        ok(f"Successfully renamed {M}/notes.txt to {M}/a/b.txt"),
    ),
    Row(
        "rename directory",
        {"command": "rename", "old_path": f"{M}/sub", "new_path": f"{M}/other"},
        ok(f"Successfully renamed {M}/sub to {M}/other"),
    ),
    Row(
        "rename missing",
        {"command": "rename", "old_path": f"{M}/none", "new_path": f"{M}/other"},
        bad(f"Error: The path {M}/none does not exist"),
    ),
    Row(
        "rename to a file that is there",
        {"command": "rename", "old_path": f"{M}/notes.txt", "new_path": f"{M}/twice.txt"},
        bad(f"Error: The destination {M}/twice.txt already exists"),
    ),
    Row(
        "rename to a directory that is there",
        {"command": "rename", "old_path": f"{M}/notes.txt", "new_path": f"{M}/sub"},
        bad(f"Error: The destination {M}/sub already exists"),
    ),
    Row(
        "rename into itself",
        {"command": "rename", "old_path": f"{M}/sub", "new_path": f"{M}/sub/deeper"},
        bad(f"The path {M}/sub cannot be moved into itself: choose another destination."),
    ),
    Row(
        "rename below a file",
        {"command": "rename", "old_path": f"{M}/sub", "new_path": f"{M}/notes.txt/sub"},
        bad("Part of the path is not a directory, or has changed: view /memories and use another path."),
    ),
    Row(
        "create where a directory is",
        {"command": "create", "path": f"{M}/sub", "file_text": "text"},
        bad(f"The path {M}/sub is not a file: choose another path."),
    ),
    Row(
        "create below a file",
        {"command": "create", "path": f"{M}/notes.txt/new", "file_text": "text"},
        bad("Part of the path is not a directory, or has changed: view /memories and use another path."),
    ),
    Row(
        "delete below a file",
        {"command": "delete", "path": f"{M}/notes.txt/none"},
        bad(f"Error: The path {M}/notes.txt/none does not exist"),
    ),
    Row(
        "delete everything",
        {"command": "delete", "path": M},
        bad(f"The {M} directory itself cannot be deleted: delete the paths in it."),
    ),
    Row(
        "rename everything",
        {"command": "rename", "old_path": M, "new_path": f"{M}/new"},
        bad(f"The {M} directory itself cannot be renamed: rename the paths in it."),
    ),
]


class TextsContract(StoreTests):
    @pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
    def test_documented_text(self, row: Row, store: MemoryStore) -> None:
        fill(store, **{"notes.txt": "one\ntwo\nthree\n", "twice.txt": "a\nb\na\n", "sub__inner.txt": "x"})
        before = contents(store)
        handler = MemoryToolHandler(store=store, overwrite=row.overwrite)
        assert handler.execute(row.command) == row.answer
        if "error" in row.answer or row.command["command"] == "view":
            assert contents(store) == before

    def test_commands_change_what_they_say(self, store: MemoryStore, handler: MemoryToolHandler) -> None:
        commands: list[dict[str, object]] = [
            {"command": "create", "path": f"{M}/d/a", "file_text": "one\ntwo\n"},
            {"command": "create", "path": f"{M}/d/b", "file_text": "é\r\n"},
            {"command": "str_replace", "path": f"{M}/d/a", "old_str": "two", "new_str": "2"},
            {"command": "insert", "path": f"{M}/d/a", "insert_line": 1, "insert_text": "1.5"},
            {"command": "rename", "old_path": f"{M}/d", "new_path": f"{M}/e/f"},
            {"command": "delete", "path": f"{M}/e/f/b"},
        ]
        for command in commands:
            assert "success" in handler.execute(command), command
        expected = {(): None, ("e",): None, ("e", "f"): None, ("e", "f", "a"): b"one\n1.5\n2\n"}
        assert contents(store) == expected
        assert handler.clear_all_memory() == ok("All memory cleared")
        assert contents(store) == {(): None}

    def test_a_listing_has_sizes_and_is_two_levels_deep(
        self, store: MemoryStore, handler: MemoryToolHandler
    ) -> None:
        hidden = {"a__.hidden__x": "", "a__node_modules__x": "", "node_modules__x": "", ".env": ""}
        fill(store, **hidden, **{"a__b__c__deep.txt": "x", "a__b__two.txt": "x" * 1536, "a.txt": "x" * 17})
        fill(store, none="", large="x" * 900_000)
        heading, *lines = handler.execute(command="view", path=M)["success"].split("\n")
        assert heading == (
            f"Here're the files and directories up to 2 levels deep in {M}, "
            "excluding hidden items and node_modules:"
        )
        sizes = {path: size for size, path in (line.split("\t") for line in lines)}
        assert list(sizes) == [M, f"{M}/a/", f"{M}/a/b/", f"{M}/a.txt", f"{M}/large", f"{M}/none"]
        assert [sizes[f"{M}/{name}"] for name in ("a.txt", "large", "none")] == ["17B", "878.9K", "0B"]
        below = handler.execute(command="view", path=f"{M}/a/b")["success"].split("\n")[2:]
        assert [line.split("\t")[1] for line in below] == [
            f"{M}/a/b/c/",
            f"{M}/a/b/c/deep.txt",
            f"{M}/a/b/two.txt",
        ]

    def test_a_long_listing_comes_in_pages(self, store: MemoryStore, handler: MemoryToolHandler) -> None:
        names = sorted(f"d{number % 3}/file-{number:04}.md" for number in range(700))
        with store.change() as change:
            for name in names:
                change.write(tuple(name.split("/")), b"")
        shown, view_range = list[str](), None
        for _ in range(20):
            page = handler.execute(command="view", path=M, view_range=view_range)["success"]
            assert len(page) <= VIEW_CHARACTERS
            following = NEXT_PAGE.search(page)
            lines = page[: following.start() if following else None].split("\n")[2:]
            shown += [line.split("\t")[1] for line in lines]
            if following is None:
                break
            view_range = [int(following[1]), int(following[2])]
        assert len(shown) == 703 and [path for path in shown if path.endswith(".md")] == [
            f"{M}/{name}" for name in names
        ]

    def test_a_limit_says_what_it_is_and_what_to_do(self, tenant: Tenant) -> None:
        handler = MemoryToolHandler(store=tenant.store(max_file_bytes=10, max_files=2, max_total_bytes=15))

        def create(name: str, size: int) -> dict[str, str]:
            return handler.execute(command="create", path=f"{M}/{name}", file_text="x" * size)

        assert create("d/a", 11) == bad(
            f"{M}/d/a would grow past 10 bytes: shorten it or split it over several files."
        )
        assert "success" in create("d/a", 10) and "success" in create("b", 5)
        full = bad(
            "The memory directory would grow past 2 files or 15 bytes: "
            "shorten or delete files that are no longer needed."
        )
        assert create("b", 6) == create("c", 0) == full
        insert = {"command": "insert", "path": f"{M}/b", "insert_line": 0, "insert_text": ""}
        assert handler.execute(insert) == full
        assert "success" in handler.execute(command="delete", path=f"{M}/d") and "success" in create("c", 10)

    def test_a_refusal_is_one_sentence_and_shows_no_path_of_this_machine(self, tenant: Tenant) -> None:
        store = tenant.store(max_file_bytes=20, max_files=2)
        fill(store, file="file", dir__inner="inner")
        handler = MemoryToolHandler(store=store)
        before = contents(store)
        for path in ("", "/file", "/file/x", "/dir", "/dir/inner/x", "/none", "/none/x", "/" + "n" * 300):
            for command in _commands_at(M + path):
                (text,) = handler.execute(command).values()
                assert not PATH_OF_THIS_MACHINE.search(text), (command, text)
                assert "internal reason" not in text, (command, text)
                if text.startswith("Successfully") or "has been" in text:
                    with store.change() as change:
                        change.remove(())
                    fill(store, file="file", dir__inner="inner")
                assert contents(store) == before, (command, text)


def _commands_at(path: str) -> list[dict[str, object]]:
    return [
        {"command": "view", "path": path},
        {"command": "create", "path": path, "file_text": "x" * 21},
        {"command": "create", "path": f"{path}/new/deep/file", "file_text": "x"},
        {"command": "str_replace", "path": path, "old_str": "i", "new_str": "x" * 20},
        {"command": "insert", "path": path, "insert_line": 0, "insert_text": "x" * 20},
        {"command": "rename", "old_path": path, "new_path": f"{M}/moved"},
        {"command": "rename", "old_path": f"{M}/file", "new_path": path},
        {"command": "delete", "path": path},
    ]
