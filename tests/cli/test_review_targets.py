"""Which files a review is about, asked of real repositories, as their authors would like to hide them too."""

import ast
import itertools
import ntpath
import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory_demo.command_error import CommandError
from memory_demo.git_change import unchanged_lines
from memory_demo.python_source import MAX_BYTES, NotReviewable, source_text
from memory_demo.review_targets import changed_files, named_files

BUG = b"import os\n\nos.system(input())\n"
# Windows has no such names.
QUOTED = "deep/er/\u00e9.py" if sys.platform == "win32" else 'deep/er/\u00e9 "quoted".py'
on_posix = pytest.mark.skipif(
    sys.platform == "win32",
    reason="Windows has no such names or modes; CI has Linux and macOS runners that do",
)


@pytest.fixture(autouse=True)
def _no_settings_of_git(monkeypatch, environment):
    for name in os.environ.keys() - environment().keys():
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)


def write(folder, name, data=BUG):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def commit(git):
    git("add", "--all")
    git("commit", "--allow-empty", "--message", "A change")


def names(selection):
    """What is to be reviewed, by its path in the repository."""
    return {target.path for target in selection.targets}


def reasons(selection):
    return {missed.path: missed.reason for missed in selection.not_reviewed}


@pytest.fixture
def branch(repository):
    """A repository with a commit on main, and a branch that an author may do to what they like."""
    folder, git = repository
    write(folder, "app.py", "x = 1\n")
    write(folder, "notes.md", "# Notes\n")
    commit(git)
    git("switch", "--create", "feature")
    return folder, git


def test_staged_committed_edited_renamed_and_nested_files_but_not_deleted_untracked_or_other_ones(repository):
    folder, git = repository
    for name in (
        "gone.py",
        "old name.py",
        "deep/er/same.py",
        QUOTED,
        "notes.md",
        "edited.py",
        "plan b/bad.py",
    ):
        write(folder, name, "a = 1\nb = 2\nc = 3\nd = 4\n")
    commit(git)
    git("mv", "old name.py", "new name.py")
    write(folder, "new name.py", "a = 1\nb = 2\nc = 3\nd = 5\n")
    for name in (QUOTED, "notes.md", "plan b/bad.py", "added.py"):
        write(folder, name)
    (folder / "gone.py").unlink()
    git("add", "--all")
    git("rm", "--cached", "--quiet", "deep/er/same.py")
    write(folder, "edited.py")
    write(folder, "untracked.py")
    selection = changed_files("HEAD", folder)
    assert names(selection) == {"new name.py", QUOTED, "plan b/bad.py", "added.py", "edited.py"}
    assert names(changed_files("HEAD", folder / "deep" / "er")) == names(selection)
    only = [folder / "deep" / ".." / "added.py"]
    assert names(changed_files("HEAD", folder, only)) == {"added.py"}
    base = {target.path: target.base for target in selection.targets}
    assert base["added.py"] is None
    assert base["new name.py"] == "a = 1\nb = 2\nc = 3\nd = 4\n"
    assert not selection.not_reviewed


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nosuch.py", "no file"),
        ("pkg/*.py", "no file"),
        ("app.py/mod.py", "no file"),
        (".", "not a file"),
        ("pkg", "not a file"),
        (".git", "not a file"),
        ("..", "not a file"),
        ("../elsewhere.py", "not in this repository"),
    ],
)
def test_a_name_that_stands_for_no_file_is_refused_beside_a_change_too(branch, name, words):
    folder, git = branch
    write(folder, "app.py")
    write(folder, "pkg/mod.py")
    write(folder.parent, "elsewhere.py")
    commit(git)
    with pytest.raises(CommandError, match=words):
        changed_files("main", folder, [folder / "app.py", folder / name])


def test_what_git_says_has_changed_may_be_named_and_what_it_does_not_track_is_new(branch):
    folder, git = branch
    for name in ("gone.py", "moved.py", "same.py", "deep/here.py"):
        write(folder, name, f"name = {name!r}\n")
    commit(git)
    git("branch", "--force", "main")
    git("rm", "--quiet", "gone.py")
    git("mv", "moved.py", "deep/there.py")
    write(folder, "app.py")
    commit(git)
    git("switch", "--quiet", "main")
    write(folder, "later.py")
    commit(git)
    git("switch", "--quiet", "feature")
    write(folder, "deep/here.py")
    write(folder, "notes.md")
    (folder / "deep" / "there.py").unlink()
    write(folder, "new.py")
    write(folder, "not python.txt")
    answers = [
        subprocess.run(["git", *command, "-z"], cwd=folder, check=True, capture_output=True).stdout
        for command in (("diff", "--name-only", "--no-renames", "main"), ("ls-files", "--others"))
    ]
    listed = [folder / name for name in b"".join(answers).decode().split("\0")[:-1]]
    assert {path.name for path in listed} >= {"gone.py", "moved.py", "later.py", "new.py", "not python.txt"}
    selection = changed_files("main", folder, listed)
    assert names(selection) == {"app.py", "deep/here.py", "new.py"}
    assert [target.base for target in selection.targets if target.path == "new.py"] == [None]
    assert not selection.not_reviewed
    assert "new.py" not in names(changed_files("main", folder))
    for name in ("same.py", "gone.py", "notes.md"):
        assert not names(changed_files("main", folder, [folder / name]))


