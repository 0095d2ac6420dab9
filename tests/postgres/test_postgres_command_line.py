"""The command line with a database where a directory goes."""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from postgres_server import ROLE, Server
from psycopg.conninfo import conninfo_to_dict

from memory_demo.code_review_demo import main
from memory_demo.memory_location import MemoryLocation
from memory_stores import FileStore, Version
from memory_stores.postgres import PostgresStore
from memory_stores.protocol import Unavailable
from memory_tool import MemoryToolHandler

PASSWORD = "canary-51aa"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command line: its exit code, and what it said."""
    monkeypatch.chdir(tmp_path)
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        return (main(["--offline", *arguments]), *capsys.readouterr())

    return run


@pytest.fixture
def place(server: Server, scope: tuple[str, str]) -> list[str]:
    """The options that name a tenant of the database."""
    return ["--memory", url(server), "--scope", scope[0], "--scope", scope[1]]


def url(server: Server, user: str = ROLE) -> str:
    """An address as people write it."""
    given = conninfo_to_dict(server.of(user))
    host = given.get("host", "localhost")
    where = f"/{given['dbname']}?host={host}" if host.startswith("/") else f"{host}/{given['dbname']}"
    port = given.get("port")
    authority = "" if host.startswith("/") else f"{host}{f':{port}' if port else ''}"
    return f"postgresql://{user}:{PASSWORD}@{authority}/{where.partition('/')[2]}"


def test_reviews_learn_in_the_database(
    run: Run, place: list[str], store: PostgresStore, tmp_path: Path
) -> None:
    code, out, _ = run("--session", "1", *place)
    assert code == 0 and "It wrote to memory:" in out
    assert store.find(("race_conditions.md",)) is not None
    assert not (tmp_path / "memory_storage").exists()
    _, shown, _ = run("memory", "show", *place)
    assert shown.startswith("/memories/race_conditions.md\n")
    _, history, _ = run("memory", "history", *place)
    version = history.split()[0]
    code, out, _ = run("memory", "undo", version, *place)
    assert (code, out) == (0, "Set back to what it was:\n/memories/race_conditions.md\n")
    code, out, _ = run("memory", "show", *place)
    assert code == 0 and out.startswith("There is nothing in postgresql://") and PASSWORD not in out


def test_scopes_are_tenants_in_a_directory_too(run: Run, tmp_path: Path) -> None:
    for scope, text in (("acme", "ours"), ("acme-corp", "theirs")):
        handler = MemoryToolHandler(tmp_path / "notes", scope=[scope])
        handler.execute(command="create", path="/memories/note.md", file_text=text)
    code, out, _ = run("memory", "show", "--memory", "notes", "--scope", "acme")
    assert code == 0 and "ours" in out and "theirs" not in out


def test_migrate_then_copy_there_and_back(run: Run, server: Server, tmp_path: Path) -> None:
    empty = server.new_database()
    role = f"{ROLE}_{empty.name[-8:]}"
    owner = url(empty, conninfo_to_dict(empty.owner)["user"])
    for _ in range(2):
        code, out, _ = run("memory", "migrate", "--memory", owner, "--role", role)
        assert code == 0 and f"is ready for {role}" in out and PASSWORD not in out
    handler = MemoryToolHandler(tmp_path / "notes", history="Ada")
    handler.execute(command="create", path="/memories/note.md", file_text="one")
    handler.execute(command="create", path="/memories/note.md", file_text="two")
    MemoryToolHandler(tmp_path / "notes", proposal="waiting").execute(
        command="create", path="/memories/x", file_text="x"
    )
    there = ["memory", "copy", "notes", url(empty, role), "--to-scope", "acme", "--to-scope", "user-42"]
    code, out, err = run(*there)
    assert code == 0 and out.startswith("Copied 1 files and 2 versions from notes to postgresql://"), out
    assert "1 proposals that wait for approval stay in notes" in err
    code, out, err = run(*there)
    assert (code, out) == (2, "") and "holds a memory already, so nothing was copied" in err
    back = ["memory", "copy", url(empty, role), "back", "--from-scope", "acme", "--from-scope", "user-42"]
    assert run(*back)[0] == 0
    assert MemoryToolHandler(tmp_path / "back").history.versions() == handler.history.versions()
    assert (tmp_path / "back" / "memories" / "note.md").read_text("utf-8") == "two"
    code, out, err = run("memory", "copy", url(empty, role), "other")
    assert (code, out) == (2, "") and err.startswith("memory-review: There is nothing in postgresql://")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("name", ["a\x01b.md", "\udcff.md"])
def test_a_name_that_the_database_cannot_hold_is_one_sentence(
    run: Run, server: Server, scope: tuple[str, str], tmp_path: Path, name: str
) -> None:
    version = Version("1", "1", f"/memories/{name}", "created", None, None, datetime.now(UTC), "Ada", True)
    with FileStore(tmp_path / "notes").change() as change:
        change.adopt(version, None)
    code, out, err = run("memory", "copy", "notes", url(server), "--to-scope", scope[0])
    assert (code, out) == (2, "") and err.startswith("memory-review: Nothing was copied, as postgresql://")
    assert err.endswith(f" cannot hold the name {version.path!a}.\n")


@pytest.mark.parametrize(
    "command", [["memory", "show"], ["memory", "copy", "ADDRESS", "copied"], ["--session", "1"]]
)
def test_a_server_that_is_not_there_is_one_sentence(run: Run, command: list[str], tmp_path: Path) -> None:
    address = f"postgresql://memory_app:{PASSWORD}@127.0.0.1:1/app"
    arguments = [address if argument == "ADDRESS" else argument for argument in command]
    code, _, err = run(*arguments, *([] if "copy" in command else ["--memory", address]))
    assert code == 2 and "cannot be reached" in err and "Connection refused" in err
    assert "see that the server runs" in err and err.count("\n") == 1
    assert PASSWORD not in err
    assert not (tmp_path / "copied").exists()


def test_a_server_that_goes_away_is_one_sentence_too(
    run: Run, place: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(_: object) -> None:
        raise Unavailable from ConnectionError("the server went away")

    monkeypatch.setattr(PostgresStore, "read", lambda store, path: gone(store))
    assert run("--session", "1", *place)[0] == 2
    code, _, err = run("memory", "show", *place)
    assert (code, err) == (2, "memory-review: The memory fails (Unavailable): the server went away\n")


def test_what_a_person_must_change_is_said(run: Run, server: Server, tmp_path: Path) -> None:
    owner = url(server, conninfo_to_dict(server.owner)["user"])
    bare = server.new_database()
    empty, empty_as_owner = url(bare), url(bare, conninfo_to_dict(bare.owner)["user"])
    for arguments, expected in {
        ("memory", "show", "--memory", owner): "Row-level security does not hold the login",
        ("memory", "show", "--memory", empty_as_owner): "Row-level security does not hold the login",
        (
            "memory",
            "show",
            "--memory",
            empty,
        ): "There are no memory tables in this database: run memory-review "
        f"memory migrate --memory postgresql://... --role {ROLE}, or migrate(",
        ("memory", "migrate", "--memory", "notes"): "A directory needs no preparation",
        ("memory", "migrate", "--memory", url(server)): "This login may not do that",
        ("memory", "migrate", "--memory", owner, "--role", "postgres"): "Row-level security does not hold",
        ("memory", "copy", "nowhere", owner): "There is nothing in nowhere.",
    }.items():
        code, out, err = run(*arguments)
        assert code == 2 and out == "" and expected in err, err
        assert PASSWORD not in err and err.count("\n") == 1


def test_a_password_is_not_shown() -> None:
    for address in (
        f"postgresql://me:{PASSWORD}@db.example:5433/app",
        f"postgresql://me@db.example:5433/app?password={PASSWORD}",
        f"postgres://me:{PASSWORD}@db.example:5433/app?sslmode=require",
    ):
        assert str(MemoryLocation(address)) == "postgresql://me@db.example:5433/app"
        assert str(MemoryLocation(address, ("acme",))) == "postgresql://me@db.example:5433/app (acme)"
    local, several = f"postgresql:///app?password={PASSWORD}", f"postgres://me:{PASSWORD}@[::1]:5433,db/app"
    assert str(MemoryLocation(local)) == "postgresql:///app"
    assert str(MemoryLocation(several)) == "postgresql://me@[::1]:5433,db/app"


@pytest.mark.parametrize("odd", ["/", "?", "#", "@", ":", "@h/", "/@"])
def test_a_password_that_should_have_been_encoded_is_not_shown_either(odd: str) -> None:
    for before in ("", PASSWORD):
        address = f"postgresql://me:{before}{odd}{PASSWORD}@db/app"
        assert PASSWORD not in str(MemoryLocation(address)), address
    assert PASSWORD not in str(MemoryLocation(f"postgresql://me:{PASSWORD}/app"))
    assert PASSWORD not in str(MemoryLocation(f"postgresql://[me:{PASSWORD}@db/app"))
    assert PASSWORD not in str(MemoryLocation(f"postgresql://me@db/app?password={odd}{PASSWORD}"))


def test_without_psycopg_the_package_works_and_names_what_to_install(tmp_path: Path) -> None:
    """In a process of its own, in which psycopg cannot be imported."""
    script = """
import sys
sys.modules["psycopg"] = sys.modules["psycopg_pool"] = None
import memory_stores
memory_stores.FileStore("notes")
try:
    memory_stores.PostgresStore
except ImportError as error:
    print(error)
from memory_demo.code_review_demo import main
codes = [main(["memory", action, "--memory", "postgresql://db/app"]) for action in ("show", "migrate")]
assert codes == [2, 2], codes
"""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    wanted = "PostgresStore needs psycopg and psycopg_pool: pip install 'psycopg[binary]' psycopg_pool"
    assert done.stdout == f"{wanted}\n", done.stderr
    assert done.stderr == f"memory-review: {wanted}\n" * 2 and done.returncode == 0
