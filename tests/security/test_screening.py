from __future__ import annotations

import pytest
from attack_set import ATTACKS

from memory_screens import SCREENS
from memory_tool import FRAME, MemoryToolHandler

PATH = "/memories/notes.md"


def no_zebra(path, text):
    """Refuses a word in text or path, so that what a test sees is the handler and not a heuristic."""
    return "it has a zebra" if "zebra" in path + text else None


@pytest.fixture
def handler(tmp_path):
    handler = MemoryToolHandler(tmp_path / "base", screens=[lambda path, text: None, no_zebra])
    handler.execute(command="create", path=PATH, file_text="a zeb and a bra\n")
    return handler


@pytest.mark.parametrize(
    ("command", "params"),
    [
        ("create", {"path": PATH, "file_text": "zebra"}),
        ("create", {"path": "/memories/new/x.md", "file_text": "zebra"}),
        ("create", {"path": "/memories/zebra.md", "file_text": "x"}),
        ("create", {"path": "/memories/zebra/x.md", "file_text": "x"}),
        ("str_replace", {"path": PATH, "old_str": "b and a ", "new_str": ""}),
        ("insert", {"path": PATH, "insert_line": 0, "insert_text": "zebra"}),
        ("rename", {"old_path": PATH, "new_path": "/memories/zebra.md"}),
        ("rename", {"old_path": PATH, "new_path": "/memories/zebra/x.md"}),
    ],
)
def test_every_way_of_writing_is_screened_on_what_would_be_stored(handler, command, params):
    answer = handler.execute(command=command, **params)
    assert "it has a zebra" in answer["error"]
    root = handler.memory_root
    assert [path.name for path in root.rglob("*")] == ["notes.md"]
    assert (root / "notes.md").read_text("utf-8") == "a zeb and a bra\n"


def test_what_passes_is_stored_as_it_is(handler):
    assert "success" in handler.execute(command="create", path=PATH, file_text="A horse \u200b\r\n")
    assert (handler.memory_root / "notes.md").read_bytes() == "A horse \u200b\r\n".encode()


def test_bad_text_can_still_be_viewed_and_deleted(handler):
    (handler.memory_root / "notes.md").write_text("zebra\n", encoding="utf-8")
    assert "zebra" in handler.execute(command="view", path=PATH)["success"]
    assert "success" in handler.execute(command="str_replace", path=PATH, old_str="zebra", new_str="horse")
    (handler.memory_root / "notes.md").write_text("zebra\n", encoding="utf-8")
    assert "success" in handler.execute(command="delete", path=PATH)


def test_a_screen_that_fails_stores_nothing(tmp_path):
    handler = MemoryToolHandler(tmp_path, screens=[lambda path, text: 1 // 0])
    assert "internal reason" in handler.execute(command="create", path=PATH, file_text="x")["error"]
    assert not list(handler.memory_root.iterdir())


def test_the_supplied_screens_stop_hidden_text_at_the_handler(tmp_path):
    """Five of nine: the others hide an order in characters that some writing needs, and are left to a person."""
    stopped = 0
    for case in (case for case in ATTACKS["poisoned"] if case["kind"] == "hidden_unicode"):
        handler = MemoryToolHandler(tmp_path / case["id"], screens=SCREENS)
        stopped += any("error" in handler.execute(command) for command in case["commands"])
    assert stopped == 5


def test_a_frame_is_the_last_line_of_what_shows_stored_text(tmp_path):
    plain = MemoryToolHandler(tmp_path)
    framed = MemoryToolHandler(tmp_path, frame=True)
    framed.execute(command="create", path=PATH, file_text="x\n")
    for command in ({"command": "view", "path": PATH}, {"command": "view", "path": "/memories"}):
        shown = framed.execute(command)["success"]
        assert shown == f"{plain.execute(command)['success']}\n{FRAME}"
    edited = framed.execute(command="str_replace", path=PATH, old_str="x", new_str="y")["success"]
    assert edited.endswith(f"\n{FRAME}") and "\n" not in FRAME
    assert FRAME not in str(framed.execute(command="view", path="/memories/none"))
    assert (plain.memory_root / "notes.md").read_text("utf-8") == "y\n"
