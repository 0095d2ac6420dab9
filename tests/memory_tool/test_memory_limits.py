"""What a view may show and a store may hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory_tool import VIEW_CHARACTERS, MemoryToolHandler

M = "/memories"
NEXT = re.compile(r"\n\[([\d,]+) more .*: view again with view_range \[(\d+), (-?\d+)\][^\n]*\]$")


def pages(handler: MemoryToolHandler, path: str, view_range: list[int] | None = None) -> list[str]:
    """All pages of a view, as their footers lead from one to the next; without heading and footer."""
    found = list[str]()
    while True:
        page = handler.execute(command="view", path=path, view_range=view_range)["success"]
        assert len(page) <= VIEW_CHARACTERS
        following = NEXT.search(page)
        found.append(page[: following.start() if following else None].split("\n", 1)[1])
        if not following:
            return found
        view_range = [int(following[2]), int(following[3])]
        assert len(found) < 10_000


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(
        st.text("aé\u2028𝄞\r", max_size=12).map(lambda text: text * 300) | st.just(""), max_size=60
    ),
    times=st.integers(1, 20),
)
def test_paging_through_a_file_shows_all_of_it(lines: list[str], times: int, tmp_path: Path) -> None:
    handler = MemoryToolHandler(tmp_path, max_file_bytes=10**8)
    text = "\n".join(lines * times)
    (handler.memory_root / "f").write_bytes(text.encode())
    shown = "\n".join(pages(handler, f"{M}/f")).split("\n")
    assert shown == [f"{number:6}\t{line}" for number, line in enumerate(text.split("\n"), 1)]


@pytest.mark.parametrize("length", [15_000, 15_600, 15_700, 15_950, 16_000, 16_100, 50_000])
def test_a_line_longer_than_a_view_is_cut_and_says_so(
    length: int, handler: MemoryToolHandler, root: Path
) -> None:
    (root / "f").write_text("short\n" + "x" * length + "\nafter", encoding="utf-8")
    shown = pages(handler, f"{M}/f")
    assert shown[-1].endswith("     3\tafter")
    cut = re.search(r"\[([\d,]+) more bytes in line 2: break the line", "\n".join(shown))
    assert "".join(shown).count("x") == length - (int(cut[1].replace(",", "")) if cut else 0)
    if length > VIEW_CHARACTERS:
        assert cut


def test_breaking_a_long_line_as_advised_shows_the_rest(handler: MemoryToolHandler, root: Path) -> None:
    text = "".join(f"word{number} " for number in range(4_000))
    (root / "f").write_text(text, encoding="utf-8")
    first = handler.execute(command="view", path=f"{M}/f")["success"]
    last_words = first.split("\n")[1][-40:]
    assert "success" in handler.execute(
        command="str_replace", path=f"{M}/f", old_str=last_words, new_str=last_words + "\n"
    )
    shown = pages(handler, f"{M}/f")
    assert len(shown) > 1 and last_words in shown[0]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(st.sampled_from([0, 1, 40, 5_000, 9_000, 15_000, 40_000]), min_size=1, max_size=8),
    data=st.data(),
)
def test_a_snippet_shows_the_change_and_says_where_it_ends(
    lines: list[int], data: st.DataObject, tmp_path: Path
) -> None:
    number = data.draw(st.integers(1, len(lines)))
    texts = ["x" * length for length in lines]
    texts[number - 1] = "<" + texts[number - 1]
    handler = MemoryToolHandler(tmp_path)
    (handler.memory_root / "f").write_text("\n".join(texts), encoding="utf-8")
    answer = handler.execute(command="str_replace", path=f"{M}/f", old_str="<", new_str=">")["success"]
    assert len(answer) <= VIEW_CHARACTERS
    snippet, ends, _ = answer.partition(":\n")[2].partition(
        "\n[The snippet ends here: view the file to read on.]"
    )
    assert ">" in snippet
    texts[number - 1] = ">" + texts[number - 1][1:]
    begins = int(snippet.split("\t")[0])
    assert begins in (max(number - 2, 1), number)
    numbered = [f"{n:6}\t{text}" for n, text in enumerate(texts, 1)]
    whole = "\n".join(numbered[begins - 1 : number + 2])
    assert whole.startswith(snippet)
    assert (snippet == whole) == (not ends)


def test_limits_follow_what_other_programs_do(tmp_path: Path) -> None:
    handler = MemoryToolHandler(tmp_path, max_files=3)
    for name in "abc":
        handler.execute(command="create", path=f"{M}/{name}", file_text="x")
    (handler.memory_root / "a").unlink()
    assert "success" in handler.execute(command="create", path=f"{M}/d", file_text="x"), "a person made room"
    for number in range(10):
        (handler.memory_root / f"more{number}").touch()
    assert "delete files" in handler.execute(command="create", path=f"{M}/e", file_text="x")["error"]
    assert "success" in handler.execute(command="str_replace", path=f"{M}/d", old_str="x")
    assert "success" in handler.execute(command="create", path=f"{M}/d", file_text="")


def test_file_over_the_limit_can_be_viewed_and_shortened(tmp_path: Path) -> None:
    handler = MemoryToolHandler(tmp_path, max_file_bytes=1_000)
    (handler.memory_root / "f").write_text("head\n" + "x\n" * 5_000_000, encoding="utf-8")
    (handler.memory_root / "g").write_text("head\n" + "x" * 99 + "y\n" * 50_000, encoding="utf-8")
    assert "999,999 lines" in handler.execute(command="view", path=f"{M}/f")["error"]
    assert "more bytes" in handler.execute(command="view", path=f"{M}/g")["success"]
    assert (
        "shorten" in handler.execute(command="insert", path=f"{M}/g", insert_line=0, insert_text="x")["error"]
    )
    assert "success" in handler.execute(command="str_replace", path=f"{M}/g", old_str="head\n")
    assert "success" in handler.execute(command="create", path=f"{M}/g", file_text="short")


def test_a_sparse_giant_is_not_read(handler: MemoryToolHandler, root: Path) -> None:
    with (root / "f").open("wb") as file:
        file.truncate(10**10)
    assert "too large to read" in handler.execute(command="view", path=f"{M}/f")["error"]
    assert "success" in handler.execute(command="delete", path=f"{M}/f")
