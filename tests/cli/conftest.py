"""The command line as a person runs it: a process of its own, in a folder of its own, without anybody's key."""

import atexit
import os
import shutil
import subprocess
import tempfile
import threading
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from forked_script import run_forked

from memory_demo.code_review_demo import main
from memory_demo.offline import OfflineAPI

# Where the memory of a user's repositories goes in these tests.
USER_DATA = Path(tempfile.mkdtemp(prefix="memory-review-tests-"))
atexit.register(shutil.rmtree, USER_DATA, ignore_errors=True)


def _environment(**changes):
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("ANTHROPIC_", "MEMORY_", "GIT_"))
    }
    settled = {"MEMORY_COOKBOOK_OFFLINE": "1", "GIT_CONFIG_GLOBAL": os.devnull, "PYTHONIOENCODING": "utf-8"}
    settled |= dict.fromkeys(("XDG_DATA_HOME", "WIN_PD_OVERRIDE_LOCAL_APPDATA"), str(USER_DATA))
    return {key: value for key, value in {**kept, **settled, **changes}.items() if value is not None}


@pytest.fixture
def environment():
    """This environment without anybody's settings, offline unless what is changed in it says otherwise."""
    return _environment


@pytest.fixture
def run(tmp_path):
    """Run the script with these arguments and pipes; the result has `returncode`, `stdout` and `stderr`.

    Its memory is `memory_storage` in the test's folder unless --memory says otherwise.
    """

    def run(*arguments, cwd=tmp_path, stdin="", **changes):
        memory = () if "--memory" in arguments else ("--memory", tmp_path / "memory_storage")
        streams = Path(tempfile.mkdtemp(dir=USER_DATA))
        done = run_forked(
            [*map(str, memory), *map(str, arguments)], cwd, _environment(**changes), stdin, streams
        )
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture
def serve():
    """Serve a stand-in on loopback; gives the settings that send the command line to it."""
    servers = []

    def serve(responder, faults=()):
        api = OfflineAPI(responder, faults=faults)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                answer = api.handle(self.command, self.path, self.headers, body)
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            do_POST = do_GET

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        return {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "loopback", "MEMORY_COOKBOOK_OFFLINE": None}

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def repository(tmp_path):
    """An empty git repository, and a function that runs git in it."""
    folder = tmp_path / "repository"
    folder.mkdir()

    def git(*arguments):
        identity = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.com")
        subprocess.run(
            ["git", *identity, *arguments], cwd=folder, env=_environment(), check=True, capture_output=True
        )

    git("init", "--initial-branch=main")
    return folder, git


Done = namedtuple("Done", "code out err")


@pytest.fixture
def review(monkeypatch, capsys, tmp_path):
    """Run `review` in this process, in a folder; the memory is beside it unless --memory says otherwise."""
    for name in os.environ.keys() - _environment().keys():
        monkeypatch.delenv(name)
    for name, value in _environment().items():
        monkeypatch.setenv(name, value)

    def review(folder, *arguments, **changes):
        monkeypatch.chdir(folder)
        memory = () if "--memory" in arguments else ("--memory", str(tmp_path / "notes"))
        capsys.readouterr()
        with monkeypatch.context() as environment:
            for name, value in changes.items():
                environment.delenv(name) if value is None else environment.setenv(name, value)
            code = main(["review", *memory, *arguments])
        return Done(code, *capsys.readouterr())

    return review