def test_names_of_a_diff_that_are_directories_or_gone_take_no_other_file_along(branch):
    folder, git = branch
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.strip()
    first, second = head, head[::-1]
    git("switch", "--quiet", "main")
    for name in ("docs/v1/a.md", "docs/v2/a.md", "gone.py"):
        write(folder, name)
    write(folder, "tools", b"#!/usr/bin/python\n")
    link(folder / "docs" / "latest", "v1")
    git("add", "--all")
    git("update-index", "--add", "--cacheinfo", f"160000,{first},vendor/lib")
    git("commit", "--message", "Before")
    git("switch", "--quiet", "feature")
    git("reset", "--quiet", "--hard", "main")
    (folder / "vendor" / "lib").mkdir(parents=True, exist_ok=True)
    for name in ("gone.py", "tools", "docs/latest"):
        (folder / name).unlink()
    write(folder, "tools/__init__.py")
    link(folder / "docs" / "latest", "v2")
    for name in ("app.py", "staged.py"):
        write(folder, name)
    git("add", "--all")
    git("update-index", "--cacheinfo", f"160000,{second},vendor/lib")
    answer = subprocess.run(
        ["git", "diff", "--cached", "--name-only", "main"],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    listed = answer.stdout.split()
    directories = {"vendor/lib", "docs/latest", "tools"}
    assert {name for name in listed if (folder / name).is_dir()} == directories
    (folder / "staged.py").unlink()
    for only in ([], [folder / name for name in listed]):
        selection = changed_files("main", folder, only)
        assert names(selection) == {"app.py", "staged.py", "tools/__init__.py"}
        assert reasons(selection).keys() == {"vendor/lib"}
    with pytest.raises(CommandError, match="not a file"):
        changed_files("main", folder, [folder / "vendor"])


def test_a_name_is_that_of_a_tracked_file_where_the_system_takes_them_for_the_same(branch, monkeypatch):
    folder, _ = branch
    write(folder, "app.py")
    with monkeypatch.context() as windows:
        windows.setattr(os.path, "normcase", ntpath.normcase)
        [target] = changed_files("main", folder, [folder / "App.py"]).targets
    assert (target.path, target.base) == ("app.py", "x = 1\n")


def test_an_untracked_file_that_is_named_is_looked_at_as_a_tracked_one(branch, tmp_path):
    folder, git = branch
    for name in ("odd.py", "generated.py", "app.pyi"):
        write(folder, name, b"\0")
    git("rm", "--cached", "--quiet", "app.py")
    only = [folder / name for name in ("odd.py", "generated.py", "app.pyi", "app.py")]
    selection = changed_files("main", folder, only, exclude=["gen*.py"])
    assert (names(selection), reasons(selection).keys()) == (set(), {"odd.py", "app.pyi"})
    assert selection.excluded == ("generated.py",)
    link(folder / "link.py", write(tmp_path, "canary.py"))
    assert "is a link" in reasons(changed_files("main", folder, [folder / "link.py"]))["link.py"]


def test_a_file_is_called_as_from_the_folder_one_stands_in(branch):
    folder, _ = branch
    write(folder, "app.py")
    (folder / "sub").mkdir()
    [target] = changed_files("HEAD", folder / "sub").targets
    assert (target.name, target.path) == (os.path.join("..", "app.py"), "app.py")  # noqa: PTH118


def test_a_branch_is_compared_from_where_it_began(branch):
    folder, git = branch
    write(folder, "ours.py")
    commit(git)
    git("switch", "main")
    write(folder, "app.py")
    commit(git)
    git("switch", "feature")
    assert names(changed_files("main", folder)) == {"ours.py"}


def test_a_branch_that_began_at_two_commits_is_not_held_against_one_of_them(branch):
    folder, git = branch
    write(folder, "ours.py", "x = 1\n")
    commit(git)
    git("switch", "main")
    write(folder, "app.py", "x = 'mended'\n")
    commit(git)
    git("branch", "mend")
    git("merge", "feature")
    git("switch", "feature")
    git("merge", "--strategy=ours", "mend")
    with pytest.raises(CommandError, match="merge the base into the branch"):
        changed_files("main", folder)
    git("merge", "--strategy=ours", "main")
    [target] = changed_files("main", folder).targets
    assert (target.path, target.text, target.base) == ("app.py", "x = 1\n", "x = 'mended'\n")


@pytest.mark.parametrize(
    "attributes",
    [
        "*.py -diff",
        "*.py binary",
        "* diff=hidden",
        "*.py filter=hidden",
        "*.py linguist-generated export-ignore",
        "*.py working-tree-encoding=UTF-16",
        "*.py text eol=crlf ident",
    ],
)
def test_attributes_of_the_branch_hide_nothing(branch, attributes):
    folder, git = branch
    write(folder, "app.py")
    write(folder, "new.py")
    commit(git)
    write(folder, ".gitattributes", f"{attributes}\n")
    git("add", ".gitattributes")
    git("commit", "--message", "Attributes")
    for name in ("app.py", "new.py"):
        (folder / name).unlink()
    git("checkout", "--", ".")
    selection = changed_files("main", folder)
    assert names(selection) | reasons(selection).keys() == {"app.py", "new.py"}
    assert bool(selection.targets) == ("UTF-16" not in attributes)


CONVERSIONS = {
    # In this encoding the yen sign is the byte that is a backslash elsewhere.
    "working-tree-encoding=ISO646-JP": "x = 'a\u00a5'; print(x) #'\n",
    "ident": "x = '$Id:';print(x)#$'\n",
    "filter=person": "x = 1 ## 2\n",
}


def check_out_again(folder, git, attributes):
    """Commit these attributes, and have git write every file anew, as it would in a clone."""
    write(folder, "attributes", attributes)
    git("add", "attributes")
    git("mv", "attributes", ".gitattributes")
    git("commit", "--message", "Attributes")
    for path in folder.iterdir():
        if path.is_file():
            path.unlink()
    git("checkout", "--", ".")


@pytest.mark.parametrize("attribute", CONVERSIONS)
@pytest.mark.parametrize("on_itself", ["", ".gitattributes working-tree-encoding=UTF-16\n"])
def test_a_file_that_git_converts_on_checkout_is_named(branch, attribute, on_itself):
    folder, git = branch
    git("config", "filter.person.smudge", "sed s/##/or/")
    committed = CONVERSIONS[attribute].encode()
    write(folder, "app.py", committed)
    write(folder, "tool", b"#!/usr/bin/python\n" + committed)
    write(folder, "plain.py", "x = 2\n")
    commit(git)
    check_out_again(folder, git, f"app.py {attribute}\ntool {attribute}\nplain.py ident\n{on_itself}")
    assert (folder / "app.py").read_bytes() != committed
    selection = changed_files("main", folder)
    assert names(selection) == {"plain.py"}
    assert reasons(selection).keys() == {"app.py", "tool"}


@pytest.mark.parametrize(
    "attributes",
    [
        "filter=nobody",
        "filter",
        "-filter",
        "filter=only-on-the-way-in",
        "working-tree-encoding=UTF-8",
        "working-tree-encoding=utf8",
        "ident",
        "-ident",
        "ident filter=nobody working-tree-encoding=utf-8",
    ],
)
@pytest.mark.parametrize("keyword", ["", "# $Id$\nID = '$Id$'\n"])
def test_an_edit_is_reviewed_where_git_converts_nothing_that_is_code(branch, attributes, keyword):
    folder, git = branch
    git("config", "filter.only-on-the-way-in.clean", "cat")
    git("config", "filter.other.smudge", "cat")
    write(folder, "app.py", f"{keyword}x = 2\n")
    commit(git)
    check_out_again(folder, git, f"*.py {attributes}\n")
    on_disk = (folder / "app.py").read_text("utf-8")
    assert (on_disk == f"{keyword}x = 2\n") == (
        not keyword or "-ident" in attributes or "ident" not in attributes
    )
    for edit in ("", "y = 3\n"):
        write(folder, "app.py", on_disk + edit)
        selection = changed_files("main", folder)
        assert [target.text for target in selection.targets] == [on_disk + edit]
        assert not selection.not_reviewed


@pytest.mark.parametrize(
    ("keyword", "conversion"),
    [
        ("$Id:';print(x)#$", "ident"),
        ("$Id: 0123';print(x)#$", "ident"),
        (f"$Id: {'0' * 40}';print(x)#$", "ident"),
        (f"$Id: {'0' * 40} ';print(x)#$", "ident"),
        ("$Id:0123\\$", "ident"),
        ("##", "filter=person"),
        ("##", "filter=process"),
    ],
)
def test_an_edit_is_named_where_git_may_have_converted_code(branch, keyword, conversion):
    folder, git = branch
    git("config", "filter.person.smudge", "cat")
    git("config", "filter.process.process", "no-such-command")
    write(folder, "app.py", f"x = '{keyword}'\n")
    commit(git)
    write(folder, ".gitattributes", f"*.py {conversion}\n")
    git("add", ".gitattributes")
    write(folder, "app.py", "x = 3\n")
    selection = changed_files("main", folder)
    assert "stage it or take the edit back" in reasons(selection)["app.py"]


@pytest.mark.parametrize("tool", ["app.py", "tool"])
def test_what_is_committed_is_reviewed_where_git_makes_of_it_on_disk_what_the_base_has(branch, tool):
    folder, git = branch
    git("switch", "main")
    write(folder, tool, b"#!/usr/bin/python\nx = 'a\\'; print(x) #'\n")
    commit(git)
    git("switch", "feature")
    git("reset", "--hard", "main")
    committed = "#!/usr/bin/python\nx = 'a\u00a5'; print(x) #'\n"
    write(folder, tool, committed)
    commit(git)
    check_out_again(folder, git, f"{tool} working-tree-encoding=ISO646-JP\n")
    assert b"\\" in (folder / tool).read_bytes()
    [target] = changed_files("main", folder).targets
    assert (target.path, target.text) == (tool, committed)


def test_a_script_that_is_none_on_disk_because_git_converts_it_is_reviewed(branch):
    folder, git = branch
    write(folder, "tool", b"#!/usr/bin/python\nx = 2\n")
    commit(git)
    check_out_again(folder, git, "tool working-tree-encoding=UTF-16\n")
    [target] = changed_files("main", folder).targets
    assert (target.path, target.text) == ("tool", "#!/usr/bin/python\nx = 2\n")


def test_files_that_are_others_on_disk_than_in_the_index_do_not_cost_a_process_each(
    branch, monkeypatch, tmp_path
):
    folder, git = branch
    assets = [folder / f"asset {number}.bin" for number in range(50)]
    for pointer in ("before", "after"):
        for path in assets:
            path.write_text(f"{pointer} {path.name}\n", "utf-8")
        commit(git)
    for path in assets:
        path.write_bytes(b"\0" * 9)
    trace = tmp_path / "trace"
    monkeypatch.setenv("GIT_TRACE", str(trace))
    assert not names(changed_files("HEAD~1", folder))
    assert trace.read_text("utf-8").count("trace: built-in") < 25


def test_a_script_in_the_index_is_found_among_blobs_of_any_size(branch):
    folder, git = branch
    contents = {
        "large.bin": b"\0" * (MAX_BYTES + 100),
        "large": b"#!/usr/bin/python\n" + b"#" * MAX_BYTES,
        "largest.py": b"#" * MAX_BYTES,
        "empty": b"",
        "tool": b"#!/usr/bin/python\nx = 1\n",
        "\u00e9.py": b"x = 2\n",
    }
    for name, data in contents.items():
        write(folder, name, data)
    commit(git)
    for name in contents:
        (folder / name).unlink()
    selection = changed_files("main", folder)
    texts = {target.path: target.text.encode() for target in selection.targets}
    assert texts == {name: contents[name] for name in ("largest.py", "tool", "\u00e9.py")}
    assert reasons(selection).keys() == {"large"}


def test_a_file_is_unchanged_only_if_it_is_as_in_the_base_on_disk_and_in_the_index(branch):
    folder, git = branch
    states = {"base": "x = 1\n", "one": "x = 2\n", "other": "x = 3\n", "none": None}
    pairs = list(itertools.product(states, states))
    git("switch", "main")
    for index, disk in pairs:
        write(folder, f"{index}-{disk}.py", states["base"])
    commit(git)
    for place in (0, 1):
        for pair in pairs:
            text, path = states[pair[place]], folder / f"{'-'.join(pair)}.py"
            path.unlink(missing_ok=True) if text is None else write(folder, path.name, text)
        if place == 0:
            git("add", "--all")
    differs = set()
    for where in ((), ("--cached",)):
        command = ["git", "diff", *where, "--name-only", "--diff-filter=d", "HEAD"]
        differs |= set(
            subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.split()
        )
    reviewed = {target.path: target.text for target in changed_files("HEAD", folder).targets}
    assert reviewed.keys() == differs
    for index, disk in pairs:
        if (name := f"{index}-{disk}.py") in reviewed:
            assert reviewed[name] == states[index if disk in ("base", "none") else disk]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("diff.relative", "true"),
        ("diff.orderFile", "nowhere"),
        ("diff.interHunkContext", "99"),
        ("diff.noprefix", "true"),
        ("diff.mnemonicPrefix", "true"),
        ("diff.context", "9"),
        ("diff.suppressBlankEmpty", "true"),
        ("diff.ignoreSubmodules", "all"),
        ("diff.renames", "false"),
        ("color.ui", "always"),
        ("core.quotePath", "false"),
        ("core.autocrlf", "true"),
        ("core.safecrlf", "true"),
        ("core.fileMode", "false"),
        ("diff.external", "COMMAND"),
        ("diff.hidden.textconv", "COMMAND"),
        ("diff.hidden.command", "COMMAND"),
        ("filter.hidden.clean", "COMMAND"),
        ("filter.hidden.smudge", "COMMAND"),
        ("filter.hidden.process", "COMMAND"),
        ("core.fsmonitor", "COMMAND"),
        ("core.pager", "COMMAND"),
    ],
)
def test_settings_of_the_checkout_hide_nothing_and_run_nothing(branch, monkeypatch, tmp_path, name, value):
    folder, git = branch
    write(folder, "sub/b.py", "x = 1\n")
    write(folder, "old.py", "a = 1\nb = 2\nc = 3\n")
    write(folder, ".gitattributes", "*.py diff=hidden filter=hidden\n")
    commit(git)
    (folder / "old.py").unlink()
    write(folder, "new.py", "a = 1\nb = 2\nc = 4\n")
    git("add", "--all")
    write(folder, "app.py", "x = 1\n\ny = 2\n")
    write(folder, "sub/b.py", "x = 2\n")
    canary = tmp_path / "canary"
    setting = f"sh -c 'echo ran > {canary.as_posix()}; cat'" if value == "COMMAND" else value
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    for where in ("--local", "--global"):
        subprocess.run(["git", "config", where, name, setting], cwd=folder, check=True)
    selection = changed_files("HEAD", folder / "sub")
    assert names(selection) == {"app.py", "sub/b.py", "new.py"}
    assert [target.base for target in selection.targets if target.path == "new.py"] == [
        "a = 1\nb = 2\nc = 3\n"
    ]
    assert unchanged_lines("x = 1\n\n", "x = 1\n\ny = 2\n") == {1: 1, 2: 2}
    assert not canary.exists()


