"""A repository names commands in its settings, for git to run. In a review none of them runs; git itself shows that it would."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from memory_demo.command_error import CommandError
from memory_demo.memory_location import default_memory
from memory_demo.review_targets import changed_files


@pytest.fixture(autouse=True)
def _no_settings_of_git(monkeypatch, environment):
    for name in os.environ.keys() - environment().keys():
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    # Where a person has a program that asks for passwords, git would run that one and not the repository's.
    monkeypatch.delenv("SSH_ASKPASS", raising=False)


@pytest.fixture
def canary(tmp_path):
    """A file that is there once `command`, beside it, has run."""
    canary = tmp_path / "canary"
    command = tmp_path / "command"
    command.write_text(f"#!/bin/sh\necho ran > {canary.as_posix()}\nexit 1\n", "utf-8")
    command.chmod(0o755)
    return canary


@pytest.fixture
def stranger(repository, canary):
    """A repository with two commits that lacks an object, and the settings of a partial clone that fetches it."""
    folder, git = repository
    (folder / "lib").mkdir()
    for name, text in {
        "app.py": "x = 1\n",
        "old.py": "a = 1\nb = 2\nc = 3\n",
        "lib/deep.py": "x = 1\n",
    }.items():
        (folder / name).write_text(text, "utf-8")
    git("add", "--all")
    git("commit", "--message", "One")
    git("mv", "old.py", "new.py")
    (folder / "new.py").write_text("a = 1\nb = 2\nc = 4\n", "utf-8")
    (folder / "app.py").write_text("x = 2\n", "utf-8")
    git("commit", "--all", "--message", "Two")
    git("commit", "--allow-empty", "--message", "Three")
    command = canary.with_name("command").as_posix()

    def stranger(lacking, url=".", *names):
        git("config", "core.repositoryFormatVersion", "1")
        git("config", "extensions.partialClone", "origin")
        git("config", "remote.origin.promisor", "true")
        git("config", "remote.origin.url", url.replace("COMMAND", command))
        for name in names or ("remote.origin.uploadpack",):
            git("config", *(name.split("=") if "=" in name else (name, command)))
        id = answer(folder, "rev-parse", lacking).strip()
        (folder / ".git" / "objects" / id[:2] / id[2:]).unlink()
        return folder, id

    return stranger


def answer(folder, *arguments):
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False).stdout


def git_runs_the_command(folder, id, canary):
    answer(folder, "cat-file", "-t", id)
    ran = canary.exists()
    canary.unlink(missing_ok=True)
    return ran


PASSWORD = ("http.sslCert=none", "http.sslCertPasswordProtected=true")


@pytest.mark.parametrize(
    ("url", "names"),
    [
        (".", ("remote.origin.uploadpack",)),
        ("ssh://127.0.0.1/x", ("core.sshCommand", "ssh.variant=ssh")),
        ("git://127.0.0.1/x", ("core.gitProxy",)),
        ("ext::COMMAND", ("protocol.ext.allow=always",)),
        ("https://127.0.0.1:1/x", ("credential.helper", *PASSWORD)),
        ("https://127.0.0.1:1/x", ("core.askPass", *PASSWORD)),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_no_command_fetches_what_a_partial_clone_lacks(stranger, canary, url, names):
    folder, id = stranger("HEAD~2:app.py", url, *names)
    assert git_runs_the_command(folder, id, canary)
    with pytest.raises(CommandError, match="lacks objects"):
        changed_files("HEAD~2", folder)
    assert not canary.exists()


@pytest.mark.parametrize(
    "lacking", ["HEAD~2:old.py", "HEAD~2:lib", "HEAD~2^{tree}", "HEAD~2", "HEAD~1", "HEAD:app.py"]
)
def test_nothing_is_fetched_whatever_a_partial_clone_lacks(stranger, canary, lacking):
    folder, id = stranger(lacking)
    (folder / "app.py").unlink()  # so that the index is read
    assert git_runs_the_command(folder, id, canary)
    with pytest.raises(CommandError, match="lacks objects"):
        changed_files("HEAD~2", folder)
    assert not canary.exists()


@pytest.fixture
def clone(tmp_path, environment):
    """Commit ordinary files of these names to a repository, and clone it as anybody would."""

    def clone(files):
        author = tmp_path / "author"
        subprocess.run(["git", "init", "--quiet", author], env=environment(), check=True)
        for name, data in files.items():
            (author / name).parent.mkdir(parents=True, exist_ok=True)
            (author / name).write_bytes(data)
        identity = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.com")
        for arguments in (("add", "--all", "--force"), ("commit", "--quiet", "--message", "Files")):
            subprocess.run(["git", *identity, *arguments], cwd=author, env=environment(), check=True)
        target = tmp_path / "clone"
        subprocess.run(["git", "clone", "--quiet", author, target], env=environment(), check=True)
        return target

    return clone


@pytest.mark.skipif(
    sys.platform != "win32", reason="only Windows looks for programs in the folder; CI has a Windows runner"
)
def test_git_is_no_program_of_the_branch(repository, monkeypatch):
    folder, git = repository
    git("commit", "--allow-empty", "--message", "A change")
    (folder / "app.py").write_text("x = 1\n", "utf-8")
    git("add", "app.py")
    shutil.copy(Path(os.environ["SYSTEMROOT"], "System32", "where.exe"), folder / "git.exe")
    monkeypatch.chdir(folder)
    assert [target.path for target in changed_files("HEAD", folder).targets] == ["app.py"]


@pytest.mark.parametrize("below", ["src", "src/deep"])
@pytest.mark.parametrize("worktree", [".", "..", "deep"])
def test_a_folder_of_a_branch_is_no_repository_with_settings_of_its_own(
    stranger, canary, clone, below, worktree
):
    folder, id = stranger("HEAD~2:app.py")
    subprocess.run(["git", "config", "core.worktree", worktree], cwd=folder, check=True)
    shutil.rmtree(folder / ".git" / "hooks")
    kept = [path for path in (folder / ".git").rglob("*") if path.is_file()]
    files = {f"src/{path.relative_to(folder / '.git')}": path.read_bytes() for path in kept}
    inside = clone({**files, "src/deep/app.py": b"x = 1\n"}) / below
    assert git_runs_the_command(inside, id, canary)
    with pytest.raises(CommandError, match="bare repository"):
        changed_files("HEAD~2", inside)
    assert not canary.exists()


def test_a_folder_of_a_branch_does_not_hide_the_change_as_a_repository_that_has_none(repository, clone):
    folder, git = repository
    git("commit", "--allow-empty", "--message", "A change")
    git("config", "core.worktree", ".")
    kept = {path for path in (folder / ".git").rglob("*") if path.is_file()}
    inside = clone({f"src/{path.relative_to(folder / '.git')}": path.read_bytes() for path in kept}) / "src"
    assert Path(answer(inside, "rev-parse", "--show-toplevel").strip()).samefile(inside)
    with pytest.raises(CommandError, match="bare repository"):
        changed_files("main", inside)


def test_a_work_tree_in_a_bare_repository_of_ones_own_is_reviewed(repository, tmp_path, environment):
    _, git = repository
    git("commit", "--allow-empty", "--message", "A change")
    git("clone", "--quiet", "--bare", ".", tmp_path / "bare.git")
    inside = tmp_path / "bare.git" / "work"
    git("--git-dir", tmp_path / "bare.git", "worktree", "add", "--quiet", "-b", "feature", inside)
    (inside / "app.py").write_text("x = 1\n", "utf-8")
    subprocess.run(["git", "add", "app.py"], cwd=inside, env=environment(), check=True)
    assert [target.path for target in changed_files("main", inside).targets] == ["app.py"]


def test_a_folder_of_a_branch_does_not_choose_another_repository_and_its_memory(repository, clone):
    other, git = repository
    git("commit", "--allow-empty", "--message", "A change")
    inside = (
        clone({"src/HEAD": b"ref: refs/heads/main\n", "src/commondir": b"../../repository/.git\n"}) / "src"
    )
    assert (inside / answer(inside, "rev-parse", "--git-common-dir").strip()).samefile(other / ".git")
    assert default_memory(inside) != default_memory(other)
    with pytest.raises(CommandError):
        changed_files("main", inside)
