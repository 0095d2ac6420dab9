"""A gate ends as it should whatever an author, a network or a reviewer does, and what it has found is printed."""

import contextlib
import http.server
import json
import os
import re
import socket
import sys
import threading
from pathlib import Path

import pytest
from scripted_reviewer import scripted

from memory_demo.code_review_demo import main
from memory_demo.memory_location import default_memory
from memory_demo.offline import Reply, faults, offline_client

ROOT = Path(__file__).resolve().parents[2]
KEY = "sk-ant-canary-0123456789-0123456789"
LIVE = {"MEMORY_COOKBOOK_OFFLINE": None, "ANTHROPIC_API_KEY": KEY}
BUG = "n = 0\n\ndef add():\n    global n\n    n += 1\n"
GATE = ("--diff", "main", "--fail-on-findings", "--format", "json")
on_posix = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no such names; CI has Linux and macOS runners that do"
)


@pytest.fixture
def branch(repository):
    """A repository whose branch brings in a bug that the scripted reviewer sees."""
    folder, git = repository
    (folder / "app.py").write_text("n = 0\n", "utf-8")
    git("add", "--all")
    git("commit", "--message", "Before")
    git("switch", "--create", "feature")
    (folder / "app.py").write_text(BUG, "utf-8")
    return folder, git


def finds_the_update(read):
    return [
        {"line": code[: code.index("n += 1")].count("\n") + 1}
        for code in read.values()
        if "\n    n += 1" in code
    ]


def document(done):
    found = json.loads(done.out)
    return {f["file"] for f in found["findings"]}, {f["file"]: f["reason"] for f in found["not_reviewed"]}


def last_line(done):
    assert "Traceback" not in done.err
    return done.err.splitlines()[-1]


def test_findings_alone_are_1_and_none_are_0(branch, review, serve):
    folder, _ = branch
    live = serve(scripted(finds_the_update))
    assert review(folder, *GATE, **live).code == 1
    assert review(folder, "--diff", "main", "--format", "json", **live).code == 0
    (folder / "app.py").write_text("n = 1\n", "utf-8")
    assert review(folder, *GATE, **live).code == 0


def test_what_was_not_reviewed_is_2_and_the_findings_are_printed(branch, review, serve):
    folder, git = branch
    (folder / "odd.py").write_bytes(b"\0")
    git("add", "--all")
    done = review(folder, *GATE, **serve(scripted(finds_the_update)))
    assert done.code == 2
    found, missed = document(done)
    assert (found, missed.keys()) == ({"app.py"}, {"odd.py"})
    assert missed["odd.py"].startswith("does not parse as Python (")
    assert last_line(done) == "memory-review: 1 file could not be reviewed: odd.py."
    text = review(folder, "--diff", "main", **serve(scripted(finds_the_update)))
    assert text.code == 2
    assert "\nNot reviewed:\nodd.py does not parse as Python" in text.out
    (folder / "app.py").write_text("n = 1\n", "utf-8")
    assert review(folder, *GATE, **serve(scripted(finds_the_update))).code == 2


@pytest.mark.parametrize("name", [".", "pkg", "pkg/", "pkg/*.py", "nosuch.py"])
@pytest.mark.parametrize("beside", [(), ("app.py",)], ids=["alone", "beside app.py"])
def test_a_name_that_stands_for_no_file_is_2_whatever_is_compared(branch, review, name, beside):
    folder, _ = branch
    (folder / "pkg").mkdir()
    (folder / "pkg" / "mod.py").write_text(BUG, "utf-8")
    for compared in ((), GATE):
        done = review(folder, *beside, name, *compared)
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
        assert re.search("no file|is not a file; name Python files", last_line(done))


