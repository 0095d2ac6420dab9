"""The command line as a person runs it: offline, and against an API at the other end of a socket."""

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from memory_demo.evaluation.__main__ import main
from memory_demo.offline import OfflineAPI
from memory_demo.offline.__main__ import server_for
from memory_demo.reviewer import review

ROOT = Path(__file__).parents[2]


def command(*arguments):
    return [sys.executable, "-m", "memory_demo.evaluation", *arguments]


def environment(**changes):
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("ANTHROPIC", "MEMORY_COOKBOOK"))
    }
    return {**kept, "PYTHONPATH": str(ROOT), "MEMORY_COOKBOOK_OFFLINE": "0", **changes}


def run(*arguments, folder, env):
    return subprocess.run(
        command(*arguments),
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=90,
        check=False,
    )


@contextmanager
def served(responder=review):
    """An API on a loopback port, and the environment of a program that is to use it with a key."""
    api = OfflineAPI(responder)
    server = server_for(api)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield api, environment(ANTHROPIC_BASE_URL=f"http://127.0.0.1:{port}", ANTHROPIC_API_KEY="test")
    finally:
        server.should_exit = server.force_exit = True
        thread.join(20)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder to run in, offline."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEMORY_COOKBOOK_OFFLINE", "1")
    return tmp_path


# The live tests take the shorter experiment; all parts start the same way.
SHORT = ("long", "--files", "1")


def saved_turns(folder):
    runs = json.loads((folder / "evaluation_results" / "long.json").read_text(encoding="utf-8"))["runs"]
    return [turn for run in runs for part in (run["lesson"], *run["records"]) for turn in part["turns"]]


def messages_sent(api):
    return [request for request in api.requests if request.path.startswith("/v1/messages")]


def test_the_long_review_offline(here, capsys):
    assert main(["long", "--files", "3", "--output", "there"]) == 0
    printed = capsys.readouterr().out
    assert "84%" in printed
    assert "Clearing never fired" in printed and "heapest" not in printed
    assert len(json.loads((here / "there" / "long.json").read_text(encoding="utf-8"))["files"]) == 3
    assert (here / "there" / "long.png").read_bytes().startswith(b"\x89PNG")


def test_a_live_run_is_refused_without_a_terminal_and_without_yes(tmp_path):
    with served() as (api, env):
        done = run(*SHORT, folder=tmp_path, env=env)
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert "input and" in done.stdout
    assert "$" in done.stdout
    assert messages_sent(api) == []


def test_an_api_that_fails_half_way_leaves_what_there_is_and_no_traceback(tmp_path):
    answered = 0

    def gives_up(prompt):
        nonlocal answered
        answered += 1
        if answered > 25:
            raise RuntimeError("enough")
        return review(prompt)

    with served(gives_up) as (_, env):
        done = run("--yes", folder=tmp_path, env=env)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "INCOMPLETE" in done.stdout
    data = json.loads((tmp_path / "evaluation_results" / "ablation.json").read_text(encoding="utf-8"))
    assert data["stopped"] and data["trials"]


def test_a_live_run_that_is_declined_does_not_start(here, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr("sys.stdin", type("Terminal", (), {"isatty": lambda self: True})())
    monkeypatch.setattr("builtins.input", lambda question: asked.append(question) or "n")
    with served() as (api, env):
        for name in ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY", "MEMORY_COOKBOOK_OFFLINE"):
            monkeypatch.setenv(name, env[name])
        assert main([*SHORT]) == 2
    assert asked == ["Run it? [y/N] "] and "input and" in capsys.readouterr().out
    assert messages_sent(api) == []


@pytest.mark.skipif(sys.platform == "win32", reason="pexpect needs a pseudo-terminal; CI has Linux")
def test_at_a_terminal_it_asks_and_the_estimate_is_what_the_stand_in_then_uses(tmp_path):
    pexpect = pytest.importorskip("pexpect")
    with served() as (api, env):
        program, *arguments = command(*SHORT)
        child = pexpect.spawn(program, arguments, cwd=str(tmp_path), env=env, encoding="utf-8", timeout=60)
        child.expect_exact("[y/N]")
        estimate = child.before
        assert messages_sent(api) == []
        child.sendline("y")
        child.expect(pexpect.EOF)
        report = child.before
        child.close()
    assert child.exitstatus == 0
    assert "not Claude" in report
    turns = saved_turns(tmp_path)
    assert len(messages_sent(api)) == len(turns)
    assert f"{sum(turn['input_tokens'] for turn in turns):,} input" in estimate
    assert f"{sum(turn['output_tokens'] for turn in turns):,} output" in estimate


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--repeat", "0"], "above 0"),
        (["long", "--files", "many"], "above 0"),
        (["long", "--repeat", "2"], "--repeat"),
        (["poisoning", "--repeat", "2"], "--repeat"),
        (["short"], "invalid choice"),
    ],
)
def test_arguments_that_cannot_work_are_refused(here, capsys, arguments, says):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def test_an_output_that_is_a_file_is_refused(here, capsys):
    (here / "taken").write_text("mine", encoding="utf-8")
    assert main(["--output", "taken"]) == 2
    assert "--output" in capsys.readouterr().err
    assert (here / "taken").read_text(encoding="utf-8") == "mine"


def test_a_model_that_does_not_exist_is_refused_in_one_sentence(here, capsys, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_MODEL", "claude-nine")
    assert main([]) == 2
    assert "claude-nine" in capsys.readouterr().err