def test_what_an_index_says_is_unchanged_is_looked_at(branch):
    folder, git = branch
    for flag in ("--assume-unchanged", "--skip-worktree"):
        git("update-index", flag, "app.py")
        write(folder, "app.py")
        assert names(changed_files("main", folder)) == {"app.py"}


def test_files_that_a_sparse_checkout_leaves_out_are_read_from_the_index(branch):
    folder, git = branch
    write(folder, "deep/bad.py")
    write(folder, "deep/odd.py", b"name = '\xe9'\n")
    write(folder, "deep/big.py", b"#" * (MAX_BYTES + 1))
    commit(git)
    git("sparse-checkout", "set", "--no-cone", "/app.py")
    assert not (folder / "deep").exists()
    selection = changed_files("main", folder)
    assert [target.text for target in selection.targets] == [BUG.decode()]
    assert reasons(selection).keys() == {"deep/odd.py", "deep/big.py"}


@pytest.mark.parametrize(
    "name", ["bad.py", "bad.pyw", "bad.pyi", "BAD.PY", "b/plan b.py", "\u00e9\u4e2d.py", "-p.py", "a,b;c.py"]
)
def test_python_by_suffix(branch, name):
    folder, git = branch
    write(folder, name)
    git("add", "--all")
    assert names(changed_files("main", folder)) == {name}