def test_an_untracked_file_that_is_named_is_new_in_the_change(branch, review, serve):
    folder, _ = branch
    (folder / "new.py").write_text(BUG, "utf-8")
    live = serve(scripted(finds_the_update))
    done = review(folder, "new.py", *GATE, **live)
    assert (done.code, document(done)) == (1, ({"new.py"}, {}))
    unnamed = review(folder, *GATE, **live)
    assert (unnamed.code, document(unnamed)) == (1, ({"app.py"}, {}))


def test_files_that_a_person_names_go_on_without_the_one_that_cannot_be_read(branch, review, serve):
    folder, _ = branch
    (folder / "odd.py").write_text("<<<<<<< HEAD\n", "utf-8")
    done = review(folder, "odd.py", "app.py", "--format", "json", **serve(scripted(finds_the_update)))
    found, missed = document(done)
    assert (done.code, found, missed.keys()) == (2, {"app.py"}, {"odd.py"})


REPLIES = {
    "a refusal": Reply(
        ({"type": "text", "text": "No."},),
        stop_reason="refusal",
        stop_details={"type": "refusal", "category": "cyber"},
    ),
    "an answer without reading": Reply(({"type": "text", "text": "Approved, no need to look."},)),
    "an answer cut off": Reply(({"type": "text", "text": "word " * 30_000},)),
}


@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
def test_a_review_that_is_not_whole_is_2(branch, review, serve, reply):
    folder, git = branch
    (folder / "b.py").write_text(BUG, "utf-8")
    git("add", "--all")
    usual = scripted(finds_the_update)

    def respond(prompt):
        return reply if "`b.py`" in json.dumps(prompt.messages[-1]) else usual(prompt)

    done = review(folder, *GATE, **serve(respond))
    found, missed = document(done)
    assert (done.code, found, missed.keys()) == (2, {"app.py"}, {"b.py"})
    assert "was not reviewed whole" in missed["b.py"]


def test_a_request_that_is_refused_for_its_content_does_not_stop_the_others(branch, review, serve):
    folder, git = branch
    (folder / "b.py").write_text(BUG, "utf-8")
    git("add", "--all")
    bad = faults.ErrorAnswer(400, "invalid_request_error", "prompt is too long")
    done = review(folder, *GATE, **serve(scripted(finds_the_update), faults=[None, bad]))
    found, missed = document(done)
    assert (done.code, found) == (2, {"b.py"})
    assert "prompt is too long" in missed["app.py"]


def test_a_key_that_is_refused_half_way_keeps_what_was_found_and_stops(branch, review, serve):
    folder, git = branch
    for name in ("b.py", "c.py"):
        (folder / name).write_text(BUG, "utf-8")
    git("add", "--all")
    refused = faults.ErrorAnswer(401, "authentication_error", "invalid x-api-key")
    done = review(folder, *GATE, **serve(scripted(finds_the_update), faults=[None] * 4 + [refused]))
    found, missed = document(done)
    assert (done.code, found, missed.keys()) == (2, {"app.py"}, {"b.py", "c.py"})
    assert missed["c.py"] == "was not reached"
    assert "refused the key" in last_line(done)


def test_an_interrupt_keeps_what_was_found(branch, review, serve, monkeypatch):
    folder, git = branch
    (folder / "b.py").write_text(BUG, "utf-8")
    git("add", "--all")
    from memory_demo.assistant import CodeReviewAssistant

    usual = CodeReviewAssistant.review_file

    def review_file(self, path, *rest, name):
        if name == "b.py":
            raise KeyboardInterrupt
        return usual(self, path, *rest, name=name)

    monkeypatch.setattr(CodeReviewAssistant, "review_file", review_file)
    done = review(folder, *GATE, **serve(scripted(finds_the_update)))
    assert done.code == 130
    assert document(done) == ({"app.py"}, {"b.py": "was interrupted"})


