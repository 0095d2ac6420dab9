"""The command line as a person or a build runs it: processes, pipes, a terminal, Ctrl-C, a server that misbehaves."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
from pathlib import Path

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_demo.code_review_demo import SAMPLE_CODE
from memory_demo.offline import faults
from memory_demo.review_report import printable
from memory_demo.reviewer import review

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "memory_demo" / "code_review_demo.py"
SYMPTOM = "There are fewer results than expected, and the count differs between runs."
STAND_IN = "rule-based stand-in, not Claude"

on_posix = pytest.mark.skipif(
    sys.platform == "win32",
    reason="needs a pseudo-terminal, SIGINT or SIGPIPE; CI runs it on Linux and macOS",
)


@pytest.fixture
def app(tmp_path):
    """Somebody's own file with a race in it."""
    return Path(shutil.copy(SAMPLE_CODE / "data_processor_v1.py", tmp_path / "app.py"))


def one_sentence(done, begins=""):
    """The only line on stderr that is no progress, as long as it is one."""
    *_, line = done.stderr.splitlines()
    assert begins or done.stderr.count("\n") == 1
    assert line.startswith(f"memory-review: {begins}")
    assert line.endswith((".", "?"))
    return line


def test_help_names_commands_options_and_exit_codes_without_loading_the_sdk(environment):
    command = [sys.executable, "-X", "importtime", SCRIPT, "--help"]
    done = subprocess.run(command, env=environment(), capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0
    for word in (
        "review",
        "memory",
        "--memory",
        "--model",
        "--offline",
        "--session",
        "--no-pause",
        "exit codes",
    ):
        assert word in done.stdout
    assert "memory_demo.review_report" in done.stderr
    assert "anthropic" not in done.stderr


def test_three_sessions_without_a_pause_where_stdin_is_a_pipe(run, tmp_path):
    done = run("--memory", "notes", MEMORY_COOKBOOK_OFFLINE=None)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Press Enter" not in done.stdout
    head, learn, apply, long = done.stdout.split("\nSession ")
    assert STAND_IN in head and "ANTHROPIC_API_KEY" in head
    assert "web_scraper_v1.py, lines 106-108" in learn and "It wrote to memory:" in learn
    assert (
        "api_client_v1.py, line 63" in apply and "because /memories/race_conditions.md describes it" in apply
    )
    assert "context editing cleared nothing" in learn
    assert "context editing kept" in long and "sql_query_builder.py" in long
    for session in (learn, apply, long):
        assert "/memories/\n    race_conditions.md  " in session
        assert " input tokens, " in session
    shown = run("--memory", "notes", "memory", "show")
    assert shown.stdout.startswith("/memories/race_conditions.md\n\n    # Race conditions\n")
    assert (tmp_path / "notes" / "memories" / "race_conditions.md").is_file()


def test_one_session_as_a_module_finds_nothing_with_an_empty_memory(environment, tmp_path):
    command = [
        sys.executable,
        "-m",
        "memory_demo.code_review_demo",
        "--session",
        "2",
        "--memory",
        str(tmp_path / "m"),
    ]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, encoding="utf-8", check=True
    )
    assert "Session 2" in done.stdout and "Session 1" not in done.stdout and "Session 3" not in done.stdout
    assert "Nothing found" in done.stdout or "not examined" in done.stdout
    assert "It wrote nothing to memory." in done.stdout
    assert "(empty)" in done.stdout


def test_a_review_in_words_teaches_the_next_one(run, app):
    taught = run("review", "app.py", "--symptom", SYMPTOM, "--fail-on-findings")
    assert taught.returncode == 1
    assert STAND_IN in taught.stdout
    assert "\napp.py:78:9: race-condition: " in taught.stdout
    assert "3 findings in 1 file. Cost: " in taught.stdout
    assert "  memory create /memories/race_conditions.md -> " in taught.stderr
    again = run("review", "app.py")
    assert again.returncode == 0
    assert "3 findings in 1 file." in again.stdout


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True)


class FindingInJson(Strict):
    file: str
    line: int
    column: int
    end_line: int
    category: str
    cause: str
    fix: str
    note: str


class FileInJson(Strict):
    file: str
    review: str