@on_posix
@pytest.mark.parametrize(
    "name", ["a\nb.py", "a\x1b[2J.py", "::error::x.py", 'q"uote.py', "back\\slash.py", "tab\t.py"]
)
def test_names_that_git_would_quote(branch, name):
    folder, git = branch
    write(folder, name)
    git("add", "--all")
    assert names(changed_files("main", folder)) == {name}


@pytest.mark.skipif(sys.platform != "linux", reason="only here are names any bytes; CI has a Linux runner")
def test_a_name_that_is_not_utf8(branch):
    folder, git = branch
    name = os.fsdecode(b"caf\xe9.py")
    write(folder, name)
    git("add", "--all")
    assert names(changed_files("main", folder)) == {name}


OTHER_SUFFIXES = {"tool-1.2", "job.cgi", "run.sh", "notes.txt"}


@pytest.mark.parametrize(
    ("data", "is_python"),
    [
        (b"#!/usr/bin/env python3\nimport os\n", True),
        (b"#! /opt/python3.12/bin/python -I\nimport os\n", True),
        (b"#!/usr/bin/env -S uv run --script\nimport os\n", True),
        (b"#!/usr/bin/env pypy3\r\nimport os\r\n", True),
        (b"#!python\nimport os\n", True),
        (b"#! C:\\Python\\pythonw.exe -u\r\nimport os\r\n", True),
        (b"#!/usr/bin/env -S -u HOME PYTHONPATH=lib python3.12 -u\nimport os\n", True),
        (b"#!/usr/bin/env -S 'python3' -u\nimport os\n", True),
        (b"#!/usr/bin/env -S uvx --from black python\nimport os\n", True),
        (b"#!/usr/bin/env -S pipx run\nimport os\n", True),
        (b"#!/usr/bin/env -S poetry run python\nimport os\n", True),
        (b"# -*- coding: utf-8 -*-\nimport os\n", True),
        (b"\n# vim: set fileencoding=utf-8 :\nimport os\n", True),
        (b"\r# coding: utf-8\rimport os\r", True),
        (b"\xef\xbb\xbf# coding: utf-8\nimport os\n", True),
        (b"#!/bin/sh\necho python\n", False),
        (b"#!/bin/sh\npython\n", False),
        (b"#!\npython\n", False),
        (b"#!/bin/bash -uv\nset\n", False),
        (b"#!/usr/bin/env -S uvicorn app:app\n", False),
        (b"#!/opt/uv/bin/bash\n", False),
        (b"#!/opt/python3.12/bin/node\n", False),
        (b"#!/opt/uv-tools/sh --pipx\n", False),
        (b"All about python\ncoding: none\n", False),
        (b"", False),
        (b"\x7fELF\x00\x00", False),
    ],
)
def test_python_by_shebang_and_without_a_suffix_by_coding_line(branch, data, is_python):
    folder, git = branch
    for name in ("tool", *OTHER_SUFFIXES):
        write(folder, name, data)
    git("add", "--all")
    found = {"tool"} | (OTHER_SUFFIXES if data.startswith(b"#!") else set())
    assert names(changed_files("main", folder)) == (found if is_python else set())


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("name = '\u00e9'\n".encode("latin-1"), "cannot be decoded"),
        (b"x = 1\n" * 3 + b"name = '\xe9'\n", "is not utf-8 text (see byte 26)"),
        ("import os\n".encode("utf-16"), "cannot be decoded"),
        ("import os\n".encode("utf-16-le"), "does not parse as Python"),
        ("# coding: utf-16\n".encode("utf-16"), "cannot be decoded"),
        (b"# coding: utf-7\nx = 1 #+AAo-import os\n", "can hide code"),
        (b"# coding: unicode_escape\nx = 1 #\\nimport os\n", "can hide code"),
        (b"# coding: raw_unicode_escape\nx = 1 #\\u000aimport os\n", "can hide code"),
        (b"\r# coding: utf-7\rx = 1 #+AAo-import os\r", "can hide code"),
        (b"# coding: rot13\nvzcbeg bf\n", "can"),
        (b"# coding: nothing-known\nx = 1\n", "cannot be decoded"),
        (b"import os\0\n", "does not parse as Python"),
        (b"This is not Python.\n", "does not parse as Python (line 1"),
        (b"<<<<<<< HEAD\nx = 1\n=======\nx = 2\n>>>>>>> feature\n", "does not parse as Python (line 1"),
        (b"(" * 300 + b"1" + b")" * 300, "does not parse as Python"),
        (b"-" * 20_000 + b"1", "does not parse as Python"),
        (b"async def f():\n    x = yield from = 1\n", "does not parse as Python"),
        (b"#" * (20 * 1024 * 1024), "is larger than 1,000,000 bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_read_is_named_and_takes_no_other_file_along(branch, data, reason):
    folder, git = branch
    write(folder, "odd.py", data)
    write(folder, "app.py")
    git("add", "--all")
    selection = changed_files("main", folder)
    assert names(selection) == {"app.py"}
    assert reason in reasons(selection)["odd.py"]
    assert named_files([folder / "odd.py"]).not_reviewed[0].reason == reasons(selection)["odd.py"]


def test_syntax_that_this_python_does_not_know_is_named(branch):
    folder, git = branch
    write(folder, "app.py", "x = 1\n\nlazy import os\n")
    write(folder, "new.py", "match x:\n    case 1 if (y := 2) and template t'{x}': pass\n")
    git("add", "--all")
    assert reasons(changed_files("main", folder)).keys() == {"app.py", "new.py"}


@pytest.mark.parametrize(
    ("encoding", "line", "word"),
    [
        ("latin-1", "# coding: latin-1", "\u00e9"),
        ("cp1252", "# -*- coding: windows-1252 -*-", "\u20ac"),
        ("shift_jis", "# vim: fileencoding=shift_jis", "\u8868"),
        ("utf-8-sig", "", "\u00e9"),
        ("koi8-r", "#!/usr/bin/python\n# coding=koi8-r", "\u0416"),
    ],
)
def test_other_encodings_are_read_as_python_reads_them(branch, encoding, line, word):
    folder, _ = branch
    data = f"{line}\nname = '{word}'\n".encode(encoding)
    write(folder, "app.py", data)
    [target] = changed_files("main", folder).targets
    assert word in target.text
    assert ast.dump(ast.parse(target.text)) == ast.dump(ast.parse(data))


CODING = st.sampled_from(
    [
        "",
        "# coding: latin-1",
        "# coding: utf-8",
        "# coding: utf-7",
        "# coding: unicode_escape",
        "# coding: gbk",
    ]
)
TEXT = st.lists(
    st.sampled_from(
        ["x = 1", "# ", "'", "\\n", "+AAo-", "\u00e9", "\u2028", "\f", "pass", "\\u000a", "'a'", " "]
    ),
    max_size=8,
)


@settings(max_examples=300, deadline=None)
@given(
    coding=CODING,
    parts=TEXT,
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "latin-1"]),
    first=st.sampled_from(["", "\n", "\r"]),
)
def test_the_reviewer_reads_what_python_would_run(coding, parts, end, encoding, first):
    data = (first + coding + end + end.join(parts) + end).encode(encoding, "replace")
    try:
        text = source_text(data)
    except NotReviewable:
        return
    assert ast.dump(ast.parse(text)) == ast.dump(ast.parse(data))


