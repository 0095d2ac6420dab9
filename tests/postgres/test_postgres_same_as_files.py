"""Any commands give the same texts, files and versions in the database and in a directory."""

import itertools
import re
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from postgres_server import Server

from memory_stores import FileStore
from memory_stores.contract.harness import contents
from memory_stores.postgres import PostgresStore
from memory_tool import MemoryToolHandler

NAMES = st.sampled_from(["a", "b", "a.txt", "é", "\U0001f600", "a b", "x" * 255, "%", ".hidden"])
PATHS = st.lists(NAMES, max_size=3).map(lambda names: "/".join(("/memories", *names)))
TEXTS = st.sampled_from(["", "one\n", "one\ntwo\n", "two", "one\r\ntwo\r\n", "\x00\n", "x" * 90, "x" * 200])
COMMANDS = st.one_of(
    st.fixed_dictionaries({"command": st.just("view"), "path": PATHS}),
    st.fixed_dictionaries({"command": st.just("create"), "path": PATHS, "file_text": TEXTS}),
    st.fixed_dictionaries(
        {"command": st.just("str_replace"), "path": PATHS, "old_str": TEXTS, "new_str": TEXTS}
    ),
    st.fixed_dictionaries(
        {
            "command": st.just("insert"),
            "path": PATHS,
            "insert_line": st.integers(-1, 3),
            "insert_text": TEXTS,
        }
    ),
    st.fixed_dictionaries({"command": st.just("delete"), "path": PATHS}),
    st.fixed_dictionaries({"command": st.just("rename"), "old_path": PATHS, "new_path": PATHS}),
    st.fixed_dictionaries(
        {"command": st.sampled_from(["undo", "redact", "restore"]), "which": st.integers(0, 30)}
    ),
)
LIMITS = {"max_file_bytes": 150, "max_files": 4, "max_total_bytes": 400}


@pytest.fixture(scope="module")
def disk() -> Iterator[Path]:
    """Where flushes cost nothing, where there is such a place."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as directory:
        yield Path(directory)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(commands=st.lists(COMMANDS, max_size=25), history=st.booleans())
def test_same_as_files(server: Server, disk: Path, commands: list[dict[str, object]], history: bool) -> None:
    scope = (uuid.uuid4().hex,)
    both = [
        MemoryToolHandler(store=store, history="us" if history else False)
        for store in (FileStore(disk, scope, **LIMITS), PostgresStore(server.app, scope, **LIMITS))
    ]
    for command in commands:
        files, database = (_answer(handler, command) for handler in both)
        assert database == files, command
    assert contents(both[1].store) == contents(both[0].store)
    assert _described(both[1]) == _described(both[0])


@pytest.mark.parametrize(
    "command",
    [
        {"command": "view", "path": f"/memories/{'y' * 256}"},
        {"command": "create", "path": f"/memories/{'é' * 128}", "file_text": ""},
        {"command": "create", "path": f"/memories/new/{'é' * 128}/x", "file_text": ""},
        {"command": "rename", "old_path": "/memories/a", "new_path": f"/memories/{'y' * 256}"},
    ],
)
def test_names_are_as_long_as_a_directory_holds(
    server: Server, disk: Path, command: dict[str, object]
) -> None:
    scope = (uuid.uuid4().hex,)
    for store in (FileStore(disk, scope), PostgresStore(server.app, scope)):
        handler = MemoryToolHandler(store=store)
        handler.execute(command="create", path="/memories/a", file_text="x")
        assert handler.execute(command) == {
            "error": "A name in the path is too long: use names of at most 255 bytes."
        }
        assert [entry.path for entry in store.entries()] == [(), ("a",)]


def _answer(handler: MemoryToolHandler, command: Mapping[str, object]) -> dict[str, str]:
    if "which" not in command:
        answer = handler.execute(command)
    else:
        versions = handler.history.versions()
        if not versions:
            return {}
        version = versions[int(str(command["which"])) % len(versions)]
        match command["command"]:
            case "restore":
                answer = handler.history.restore(version.created_at)
            case "undo":
                answer = handler.history.undo(version.id)
            case _:
                answer = handler.history.redact(version.id)
        answer = {kind: text.replace(version.id, "ID") for kind, text in answer.items()}
    return {kind: _without_what_differs(text) for kind, text in answer.items()}


def _without_what_differs(text: str) -> str:
    """Without the sizes of directories, and times."""
    text = re.sub(r"(node_modules:\n)\S+\t", r"\1", text)
    text = re.sub(r"^\S+\t(/memories.*/)$", r"\1", text, flags=re.MULTILINE)
    return re.sub(r"\d{4}-\d\d-\d\dT[\d:.+]+", "TIME", text)


def _described(handler: MemoryToolHandler) -> list[tuple]:
    """The versions, with a number for each change in the place of its id, and without ids and times."""
    numbers: dict[str, int] = {}
    counter = itertools.count()
    described = []
    for version in handler.history.versions():
        number = numbers.setdefault(version.change_id, next(counter))
        described.append((number, handler_content(handler, version.id), *version[2:6], *version[7:]))
    return described


def handler_content(handler: MemoryToolHandler, version_id: str) -> bytes | str | None:
    try:
        return handler.history.content(version_id)
    except Exception as error:
        return type(error).__name__