class NotReviewedInJson(Strict):
    file: str
    reason: str


class CostInJson(Strict):
    requests: int
    input_tokens: int
    output_tokens: int
    cleared_tool_uses: int
    cleared_input_tokens: int
    cleared_in: list[int]


class Document(Strict):
    reviewer: str
    offline: bool
    base: str | None
    findings: list[FindingInJson]
    existing: list[FindingInJson]
    not_reviewed: list[NotReviewedInJson]
    excluded: list[str]
    files: list[FileInJson]
    cost: CostInJson


def test_json_is_one_document_and_offline_needs_no_key(run, app):
    settings = {"MEMORY_COOKBOOK_OFFLINE": "0", "ANTHROPIC_API_KEY": "your-api-key-here"}
    done = run(
        "--offline",
        "review",
        "app.py",
        "--symptom",
        SYMPTOM,
        "--format",
        "json",
        "--fail-on-findings",
        **settings,
    )
    assert done.returncode == 1
    assert "--offline was given" in done.stderr
    document = Document.model_validate_json(done.stdout)
    assert document.offline and STAND_IN in document.reviewer
    assert [(f.file, f.line, f.category) for f in document.findings] == [
        ("app.py", line, "race-condition") for line in (75, 78, 83)
    ]
    assert [file.file for file in document.files] == ["app.py"]
    assert document.cost.requests > 2 and document.cost.input_tokens > document.cost.output_tokens > 0
    assert document.base is None


def test_what_a_change_brings_in_is_told_from_what_was_there(run, repository):
    folder, git = repository
    fixed = (SAMPLE_CODE / "fixed" / "data_processor_v1.py").read_text("utf-8")
    (folder / "old.py").write_text((SAMPLE_CODE / "web_scraper_v1.py").read_text("utf-8"), "utf-8")
    (folder / "new.py").write_text(fixed, "utf-8")
    git("add", "--all")
    git("commit", "--message", "Before")
    nothing = run("review", "--diff", cwd=folder)
    assert nothing.returncode == 0
    assert "No Python file in scope has changed since HEAD." in nothing.stdout
    shutil.copy(SAMPLE_CODE / "data_processor_v1.py", folder / "new.py")
    with (folder / "old.py").open("a", encoding="utf-8") as file:
        file.write("\n\nLATER = 1\n")
    (folder / "odd.py").write_bytes(b"name = '\xe9'\n")
    git("add", "--all")
    (folder / "sub").mkdir()
    change = ("review", "--symptom", SYMPTOM, "--diff", "main", "--format", "json", "--fail-on-findings")
    done = run(*change, cwd=folder / "sub")
    assert done.returncode == 2
    document = Document.model_validate_json(done.stdout)
    assert document.base == "main"
    new, old, odd = (os.path.join("..", name) for name in ("new.py", "old.py", "odd.py"))  # noqa: PTH118
    assert [(f.file, f.line, f.column) for f in document.findings] == [
        (new, 75, 13),
        (new, 78, 9),
        (new, 83, 9),
    ]
    assert [file.file for file in document.files] == [new, old]
    assert [(f.file, f.line) for f in document.existing] == [(old, 106)]
    assert [file.file for file in document.not_reviewed] == [odd]
    assert one_sentence(done, "1 file could not be reviewed: ")
    assert run(*change, "--exclude", "odd.py", cwd=folder).returncode == 1
    narrowed = run("review", "old.py", "--symptom", SYMPTOM, "--diff", "--fail-on-findings", cwd=folder)
    assert narrowed.returncode == 0
    assert "The base has these too" in narrowed.stdout


def test_its_own_memory_handler_and_the_standard_library_are_reviewed_without_error(run):
    library = Path(sysconfig.get_path("stdlib"))
    files = [
        ROOT / "memory_tool.py",
        *(library / name for name in ("threading.py", "queue.py", "sqlite3/dump.py")),
    ]
    symptom = f"{SYMPTOM} A quote in a name breaks the query. New instances see old entries."
    done = run("review", *map(str, files), "--symptom", symptom)
    assert done.returncode == 0
    assert " in 4 files. Cost: " in done.stdout
    assert done.stdout.count("Looked for: race conditions, because the request says") == 4
    assert "Not looked for" not in done.stdout
    assert "could not be" not in done.stdout