def test_a_script_whose_content_is_the_same_is_no_change(branch):
    folder, git = branch
    git("switch", "main")
    write(folder, "tool", b"#!/usr/bin/python\nx = 1\n")
    write(folder, "big.py", b"#" * (MAX_BYTES + 1))
    commit(git)
    (folder / "app.py").write_bytes(b"x = 1\r\n")
    git("update-index", "--chmod=+x", "app.py")
    (folder / "tool").touch()
    selection = changed_files("HEAD", folder)
    assert (names(selection), reasons(selection)) == (set(), {})


def link(path, target):
    try:
        path.symlink_to(target)
    except OSError:
        pytest.skip("this account may not make links; CI has Linux and macOS runners that may")


def test_a_file_turned_into_a_link_is_named_and_not_followed(branch, tmp_path):
    folder, git = branch
    outside = write(tmp_path, "canary.py", "x = 'canary'\n")
    write(folder, "script", b"#!/usr/bin/python\n")
    write(folder, "job.cgi", b"#!/usr/bin/python\n")
    write(folder, "data.csv", b"1,2\n")
    write(folder, "other.py", "x = 3\n")
    commit(git)
    for name in ("app.py", "script", "job.cgi", "data.csv"):
        (folder / name).unlink()
        link(folder / name, outside)
    link(folder / "fresh.py", "other.py")
    link(folder / "plugin", outside)
    link(folder / "package", outside.parent)
    link(folder / "README", "notes.md")
    link(folder / "latest", ".")
    git("add", "--all")
    selection = changed_files("HEAD", folder)
    assert names(selection) == set()
    assert reasons(selection).keys() == {*("app.py", "script", "job.cgi", "fresh.py", "plugin", "package")}
    assert "is a link" in reasons(selection)["app.py"]
    commit(git)
    assert not changed_files("HEAD", folder).not_reviewed


