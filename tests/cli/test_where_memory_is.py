"""--memory, --scope, FROM and TO: what they name is used, and what they cannot name is refused in one sentence."""

import pytest

from memory_demo.code_review_demo import main
from memory_demo.command_error import CommandError
from memory_demo.memory_location import MemoryLocation
from memory_tool import MemoryToolHandler

SECRET = "canary-51aa"
NO_PLACES = {
    f"postgresql+psycopg://u:{SECRET}@h/db": "postgresql+psycopg://",
    f"POSTGRESQL://u:{SECRET}@h/db": "POSTGRESQL://",
    f" postgres://u:{SECRET}@h/db": "postgres://",
    f"mysql://u:{SECRET}@h/db": "mysql://",
    f"u:{SECRET}@h://db": "",
    f"a/{SECRET}/b://c": "",
    f"host=db user=me password={SECRET}": "",
    f"dbname = notes password='{SECRET}'": "",
    "": "",
    " ": "",
}


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run the command line in a folder of its own: its exit code, and what it said."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        capsys.readouterr()
        return (main(arguments), *capsys.readouterr())

    return run


def remember(place, text, scope=()):
    handler = MemoryToolHandler(place, scope=scope)
    assert "success" in handler.execute(command="create", path="/memories/note.md", file_text=text)


def one_sentence(done):
    code, out, err = done
    assert (code, out, err.count("\n")) == (2, "", 1), done
    assert err.startswith("memory-review: ") and err.endswith(".\n")
    return err


@pytest.mark.parametrize("where", NO_PLACES)
@pytest.mark.parametrize(
    "arguments",
    [
        ("memory", "show", "--memory", "X"),
        ("memory", "clear", "--yes", "--memory", "X"),
        ("memory", "migrate", "--memory", "X"),
        ("memory", "copy", "X", "new"),
        ("memory", "copy", "notes", "X"),
    ],
    ids=" ".join,
)
def test_what_is_neither_a_directory_nor_an_address_is_refused(run, tmp_path, where, arguments):
    remember("notes", "kept")
    remember(tmp_path, "kept as well")
    before = sorted(tmp_path.rglob("*"))
    said = one_sentence(run(*(where if argument == "X" else argument for argument in arguments)))
    assert "directory" in said and "postgresql://" in said
    assert NO_PLACES[where] in said and SECRET not in said
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "memories" / "note.md").read_text("utf-8") == "kept as well"


def test_addresses_and_directories_are_told_apart():
    for address in ("postgresql://me@db/app", "postgres:///app?host=/tmp"):
        assert MemoryLocation(address).is_database
    for name in ("notes", "./postgresql:", "a:b", "C:/notes", r"C:\notes", "postgresql:/notes", "my.host=1"):
        assert not MemoryLocation(name).is_database
        assert not MemoryLocation(name).hides_some
    assert MemoryLocation("postgresql://me:secret@db/app").hides_some
    with pytest.raises(CommandError):
        MemoryLocation("Postgres://me@db/app")


@pytest.mark.parametrize(
    "action", [("show",), ("tree",), ("clear", "--yes"), ("history",), ("proposals",)], ids=" ".join
)
def test_a_file_is_no_memory(run, tmp_path, action):
    (tmp_path / "file").write_text("kept", "utf-8")
    refused = one_sentence(run("memory", *action, "--memory", "file"))
    assert "file cannot be the memory directory: " in refused and "file is not a directory." in refused
    assert (tmp_path / "file").read_text("utf-8") == "kept"


def test_a_copy_is_of_the_tenant_that_is_named(run, tmp_path):
    for scope, text in {(): "everybody's", ("acme",): "ours", ("acme", "ada"): "hers"}.items():
        remember("notes", text, scope)
    assert run("memory", "copy", "notes", "copied", "--from-scope", "acme", "--from-scope", "ada")[0] == 0
    assert run("memory", "copy", "notes", "shared", "--from-scope", "acme", "--to-scope", "other")[0] == 0
    assert "hers" in run("memory", "show", "--memory", "copied")[1]
    assert "ours" in run("memory", "show", "--memory", "shared", "--scope", "other")[1]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--scope", "acme", "memory", "copy", "notes", "copied"),
        ("memory", "--scope", "acme", "copy", "notes", "copied"),
        ("--memory", "notes", "memory", "copy", "notes", "copied"),
    ],
    ids=" ".join,
)
def test_a_copy_is_not_told_by_memory_or_scope_what_to_copy(run, tmp_path, arguments):
    remember("notes", "everybody's")
    said = one_sentence(run(*arguments))
    assert "--from-scope" in said and "--to-scope" in said
    assert not (tmp_path / "copied").exists()


@pytest.mark.parametrize("option", ["--scope", "--memory", "--model"])
def test_a_copy_does_not_offer_what_means_nothing_to_it(run, capsys, option, tmp_path):
    remember("notes", "everybody's")
    with pytest.raises(SystemExit, match="2"):
        run("memory", "copy", "notes", "copied", option, "acme")
    assert "unrecognized arguments" in capsys.readouterr().err
    assert not (tmp_path / "copied").exists()
    with pytest.raises(SystemExit, match="0"):
        run("memory", "copy", "--help")
    assert f" {option} " not in capsys.readouterr().out


def test_a_copy_of_nothing_is_no_copy(run, tmp_path):
    remember("notes", "everybody's")
    for arguments in (("nowhere",), ("notes", "--from-scope", "nobody")):
        said = one_sentence(run("memory", "copy", arguments[0], "copied", *arguments[1:]))
        assert f"There is nothing in {arguments[0]}" in said
    assert not (tmp_path / "copied").exists()


def test_a_copy_of_what_is_no_memory_leaves_nothing_behind(run, tmp_path):
    (tmp_path / "app.py").write_text("x = 1\n", "utf-8")
    remember("notes", "everybody's")
    before = sorted(tmp_path.rglob("*"))
    for old, new in ((".", "."), (".", "copied")):
        assert "There is nothing in ." in one_sentence(run("memory", "copy", old, new))
    one_sentence(run("memory", "copy", "notes", "copied", "--from-scope", "nobody"))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_copy_of_a_history_alone_is_one(run):
    remember("notes", "everybody's")
    assert run("memory", "clear", "--yes", "--memory", "notes")[0] == 0
    code, out, _ = run("memory", "copy", "notes", "copied")
    assert code == 0 and out.startswith("Copied 0 files and ")
    assert "deleted" in run("memory", "history", "--memory", "copied")[1]


def test_a_database_is_prepared_for_no_tenant_in_particular(run):
    said = one_sentence(run("memory", "migrate", "--memory", "postgresql://me@db/app", "--scope", "acme"))
    assert "--scope" in said
