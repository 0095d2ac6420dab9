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
from memory_demo.reviewer import review
from memory_demo.offline.__main__ import server_for

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


def saved_turns(folder):
    data = json.loads((folder / "evaluation_results" / "arms.json").read_text(encoding="utf-8"))
    return [turn for part in (*data["lessons"], *data["reviews"]) for turn in part["answer"]["turns"]]


def messages_sent(api):
    return [request for request in api.requests if request.path.startswith("/v1/messages")]


def test_offline_it_prints_the_table_and_saves_json_and_figure(tmp_path):
    done = run(folder=tmp_path, env=environment(MEMORY_COOKBOOK_OFFLINE="1"))
    assert done.returncode == 0, done.stderr
    assert "not Claude" in done.stdout
    saved = tmp_path / "evaluation_results"
    assert len(json.loads((saved / "arms.json").read_text(encoding="utf-8"))["reviews"]) == 24
    assert (saved / "arms.png").read_bytes().startswith(b"\x89PNG")
    assert "27/27" in done.stderr


def test_the_long_review_offline(here, capsys):
    assert main(["long", "--files", "3", "--output", "there"]) == 0
    printed = capsys.readouterr().out
    assert "84%" in printed
    assert "Cheapest: " in printed
    assert len(json.loads((here / "there" / "long.json").read_text(encoding="utf-8"))["files"]) == 3
    assert (here / "there" / "long.png").read_bytes().startswith(b"\x89PNG")


def test_a_live_run_is_refused_without_a_terminal_and_without_yes(tmp_path):
    with served() as (api, env):
        done = run(folder=tmp_path, env=env)
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert "input and" in done.stdout
    assert "$" in done.stdout
    assert messages_sent(api) == []


def test_yes_starts_a_live_run_and_the_report_knows_the_stand_in(tmp_path):
    with served() as (api, env):
        done = run("--yes", folder=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert len(messages_sent(api)) == len(saved_turns(tmp_path))
    assert "not Claude" in done.stdout


@pytest.mark.parametrize(("arguments", "kept"), [((), "arms.json"), (("long", "--files", "20"), "long.json")])
def test_an_api_that_fails_half_way_leaves_what_there_is_and_no_traceback(tmp_path, arguments, kept):
    answered = 0

    def gives_up(prompt):
        nonlocal answered
        answered += 1
        if answered > 30:
            raise RuntimeError("enough")
        return review(prompt)

    with served(gives_up) as (_, env):
        done = run(*arguments, "--yes", folder=tmp_path, env=env)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "INCOMPLETE" in done.stdout
    data = json.loads((tmp_path / "evaluation_results" / kept).read_text(encoding="utf-8"))
    assert data["runs"][0]["stopped"] if arguments else data["stopped"]
    assert data["runs"][0]["records"] if arguments else data["reviews"]


@pytest.mark.skipif(sys.platform == "win32", reason="pexpect needs a pseudo-terminal; CI has Linux")
@pytest.mark.parametrize("answer", ["n", "y"])
def test_at_a_terminal_it_asks_and_the_estimate_is_what_the_stand_in_then_uses(tmp_path, answer):
    pexpect = pytest.importorskip("pexpect")
    with served() as (api, env):
        program, *arguments = command()
        child = pexpect.spawn(program, arguments, cwd=str(tmp_path), env=env, encoding="utf-8", timeout=60)
        child.expect_exact("[y/N]")
        estimate = child.before
        assert messages_sent(api) == []
        child.sendline(answer)
        child.expect(pexpect.EOF)
        child.close()
    if answer == "n":
        assert child.exitstatus == 2
        assert messages_sent(api) == []
    else:
        assert child.exitstatus == 0
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