def test_a_link_turned_into_a_file_is_reviewed_as_new(branch):
    folder, git = branch
    link(folder / "tool.py", "app.py")
    commit(git)
    (folder / "tool.py").unlink()
    write(folder, "tool.py")
    [target] = changed_files("HEAD", folder).targets
    assert (target.path, target.base) == ("tool.py", None)


def test_a_submodule_is_named_whatever_gitmodules_says(branch, tmp_path):
    folder, git = branch
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=True
    )
    write(folder, ".gitmodules", '[submodule "lib"]\n\tpath = lib\n\turl = ./lib\n\tignore = all\n')
    git("add", ".gitmodules")
    git("update-index", "--add", "--cacheinfo", f"160000,{head.stdout.strip()},lib")
    assert "submodule" in reasons(changed_files("main", folder))["lib"]
    git("commit", "--message", "A submodule")
    assert not changed_files("HEAD", folder).not_reviewed


@on_posix
def test_what_is_no_file_and_what_may_not_be_read_is_named(branch):
    folder, git = branch
    write(folder, "closed.py")
    write(folder, "pipe.py")
    git("add", "--all")
    (folder / "pipe.py").unlink()
    os.mkfifo(folder / "pipe.py")
    (folder / "app.py").unlink()
    (folder / "app.py").mkdir()
    (folder / "closed.py").chmod(0)
    named = {"pipe.py", "app.py"} | ({"closed.py"} if os.geteuid() else set())
    assert reasons(changed_files("main", folder)).keys() == named


