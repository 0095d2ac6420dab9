from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory_tool import MemoryToolHandler

SECRET = "tenant A was here"
HOSTILE = [
    "..",
    ".",
    "",
    "/",
    "\\",
    "../a",
    "../../a",
    "a/../a",
    "./a",
    "a/",
    "/a",
    "a/memories",
    "memories",
    "a\\..\\a",
    "..%2fa",
    "%2e%2e",
    "%61",
    "A",
    "a ",
    "a.",
    "a\x00",
    "a\n",
    "\uff41",
    "a\u0301",
    "\u00e1",
    "scope-a",
    "~",
    "$HOME",
    "con",
    "nul.txt",
    "C:",
    "*",
    "a" * 5_000,
    "\ud800",
    ".memory.history",
    ".memory.lock",
]


def run(handler, command, **params):
    return handler.execute(command=command, **params)


def everything(base):
    return {
        path.relative_to(base).as_posix(): path.read_bytes() for path in base.rglob("*") if path.is_file()
    }


@pytest.fixture
def tenant(tmp_path):
    """Tenant A, with a note, in a base directory below the test's own."""
    handler = MemoryToolHandler(tmp_path / "base", scope=("a",), history=True)
    run(handler, "create", path="/memories/notes/plan.md", file_text=SECRET)
    return handler


def test_the_names_are_at_least_thirty_and_none_is_the_tenant():
    assert len(set(HOSTILE)) >= 30 and "a" not in HOSTILE


@pytest.mark.parametrize("scope", [(name,) for name in HOSTILE] + [("a", name) for name in HOSTILE] + [()])
def test_nothing_of_one_tenant_is_seen_or_changed_by_another(tenant, tmp_path, scope):
    base = tmp_path / "base"
    before = {path: data for path, data in everything(base).items() if "/memories/" in path}
    other = MemoryToolHandler(base, scope=scope, history=True)
    assert other.memory_root != tenant.memory_root
    assert base.resolve() in other.memory_root.parents

    answers = [run(other, "view", path="/memories"), other.execute(command="view", path="/memories/notes")]
    paths = ["/memories/notes/plan.md", "/memories/../../scope-a/memories/notes/plan.md", "/memories/notes"]
    paths += ["/memories/../memories/notes/plan.md", "/scope-a/memories/notes/plan.md"]
    for path in paths:
        answers += [
            run(other, "view", path=path),
            run(other, "str_replace", path=path, old_str=SECRET, new_str="gone"),
            run(other, "insert", path=path, insert_line=0, insert_text="gone"),
            run(other, "rename", old_path=path, new_path="/memories/mine"),
            run(other, "delete", path=path),
        ]
    assert all("error" in answer for answer in answers[1:])
    assert not any(SECRET in str(answer) or "plan.md\n" in str(answer) for answer in answers)
    assert answers[0]["success"].count("\n") == 1
    for path in paths:
        run(other, "create", path="/memories/mine", file_text="mine")
        run(other, "rename", old_path="/memories/mine", new_path=path)
    other.clear_all_memory()
    assert SECRET not in str(other.history.versions())
    after = {path: data for path, data in everything(base).items() if "/memories/" in path and path in before}
    assert after == before


def test_limits_and_histories_are_each_tenant_s_own(tmp_path):
    one, other = (
        MemoryToolHandler(tmp_path / "base", scope=(name,), history=True, max_files=1) for name in ("a", "b")
    )
    assert "success" in run(one, "create", path="/memories/x", file_text="x")
    assert "success" in run(other, "create", path="/memories/x", file_text="x")
    (mine,), (theirs,) = one.history.versions(), other.history.versions()
    assert one.history.content(mine.id) == b"x" and mine.id != theirs.id
    for action in (one.history.undo, one.history.redact):
        assert "no version" in action(theirs.id)["error"]


@given(st.lists(st.text(max_size=300), max_size=3), st.lists(st.text(max_size=300), max_size=3))
@settings(max_examples=200, deadline=None)
def test_two_scopes_share_a_directory_only_if_they_are_equal(tmp_path_factory, one, other):
    base = tmp_path_factory.getbasetemp() / "scopes"
    roots = [MemoryToolHandler(base, scope=scope).memory_root for scope in (one, other)]
    # As a disk without case, or one that normalises Unicode, would compare them.
    names = [str(root).casefold() for root in roots]
    assert (names[0] == names[1]) == (one == other)
    assert all(name.isascii() for root in roots for name in root.relative_to(base.resolve()).parts)
    for mine, theirs in (roots, reversed(roots)):
        assert mine not in theirs.parents


def test_names_that_some_disks_take_for_one_are_apart(tmp_path):
    alike = [
        "acme",
        "Acme",
        "ACME",
        "\u00e9",
        "e\u0301",
        "\u00c9",
        "ss",
        "\u00df",
        "%41",
        "A",
        "acme.",
        "acme ",
    ]
    roots = {str(MemoryToolHandler(tmp_path, scope=(name,)).memory_root).casefold() for name in alike}
    assert len(roots) == len(alike)


def test_very_long_names_that_differ_at_the_end_are_two(tmp_path):
    roots = {MemoryToolHandler(tmp_path, scope=("x" * 4_000 + end,)).memory_root for end in "ab"}
    assert len(roots) == 2
    assert all(len(part) < 120 for root in roots for part in root.relative_to(tmp_path.resolve()).parts)


def test_no_scope_is_the_base_itself(tmp_path):
    assert MemoryToolHandler(tmp_path, scope=()).memory_root == tmp_path.resolve() / "memories"


def test_a_scope_that_is_one_string_is_a_mistake(tmp_path):
    with pytest.raises(TypeError, match="sequence of strings"):
        MemoryToolHandler(tmp_path, scope="acme")
    assert not list(Path(tmp_path).iterdir())


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX; CI runs it on Linux")
def test_a_scope_s_directories_are_for_their_owner_alone(tmp_path):
    root = MemoryToolHandler(tmp_path / "base", scope=("acme", "user-42")).memory_root
    assert root.stat().st_mode & 0o777 == 0o700