def test_what_is_no_python_file_ends_in_one_sentence_before_anything_is_sent(run, tmp_path):
    (tmp_path / "notes.md").write_text("x = 1\n", "utf-8")
    (tmp_path / "folder.py").mkdir()
    for name, words in {
        "missing.py": "There is no file missing.py",
        "notes.md": "notes.md is not a Python file",
        "folder.py": "folder.py is not a file",
    }.items():
        done = run("review", name)
        assert (done.returncode, done.stdout) == (2, "")
        assert words in one_sentence(done)
    assert not (tmp_path / "memory_storage").exists()


def test_what_git_cannot_answer_ends_in_one_sentence(run, repository, tmp_path):
    folder, _ = repository
    assert "not in a git repository" in one_sentence(run("review", "--diff"))
    assert "knows no commit 'nowhere'" in one_sentence(run("review", "--diff", "nowhere", cwd=folder))
    assert run("review", "--diff", "nowhere", cwd=folder).returncode == 2


def test_a_command_that_makes_no_sense_is_explained(run, app):
    for arguments, words in {
        ("review",): "name the files to review, or give --diff",
        ("--session", "4"): "invalid choice",
        ("--session", "1", "review", "app.py"): "without a command",
        ("memory",): "required",
        ("memory", "burn"): "invalid choice",
    }.items():
        done = run(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert words in done.stderr


def test_settings_that_cannot_work_end_in_one_sentence(run, app, tmp_path):
    placeholder = run("review", "app.py", MEMORY_COOKBOOK_OFFLINE=None, ANTHROPIC_API_KEY="your-api-key-here")
    assert (placeholder.returncode, placeholder.stdout) == (2, "")
    assert "ANTHROPIC_API_KEY in the environment is still the placeholder" in one_sentence(placeholder)
    retired = run("--model", "claude-3-7-sonnet-20250219", "review", "app.py")
    assert retired.returncode == 2
    assert "claude-3-7-sonnet-20250219" in one_sentence(retired) and "claude-sonnet-5-5" in retired.stderr
    (tmp_path / "file").write_text("", "utf-8")
    taken = run("review", "app.py", "--memory", "file")
    assert taken.returncode == 2
    assert "file cannot be the memory directory" in taken.stderr


def test_a_rate_limit_that_holds_after_retries_ends_in_one_sentence(run, app, serve, tmp_path):
    limit = faults.ErrorAnswer(
        429, "rate_limit_error", "Too many.", {"retry-after": "7", "retry-after-ms": "1"}
    )
    settings = serve(review, faults=[None, None, limit, limit, limit])
    done = run("review", "app.py", "--symptom", SYMPTOM, **settings)
    assert done.returncode == 2
    *_, last = done.stderr.splitlines()
    assert last == "memory-review: The rate limit still holds after retries; repeat the call in 7 s."
    assert (
        "Live, because ANTHROPIC_API_KEY is set in the environment. The reviewer is claude-sonnet-5-5."
        in done.stdout
    )


@on_posix
def test_ctrl_c_in_the_middle_of_a_review_ends_in_one_sentence_and_leaves_memory_whole(
    environment, app, serve, tmp_path, run
):
    stored, waiting, over = [], threading.Event(), threading.Event()

    def slow(prompt):
        if stored:
            waiting.set()
            over.wait(60)
        reply = review(prompt)
        stored.extend(
            block["input"]["file_text"] for block in reply.content if "file_text" in block.get("input", {})
        )
        return reply

    process = subprocess.Popen(
        [sys.executable, SCRIPT, "--memory", "memory_storage", "review", "app.py", "--symptom", SYMPTOM],
        cwd=tmp_path,
        env=environment(**serve(slow)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    try:
        assert waiting.wait(60), "the review did not get as far as its second answer"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        over.set()
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert errors.endswith("\nInterrupted; memory keeps what was written before.\n")
    [note] = (tmp_path / "memory_storage" / "memories").iterdir()
    assert [note.read_text("utf-8")] == stored
    assert run("memory", "show").stdout.startswith("/memories/race_conditions.md\n")


@on_posix
def test_a_reader_that_leaves_early_is_no_error(environment, tmp_path):
    (tmp_path / "memory_storage" / "memories").mkdir(parents=True)
    (tmp_path / "memory_storage" / "memories" / "long.md").write_text("word\n" * 200_000, "utf-8")
    command = [sys.executable, SCRIPT, "--memory", "memory_storage", "memory", "show"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""


FULL = "stdout cannot be used: No space left on device."
CLOSED = "stdout is closed, so nobody would see what comes of it."


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's; CI has a Linux runner")
@pytest.mark.parametrize(
    ("redirected", "arguments", "told"),
    [
        (">/dev/full", ("memory", "show"), FULL),
        (">/dev/full", ("review", "app.py"), FULL),
        (">/dev/full", ("review", "app.py", "odd.py", "--format", "json"), FULL),
        (">/dev/full", ("review", "odd.py", "--format", "github"), FULL),
        (">/dev/full 2>&1", ("review", "app.py", "--fail-on-findings"), ""),
        ("2>/dev/full", ("review", "nosuch.py"), ""),
        (">&-", ("memory", "show"), CLOSED),
        (">&-", ("review", "app.py"), CLOSED),
        (">&-", ("review", "app.py", "--format", "json"), CLOSED),
    ],
)
def test_what_cannot_be_said_is_not_done(environment, app, redirected, arguments, told):
    (app.parent / "odd.py").write_bytes(b"<<<<<<<")
    (app.parent / "notes" / "memories").mkdir(parents=True)
    (app.parent / "notes" / "memories" / "a.md").write_text("a\n", "utf-8")
    command = (sys.executable, SCRIPT, "--memory", "notes", *arguments)
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirected}', "sh", *command],
        cwd=app.parent,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr
    assert done.stderr.endswith(f"memory-review: {told}\n" if told else "")


@pytest.mark.skipif(
    sys.platform == "win32", reason="needs ulimit and a folder that can go; CI has a Linux runner"
)
def test_what_the_system_refuses_elsewhere_is_not_blamed_on_stdout(environment, app):
    """A folder that is gone has no name in the error: the traceback says where it failed."""
    command = f'rmdir "$PWD"; exec {sys.executable} {SCRIPT} --memory {app.parent}/notes review --diff'
    (app.parent / "gone").mkdir()
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=app.parent / "gone",
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 2 and "stdout" not in done.stderr.splitlines()[-1]
    assert done.stderr.endswith("memory-review: The system refused: No such file or directory.\n")
    assert "Traceback" in done.stderr


def test_memory_is_shown_without_being_touched(run, tmp_path):
    missing = run("memory", "show")
    assert (missing.returncode, missing.stderr) == (0, "")
    assert "There is nothing in" in missing.stdout
    assert "nothing in" in run("memory", "tree").stdout
    assert list(tmp_path.iterdir()) == []
    root = tmp_path / "memory_storage" / "memories"
    (root / "topics").mkdir(parents=True)
    (root / "topics" / "races.md").write_text("Look for \x1b[2Junlocked\u202e writes\n", "utf-8")
    (root / "bytes.md").write_bytes(b"caf\xe9\n")
    (root / ".hidden.md").write_text("unseen", "utf-8")
    (tmp_path / "outside.md").write_text("canary", "utf-8")
    with contextlib.suppress(OSError):
        (root / "link.md").symlink_to(tmp_path / "outside.md")
    before = sorted(path.name for path in tmp_path.rglob("*"))
    shown = run("memory", "show").stdout
    assert (
        shown
        == "/memories/bytes.md\n\n    caf\ufffd\n\n/memories/topics/races.md\n\n    Look for \ufffd[2Junlocked\ufffd writes\n\n"
    )
    tree = run("memory", "tree").stdout.splitlines()
    assert tree[:3] == ["/memories/", "    bytes.md  5 B", "    topics/"]
    assert tree[3].startswith("        races.md  ")
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize("arguments", [("show",), ("clear", "--yes")])
def test_a_memory_that_is_a_link_is_refused_in_one_sentence(run, tmp_path, arguments):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "note.md").write_text("canary\n", "utf-8")
    (tmp_path / "memory_storage").mkdir()
    try:
        (tmp_path / "memory_storage" / "memories").symlink_to(elsewhere, target_is_directory=True)
    except OSError:
        pytest.skip("this system makes no links for this user; CI runs it on Linux and macOS")
    done = run("memory", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is a link" in one_sentence(done)
    assert (elsewhere / "note.md").read_text("utf-8") == "canary\n"


def test_memory_is_cleared_only_on_a_yes(run, tmp_path):
    root = tmp_path / "memory_storage" / "memories"
    (root / "topics").mkdir(parents=True)
    (root / "topics" / "races.md").write_text("Look for unlocked writes.\n", "utf-8")
    unanswered = run("memory", "clear")
    assert unanswered.returncode == 2
    assert "add --yes" in one_sentence(unanswered)
    for answer in ("\n", "n\n", "yesterday\n"):
        assert run("memory", "clear", stdin=answer).stdout.endswith("Nothing was deleted.\n")
    assert (root / "topics" / "races.md").is_file()
    assert run("memory", "clear", stdin="yes\n").returncode == 0
    assert list(root.iterdir()) == []
    (root / "a.md").write_text("a", "utf-8")
    assert run("memory", "clear", "--yes").stdout == "Memory is empty now.\n"
    assert list(root.iterdir()) == []
    assert "There is nothing in" in run("memory", "clear").stdout


@pytest.fixture
def terminal(environment, tmp_path):
    """The script at a terminal of its own."""
    import pexpect

    children = []

    def terminal(*arguments):
        child = pexpect.spawn(
            sys.executable,
            [str(SCRIPT), "--memory", "memory_storage", *arguments],
            cwd=str(tmp_path),
            env=environment(),
            encoding="utf-8",
            timeout=60,
            dimensions=(50, 200),
        )
        children.append(child)
        return child

    yield terminal
    for child in children:
        child.close(force=True)


@on_posix
def test_at_a_terminal_each_session_waits_for_enter(terminal, tmp_path):
    import pexpect

    child = terminal()
    child.expect("Session 1: ")
    child.expect("Cost: ")
    child.expect("Press Enter for session 2")
    assert "Session 2:" not in child.before
    child.sendline("")
    child.expect("Session 2: ")
    child.expect("Press Enter for session 3")
    assert "Session 3:" not in child.before
    child.sendintr()
    child.expect("Interrupted; memory keeps what was written before.")
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 130
    assert (tmp_path / "memory_storage" / "memories" / "race_conditions.md").is_file()


@on_posix
def test_at_a_terminal_no_pause_does_not_wait(terminal):
    import pexpect

    child = terminal("--no-pause")
    child.expect(pexpect.EOF)
    assert "Session 3: " in child.before and "Press Enter" not in child.before
    child.wait()
    assert child.exitstatus == 0


@on_posix
def test_at_a_terminal_clear_asks_first(terminal, tmp_path):
    import pexpect

    root = tmp_path / "memory_storage" / "memories"
    root.mkdir(parents=True)
    (root / "a.md").write_text("a", "utf-8")
    refused = terminal("memory", "clear")
    refused.expect(r"Delete everything in .*memories\? \[y/N\] ")
    assert (root / "a.md").is_file()
    refused.sendline("")
    refused.expect("Nothing was deleted.")
    refused.expect(pexpect.EOF)
    assert (root / "a.md").is_file()
    confirmed = terminal("memory", "clear")
    confirmed.expect(r"\[y/N\] ")
    confirmed.sendline("y")
    confirmed.expect("Memory is empty now.")
    confirmed.expect(pexpect.EOF)
    assert list(root.iterdir()) == []


@given(st.text().filter(lambda text: ":" not in text and "#" not in text))
def test_what_is_printed_cannot_steer_a_terminal(text):
    shown = printable(text)
    assert len(shown) == len(text)
    assert all(c == "\n" or c == "\t" or not "\x00" <= c < " " for c in shown)
    assert not set(shown) & {"\x7f", "\x9b", "\u202e", "\u2066", "\u200b"}
    assert all(a == b or b == "\ufffd" for a, b in zip(text, shown, strict=True))