@pytest.mark.parametrize("old", ["data.txt", "tests/data/sample.py"])
def test_what_was_no_code_under_review_is_new_when_it_becomes_that(branch, old):
    folder, git = branch
    git("switch", "main")
    write(folder, "pyproject.toml", '[tool.memory-review]\nexclude = ["tests/data/*"]\n')
    write(folder, old, BUG * 9)
    commit(git)
    git("mv", old, "live.py")
    [target] = changed_files("HEAD", folder).targets
    assert (target.path, target.base) == ("live.py", None)


def test_exclusions_come_from_a_person_or_from_the_base_never_from_the_branch(branch):
    folder, git = branch
    git("switch", "main")
    write(folder, "pyproject.toml", '[tool.memory-review]\nexclude = ["vendor/*"]\n')
    commit(git)
    git("switch", "feature")
    git("merge", "main")
    write(folder, "pyproject.toml", '[tool.memory-review]\nexclude = ["*"]\n')
    write(folder, "vendor/deep/lib.py", b"\0")
    write(folder, "generated.py")
    write(folder, "app.py")
    commit(git)
    selection = changed_files("main", folder, exclude=["gen*.py"])
    assert names(selection) == {"app.py"}
    assert set(selection.excluded) == {os.path.join("vendor", "deep", "lib.py"), "generated.py"}  # noqa: PTH118
    assert not selection.not_reviewed
    assert named_files([folder / "app.py"], ["*/app.py"]).excluded == (str(folder / "app.py"),)


