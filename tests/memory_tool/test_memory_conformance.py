"""What the six commands do to a text, byte for byte; their documented answers are in the contract of every store."""

from __future__ import annotations

from pathlib import Path

import pytest

from memory_tool import MemoryToolHandler

pytestmark = pytest.mark.usefixtures("platform")


def ok(text: str) -> dict[str, str]:
    return {"success": text}


def bad(text: str) -> dict[str, str]:
    return {"error": text}


M = "/memories"


def test_view_refuses_a_million_lines(handler: MemoryToolHandler, root: Path) -> None:
    (root / "most.txt").write_bytes(b"\n" * 999_998)
    (root / "more.txt").write_bytes(b"\n" * 999_999)
    assert "success" in handler.execute(command="view", path=f"{M}/most.txt")
    assert handler.execute(command="view", path=f"{M}/more.txt") == bad(
        f"File {M}/more.txt exceeds maximum line limit of 999,999 lines."
    )


@pytest.mark.parametrize(
    "view_range", [[3, 2], [2, 0], [2, -2], [1], [1, 2, 3], [], "1,2", [1.0, 2.0], [True, 2], {}, 7]
)
def test_view_range_that_selects_nothing_or_is_no_range(
    view_range: object, handler: MemoryToolHandler, root: Path
) -> None:
    (root / "notes.txt").write_text("one\ntwo\n", encoding="utf-8")
    answer = handler.execute(command="view", path=f"{M}/notes.txt", view_range=view_range)
    assert "[first line, last line]" in answer["error"]


def test_view_range_past_the_end_names_the_last_line(handler: MemoryToolHandler, root: Path) -> None:
    (root / "notes.txt").write_text("one\ntwo", encoding="utf-8")
    assert "line 2" in handler.execute(command="view", path=f"{M}/notes.txt", view_range=[3, -1])["error"]
    assert handler.execute(command="view", path=f"{M}/notes.txt", view_range=[0, 99])["success"].endswith(
        "2\ttwo"
    )
    assert "entry 1" in handler.execute(command="view", path=M, view_range=[2, -1])["error"]


@pytest.mark.parametrize(
    ("before", "line", "addition", "after"),
    [
        ("a\nb\n", 0, "x", "x\na\nb\n"),
        ("a\nb\n", 1, "x\n", "a\nx\nb\n"),
        ("a\nb\n", 2, "x", "a\nb\nx\n"),
        ("a\nb", 1, "x", "a\nx\nb"),
        ("a\nb", 2, "x", "a\nb\nx"),
        ("a\nb", 2, "x\n", "a\nb\nx"),
        ("a\r\nb\r\n", 1, "x\ny", "a\r\nx\r\ny\r\nb\r\n"),
        ("a\r\nb", 2, "x", "a\r\nb\r\nx"),
        ("a\r\nb\n", 1, "x", "a\r\nx\nb\n"),
        ("", 0, "x", "x\n"),
        ("a\n", 1, "x\n\n", "a\nx\n\n"),
        ("\n\n", 1, "", "\n\n\n"),
        ("a\fb\u2028c\x85d\n", 1, "x", "a\fb\u2028c\x85d\nx\n"),
    ],
)
def test_insert_changes_nothing_but_the_insertion(
    before: str, line: int, addition: str, after: str, handler: MemoryToolHandler, root: Path
) -> None:
    (root / "f").write_bytes(before.encode())
    answer = handler.execute(command="insert", path=f"{M}/f", insert_line=line, insert_text=addition)
    assert answer == ok(f"The file {M}/f has been edited.")
    assert (root / "f").read_bytes() == after.encode()


@pytest.mark.parametrize(
    ("before", "old", "new", "after"),
    [
        ("a\r\nb\r\nc", "a\nb", "x\ny", "x\r\ny\r\nc"),
        ("a\r\nb\r\n", "a\r\nb", "x\r\ny", "x\r\ny\r\n"),
        ("a\r\nb\n", "b\n", "c\n", "a\r\nc\n"),
        ("\ufeffa\nb", "b", "c\n", "\ufeffa\nc\n"),
        ("a\\d+(.*)\n", "\\d+(.*)", "\\1", "a\\1\n"),
    ],
)
def test_str_replace_keeps_line_endings(
    before: str, old: str, new: str, after: str, handler: MemoryToolHandler, root: Path
) -> None:
    (root / "f").write_bytes(before.encode())
    assert "success" in handler.execute(command="str_replace", path=f"{M}/f", old_str=old, new_str=new)
    assert (root / "f").read_bytes() == after.encode()