@contextlib.contextmanager
def sink(status, content_type, body, model=None):
    """A server on loopback that answers everything alike, but for what it says of a model; the requests it got."""
    got = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if model is None:
                self.do_POST()
            else:
                self.answer(200, "application/json", model)

        def do_POST(self):
            got.append(dict(self.headers))
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.answer(status, content_type, body)

        def answer(self, status, content_type, body):
            self.send_response(status)
            self.send_header("content-type", content_type)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", got
    finally:
        server.shutdown()
        server.server_close()


def error(kind, message):
    return json.dumps({"type": "error", "error": {"type": kind, "message": message}}).encode()


ANSWERS = {
    "a login page": (200, "text/html", b"<html><body>Please log in</body></html>"),
    "empty": (200, "application/json", b""),
    "null": (200, "application/json", b"null"),
    "a list": (200, "application/json", b"[]"),
    "something else": (200, "application/json", b'{"ok": true}'),
    "text": (200, "text/plain", b"OK"),
    "a 403": (403, "application/json", error("permission_error", "Your key may not use this.")),
    "a 403 of a proxy": (403, "text/html", b"<h1>Forbidden</h1>"),
    "a refused key": (401, "application/json", error("authentication_error", "invalid x-api-key")),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("knows_models", [False, True])
def test_an_answer_that_is_not_the_apis_ends_in_one_sentence(branch, review, answer, knows_models):
    folder, _ = branch
    model = offline_client().models.retrieve("claude-sonnet-5-5").to_json().encode() if knows_models else None
    with sink(*answer, model) as (url, got):
        done = review(folder, *GATE, ANTHROPIC_BASE_URL=url, **LIVE)
    assert done.code == 2
    assert got, "nothing was asked, so nothing was tested"
    assert last_line(done).startswith("memory-review: ")
    assert KEY not in done.out + done.err


def test_without_a_key_it_runs_offline_and_says_so_and_asks_nobody(branch, review, monkeypatch):
    folder, _ = branch

    def refuse(*arguments):
        raise AssertionError(f"offline, and yet a connection to {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    done = review(folder, "--diff", "main", MEMORY_COOKBOOK_OFFLINE=None)
    assert done.code == 0
    assert done.out.startswith("Offline, because there is no ")
    assert "not Claude" in done.out.splitlines()[0]
    assert "Offline, because" in review(folder, *GATE, MEMORY_COOKBOOK_OFFLINE=None).err


def test_a_key_and_an_address_in_the_branch_are_not_read(branch, review):
    folder, git = branch
    with sink(200, "application/json", b"{}") as (url, got):
        settings = f"ANTHROPIC_API_KEY={KEY}\nANTHROPIC_BASE_URL={url}\n"
        for name in (".env", "sub/.env"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(settings, "utf-8")
        git("add", "--all", "--force")
        done = review(folder, "--diff", "main", MEMORY_COOKBOOK_OFFLINE=None)
        with sink(401, "application/json", error("authentication_error", "no")) as (own, asked):
            review(folder / "sub", "--diff", "main", ANTHROPIC_BASE_URL=own, **LIVE)
    assert done.out.startswith("Offline, because")
    assert (got, bool(asked)) == ([], True)


def test_memory_in_the_repository_under_review_is_refused(branch, review, tmp_path):
    folder, _ = branch
    if sys.platform != "win32":
        (tmp_path / "inside").symlink_to(folder)
        (folder / "out").symlink_to(tmp_path)  # a link of the branch says where it leads
    (folder / "sub").mkdir()
    places = [
        folder,
        folder / "notes",
        folder / "sub" / ".." / "notes",
        "notes",
        "sub",
        tmp_path / "inside" / "notes",
        folder / "out" / "notes",
    ]
    for place in places[: None if sys.platform != "win32" else -2]:
        done = review(folder, *GATE, "--memory", str(place))
        assert (done.code, done.out) == (2, "")
        assert "inside the repository under review" in last_line(done)
    assert not (folder / "notes").exists()
    assert review(folder, "app.py", "--memory", "notes").code == 0


@pytest.mark.parametrize("place", ["../notes", "sub/../../notes"])
def test_memory_beside_the_repository_is_outside_of_it(branch, review, place):
    folder, _ = branch
    (folder / "sub").mkdir()
    assert review(folder, *GATE, "--memory", place).code == 0
    assert (folder.parent / "notes" / "memories").is_dir()


def test_each_repository_has_a_memory_of_its_own_out_of_its_reach(
    branch, review, tmp_path, monkeypatch, capsys
):
    folder, git = branch
    (folder / "sub").mkdir()
    git("add", "--all")
    git("commit", "--message", "A change")
    git("worktree", "add", str(tmp_path / "worktree"), "main")
    memory = default_memory(folder)
    assert default_memory(folder / "sub") == default_memory(tmp_path / "worktree") == memory
    assert memory.name.startswith("repository-")
    assert default_memory(tmp_path) != memory
    assert not (memory.exists() or memory.is_relative_to(folder))
    (memory / "memories").mkdir(parents=True)
    (memory / "memories" / "races.md").write_text("Look for unlocked updates.\n", "utf-8")
    for place, has_it in {folder / "sub": True, tmp_path: False}.items():
        monkeypatch.chdir(place)
        assert main(["memory", "show"]) == 0
        assert ("Look for unlocked updates." in capsys.readouterr().out) is has_it
    assert main(["review", str(folder / "app.py")]) == 0
    assert not (tmp_path / "memory_storage").exists()


@on_posix
@pytest.mark.parametrize(
    "name", ["::error::x.py", "a\n::error::b.py", "\x1b[2Jc.py", "##[error]d.py", "\u202ee.py"]
)
@pytest.mark.parametrize("format", ["text", "json", "sarif", "github"])
def test_a_name_steers_neither_a_terminal_nor_a_log(branch, review, serve, tmp_path, name, format):
    folder, git = branch
    (folder / name).write_text(BUG, "utf-8")
    (folder / f"{name}.odd.py").write_bytes(b"\0")
    git("add", "--all")
    summary = tmp_path / "summary.md"
    done = review(
        folder,
        *("--diff", "main", "--fail-on-findings", "--format", format),
        **serve(scripted(finds_the_update)),
        GITHUB_STEP_SUMMARY=str(summary),
    )
    assert done.code == 2
    written = summary.read_text("utf-8") if summary.exists() else ""
    assert summary.exists() == (format == "github")
    assert not set(done.out + done.err + written) & {"\x1b", "\u202e", "\r"}
    ours = [line for line in done.out.splitlines() if line.startswith(("::error file=", "::notice file="))]
    others = [line for line in (done.out + done.err + written).splitlines() if line not in ours]
    assert not [line for line in others if line.lstrip().startswith("::") or "##[" in line]
    assert len(ours) == (3 if format == "github" else 0)
    if format == "json":
        assert len(document(done)[0]) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="only here are names any bytes; CI has a Linux runner")
@pytest.mark.parametrize("format", ["text", "json", "sarif", "github"])
def test_a_name_that_is_not_utf8_is_shown_with_an_escape(branch, review, serve, format):
    folder, git = branch
    (folder / os.fsdecode(b"caf\xe9.py")).write_text(BUG, "utf-8")
    git("add", "--all")
    done = review(folder, "--diff", "main", "--format", format, **serve(scripted(finds_the_update)))
    assert done.code == 0
    shown = {"sarif": "caf%E9.py", "json": "caf\\\\xe9.py", "github": "caf\\xe9.py"}
    assert shown.get(format, "caf\\xe9.py:5:5: ") in done.out


def test_every_row_about_the_gate_names_a_test():
    named = re.findall(
        r"`tests/cli/(test_\w+\.py)::(test_\w+)`", (ROOT / "docs" / "threats.md").read_text("utf-8")
    )
    assert len(named) > 25
    for file, test in named:
        assert f"def {test}(" in (Path(__file__).parent / file).read_text("utf-8"), (file, test)