def test_a_branch_from_before_an_exclusion_was_taken_back_does_not_keep_it(branch):
    folder, git = branch
    git("switch", "main")
    write(folder, "pyproject.toml", '[tool.memory-review]\nexclude = ["*"]\n')
    commit(git)
    git("switch", "--create", "old-branch")
    git("switch", "main")
    write(folder, "pyproject.toml", "[tool.memory-review]\nexclude = []\n")
    commit(git)
    git("switch", "old-branch")
    write(folder, "app.py")
    assert names(changed_files("main", folder)) == {"app.py"}


@pytest.mark.parametrize(
    "text",
    [
        "[tool",
        "[tool]\nmemory-review = 3\n",
        "[tool.memory-review]\nexclude = 'x'\n",
        "[tool.memory-review]\nskip = []\n",
    ],
)
def test_settings_that_cannot_be_read_end_in_one_sentence(branch, text):
    folder, git = branch
    write(folder, "pyproject.toml", text)
    commit(git)
    with pytest.raises(CommandError, match=r"pyproject\.toml of the base"):
        changed_files("HEAD", folder)


def test_a_base_that_cannot_be_read_makes_everything_new(branch):
    folder, git = branch
    write(folder, "app.py", b"\0")
    commit(git)
    write(folder, "app.py")
    assert [target.base for target in changed_files("HEAD", folder).targets] == [None]


@settings(max_examples=25, deadline=None)
@given(before=st.text("abc\n", max_size=12), after=st.text("abc\n", max_size=12))
def test_lines_that_a_change_leaves_alone_are_the_same_and_in_order(before, after):
    kept = unchanged_lines(before, after)
    old, new = before.split("\n"), after.split("\n")
    assert all(old[number - 1] == new[line - 1] for line, number in kept.items())
    assert list(kept.values()) == sorted(set(kept.values()))
    if before == after:
        assert len(kept) == len(after.removesuffix("\n").split("\n"))


def test_a_base_is_never_taken_for_an_option(repository, tmp_path):
    folder, git = repository
    write(folder, "a.py")
    commit(git)
    for base in (f"--output={tmp_path / 'canary'}", "--help", "-p", "", "HEAD:a.py"):
        with pytest.raises(CommandError, match="knows no commit"):
            changed_files(base, folder)
    assert not (tmp_path / "canary").exists()


def test_why_git_cannot_say(repository, tmp_path, monkeypatch):
    folder, git = repository
    with pytest.raises(CommandError, match="knows no commit 'HEAD'"):
        changed_files("HEAD", folder)
    write(folder, "a.py")
    commit(git)
    git("switch", "--orphan", "unrelated")
    write(folder, "b.py")
    commit(git)
    with pytest.raises(CommandError, match="shallow clone"):
        changed_files("main", folder)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandError, match="no git"):
        changed_files("HEAD", folder)


def test_a_folder_outside_of_any_repository(tmp_path):
    done = subprocess.run(["git", "rev-parse"], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode != 0, "the folder for temporary files is in a git repository"
    with pytest.raises(CommandError, match="not in a git repository"):
        changed_files("HEAD", tmp_path)


def test_files_that_a_person_names_are_there_and_are_python(tmp_path):
    write(tmp_path, "notes.md")
    (tmp_path / "folder.py").mkdir()
    for name, words in {
        "missing.py": "no file",
        "notes.md": "not a Python file",
        "folder.py": "not a file",
    }.items():
        with pytest.raises(CommandError, match=words):
            named_files([tmp_path / name])
    tool = write(tmp_path, "tool", b"#!/usr/bin/python\nx = 1\n")
    assert [target.path for target in named_files([tool, tool]).targets] == [tool.as_posix()]


def test_a_branch_that_is_named_like_an_option_is_a_base_too(repository):
    folder, git = repository
    commit(git)
    git("update-ref", "refs/heads/--all", "HEAD")
    write(folder, "a.py")
    commit(git)
    assert names(changed_files("--all", folder)) == {"a.py"}
