"""What goes wrong between a store and its server: one sentence to the model, the cause in the log, nothing half done."""

import asyncio
import logging
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from postgres_server import ROLE, PrivateServer, Server
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from memory_stores import postgres_connection
from memory_stores.postgres import PostgresStore
from memory_stores.protocol import BadName, OutOfSpace
from memory_tool import MemoryToolHandler

UNREACHABLE = "Memory cannot be reached now: try again, or go on without it and tell the user."
PASSWORD = "canary-8f1e"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for a connection a shorter time than is usual."""
    monkeypatch.setattr(postgres_connection, "CONNECT_SECONDS", 0.5)


@pytest.fixture
def handler(store: PostgresStore) -> MemoryToolHandler:
    handler = MemoryToolHandler(store=store, history="us")
    assert "success" in create(handler, "note", "one\n")
    return handler


def create(handler: MemoryToolHandler, name: str, text: str) -> dict[str, str]:
    return handler.execute(command="create", path=f"/memories/{name}", file_text=text)


def works(handler: MemoryToolHandler, text: str = "one\n") -> bool:
    """Whether memory is as it was, and the next commands are carried out."""
    assert handler.store.read(("note",)) == text.encode()
    assert handler.history.content(handler.history.versions("/memories/note")[-1].id) == text.encode()
    answer = handler.execute(command="insert", path="/memories/note", insert_line=0, insert_text="next")
    return answer == {"success": "The file /memories/note has been edited."}


def cut_connections(server: Server, role: str = ROLE) -> int:
    """End all sessions of a role on the server's side; how many there were."""
    return len(
        server.sql(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = %s AND datname = %s",
            [role, server.name],
        )
    )


def test_all_pooled_connections_die_at_once(server: Server, scope: tuple[str, str]) -> None:
    role = server.new_role()
    store = PostgresStore(server.of(role), scope)
    handler = MemoryToolHandler(store=store, history="us")
    create(handler, "note", "one\n")
    gate = threading.Barrier(8)

    def hold(number: int) -> None:
        with PostgresStore(server.of(role), (*scope, f"{number}")).change():
            gate.wait(10)

    holders = [threading.Thread(target=hold, args=[number]) for number in range(8)]
    for holder in holders:
        holder.start()
    for holder in holders:
        holder.join()
    for _ in range(2):
        assert cut_connections(server, role) >= 1
        begun = time.monotonic()
        assert "one" in handler.execute(command="view", path="/memories/note")["success"]
        assert time.monotonic() - begun < 3
        cut_connections(server, role)
        begun = time.monotonic()
        assert "success" in create(handler, "other", "two\n")
        assert time.monotonic() - begun < 3


def test_the_connection_is_cut_in_the_middle_of_a_change(
    server: Server, handler: MemoryToolHandler, caplog: pytest.LogCaptureFixture
) -> None:
    screened = MemoryToolHandler(
        store=handler.store, history="us", screens=[lambda *_: cut_connections(server) and None]
    )
    edit = {"command": "str_replace", "path": "/memories/note", "old_str": "one", "new_str": "two"}
    assert screened.execute(edit) == {"error": UNREACHABLE}
    assert "terminating connection" in caplog.text or "server closed the connection" in caplog.text
    assert works(handler)


def test_the_server_restarts(
    private_server: PrivateServer, impatient: None, caplog: pytest.LogCaptureFixture
) -> None:
    handler = MemoryToolHandler(store=PostgresStore(private_server.app), history="us")
    create(handler, "note", "one\n")
    private_server.stop("immediate")
    begun = time.monotonic()
    assert handler.execute(command="view", path="/memories/note") == {"error": UNREACHABLE}
    assert create(handler, "note", "two\n") == {"error": UNREACHABLE}
    assert time.monotonic() - begun < 8
    assert "connection" in caplog.text
    private_server.start()
    begun = time.monotonic()
    assert works(handler)
    assert time.monotonic() - begun < 3


def test_there_is_no_server(impatient: None, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    address = f"postgresql://memory_app:{PASSWORD}@127.0.0.1:{_free_port()}/app"
    handler = MemoryToolHandler(store=PostgresStore(address, ["acme"]), history=True)
    for params in ({"command": "view", "path": "/memories"}, {"command": "delete", "path": "/memories/x"}):
        begun = time.monotonic()
        assert handler.execute(params) == {"error": UNREACHABLE}
        assert time.monotonic() - begun < 4
    assert "Connection refused" in caplog.text
    assert PASSWORD not in caplog.text


def test_an_address_that_cannot_be_read_is_not_shown() -> None:
    with pytest.raises(ValueError, match="write postgresql://") as caught:
        PostgresStore(f"postgresql//me:{PASSWORD}@host/db", ["acme"])
    assert PASSWORD not in str(caught.value) and caught.value.__cause__ is None


def test_a_login_found_wrong_later_is_refused(
    private_server: PrivateServer, impatient: None, caplog: pytest.LogCaptureFixture
) -> None:
    """The server was away when the store was made, so nobody could be told then."""
    private_server.stop("fast")
    handler = MemoryToolHandler(store=PostgresStore(private_server.owner))
    private_server.start()
    answer = create(handler, "note", "one\n")
    assert answer["error"].startswith("The system does not permit this")
    assert "Row-level security does not hold the login postgres" in caplog.text


@pytest.mark.parametrize("name", ["d\x01note", "\udcff", "\ud800", "d\0note"])
def test_a_name_that_the_database_cannot_hold(name: str, handler: MemoryToolHandler) -> None:
    """A handler sends none, but a directory that is copied may have them. U+0001 is what keys have between names."""
    create(handler, "d/note", "mine\n")
    for read in (handler.store.find, handler.store.read, lambda path: list(handler.store.versions(path))):
        with pytest.raises(BadName):
            read((name,))
    for do in (lambda change: change.write((name,), b"x"), lambda change: change.move(("note",), (name,))):
        with pytest.raises(BadName), handler.store.change() as change:
            do(change)
    assert handler.store.read(("d", "note")) == b"mine\n"
    assert works(handler)


def test_the_disk_is_full(
    server: Server, handler: MemoryToolHandler, caplog: pytest.LogCaptureFixture
) -> None:
    with _raising(server, handler.store, "53100", "No space left on device"):
        answer = create(handler, "note", "two\n")
        assert answer["error"].startswith("The disk is full")
        with pytest.raises(OutOfSpace), handler.store.change() as change:
            change.write(("note",), b"three\n")
            with pytest.raises(OutOfSpace):
                change.entries()
    assert "No space left on device" in caplog.text
    assert works(handler)


def test_a_transaction_takes_too_long(server: Server, handler: MemoryToolHandler) -> None:
    """As `transaction_timeout` has it, which servers know from PostgreSQL 17 on."""
    with _raising(server, handler.store, "25P04", "terminating connection due to transaction timeout"):
        assert create(handler, "note", "two\n") == {"error": UNREACHABLE}
    assert works(handler)


def test_a_statement_takes_too_long(
    server: Server, scope: tuple[str, str], handler: MemoryToolHandler
) -> None:
    hurried = server.new_role()
    server.sql(f"ALTER ROLE {hurried} SET statement_timeout = '100ms'")
    other = MemoryToolHandler(store=PostgresStore(server.of(hurried), scope), history="us")
    with handler.store.change():
        begun = time.monotonic()
        assert create(other, "note", "two\n") == {"error": UNREACHABLE}
        assert time.monotonic() - begun < 2
    assert works(handler)


def test_the_pool_is_exhausted(
    server: Server, scope: tuple[str, str], handler: MemoryToolHandler, impatient: None
) -> None:
    store = PostgresStore(server.app, scope, max_connections=1)
    begun = time.monotonic()
    with store.change():
        in_a_thread = _answer_in_thread(
            lambda: MemoryToolHandler(store=store).execute(command="view", path="/memories")
        )
    assert in_a_thread == {"error": UNREACHABLE}
    assert time.monotonic() - begun < 4
    assert works(MemoryToolHandler(store=store, history="us"))


def test_one_connection_is_enough_for_undo(server: Server, scope: tuple[str, str]) -> None:
    handler = MemoryToolHandler(store=PostgresStore(server.app, scope, max_connections=1), history="us")
    create(handler, "note", "one\n")
    [version] = handler.history.versions()
    assert handler.history.undo(version.id) == {"success": "/memories/note"}


def test_another_writer_does_not_come_to_an_end(
    handler: MemoryToolHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_connection, "LOCK_SECONDS", 0.2)
    with handler.store.change():
        answer = _answer_in_thread(lambda: create(handler, "note", "two\n"))
    assert answer == {"error": "Another program is changing the memory directory: try again later."}
    assert works(handler)


def test_a_writer_that_hangs_is_ended_by_the_server(
    handler: MemoryToolHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_connection, "IDLE_SECONDS", 0.2)
    hanging = MemoryToolHandler(store=handler.store, screens=[lambda *_: time.sleep(1)])
    edit = {"command": "str_replace", "path": "/memories/note", "old_str": "one", "new_str": "two"}
    thread = threading.Thread(target=hanging.execute, args=[edit])
    thread.start()
    time.sleep(0.1)
    begun = time.monotonic()
    assert works(handler)
    assert time.monotonic() - begun < 0.8
    thread.join()
    assert handler.store.read(("note",)) == b"next\none\n"


def test_the_event_loop_is_not_held(handler: MemoryToolHandler) -> None:
    async def ticks_while_waiting() -> int:
        ticks = 0
        command = asyncio.ensure_future(
            handler.as_async_tool().call(
                {"command": "create", "path": "/memories/note", "file_text": "two\n"}
            )
        )
        for _ in range(10):
            await asyncio.sleep(0.02)
            ticks += not command.done()
        release.set()
        await command
        return ticks

    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with handler.store.change():
            held.set()
            release.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    assert asyncio.run(ticks_while_waiting()) == 10
    thread.join()
    assert works(handler, "two\n")


class Proxy:
    """Between a store and its server; loses what the server answers to a COMMIT, or the COMMIT itself."""

    def __init__(self, server: Server, directory: Path) -> None:
        self._to = conninfo_to_dict(server.app)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(directory / ".s.PGSQL.5432"))
        self._listener.listen(50)
        self.address = make_conninfo(server.app, host=str(directory), port="5432")
        self.lose: str | None = None
        self.refuse = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client = self._listener.accept()[0]
            except OSError:
                return
            if self.refuse:
                client.close()
            else:
                threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _connected(self) -> socket.socket:
        host, port = self._to.get("host", "localhost"), self._to.get("port", "5432")
        if not host.startswith("/"):
            return socket.create_connection((host, port))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{host}/.s.PGSQL.{port}")
        return server

    def _serve(self, client: socket.socket) -> None:
        server, muted = self._connected(), threading.Event()

        def back() -> None:
            with suppress(OSError):
                while data := server.recv(65536):
                    if not muted.is_set():
                        client.sendall(data)

        threading.Thread(target=back, daemon=True).start()
        with client, server, suppress(OSError):
            while data := client.recv(65536):
                if self.lose and b"COMMIT\0" in data:
                    muted.set()
                    if self.lose == "answer":
                        server.sendall(data)
                        time.sleep(0.2)
                    self.lose, self.refuse = None, self.refuse or self._refuse_then
                    server.shutdown(socket.SHUT_RDWR)
                    return
                server.sendall(data)
            server.shutdown(socket.SHUT_RDWR)

    _refuse_then = False

    def lose_next(self, what: str, refuse: bool = False) -> None:
        self.lose, self._refuse_then = what, refuse

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def proxy(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    if not hasattr(socket, "AF_UNIX"):
        pytest.skip("the proxy listens on a Unix socket, which CI has")
    proxy = Proxy(server, tmp_path_factory.mktemp("px"))
    yield proxy
    proxy.close()


@pytest.fixture
def proxied(
    proxy: Proxy, handler: MemoryToolHandler, scope: tuple[str, str], impatient: None
) -> MemoryToolHandler:
    return MemoryToolHandler(store=PostgresStore(proxy.address, scope), history="us")


INSERT = {"command": "insert", "path": "/memories/note", "insert_line": 1, "insert_text": "two"}


def test_a_lost_answer_to_a_commit_is_asked_for(
    proxy: Proxy, proxied: MemoryToolHandler, caplog: pytest.LogCaptureFixture
) -> None:
    proxy.lose_next("answer")
    assert proxied.execute(INSERT) == {"success": "The file /memories/note has been edited."}
    assert proxied.store.read(("note",)) == b"one\ntwo\n"
    assert "connection lost while committing: the transaction is committed" in caplog.text


def test_a_lost_commit_is_an_error_and_nothing_was_done(proxy: Proxy, proxied: MemoryToolHandler) -> None:
    proxy.lose_next("commit")
    assert proxied.execute(INSERT) == {"error": UNREACHABLE}
    assert proxied.store.read(("note",)) == b"one\n"
    assert works(proxied)


REPEATED = {
    "create": {"command": "create", "path": "/memories/note", "file_text": "two\n"},
    "str_replace": {"command": "str_replace", "path": "/memories/note", "old_str": "one", "new_str": "two"},
    "delete": {"command": "delete", "path": "/memories/note"},
    "rename": {"command": "rename", "old_path": "/memories/note", "new_path": "/memories/other"},
}


@pytest.mark.parametrize("command", REPEATED)
def test_a_command_repeated_after_a_lost_answer_is_not_done_twice(
    proxy: Proxy, proxied: MemoryToolHandler, handler: MemoryToolHandler, command: str
) -> None:
    """The server cannot even be asked, so the model is told to try again, and does."""
    proxy.lose_next("answer", refuse=True)
    assert proxied.execute(REPEATED[command]) == {"error": UNREACHABLE}
    proxy.refuse = False
    done = [(entry.path, entry.size) for entry in handler.store.entries()]
    versions = handler.history.versions()
    again = proxied.execute(REPEATED[command])
    assert ("success" in again) == (command == "create")
    assert [(entry.path, entry.size) for entry in handler.store.entries()] == done
    assert [version.content_sha256 for version in handler.history.versions()[len(versions) :]] in (
        [],
        [versions[-1].content_sha256],
    )


@contextmanager
def _raising(server: Server, store: PostgresStore, code: str, message: str) -> Iterator[None]:
    """Have the server raise an error in each write to the files of a tenant."""
    name = f"raise_{uuid.uuid4().hex[:8]}"
    server.sql(
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{message}' USING ERRCODE = '{code}'; END $$"
    )
    server.sql(
        f"CREATE TRIGGER {name} BEFORE INSERT OR UPDATE ON memory_store.files FOR EACH ROW "
        f"WHEN (NEW.tenant = '{store.tenant}') EXECUTE FUNCTION {name}()"
    )
    yield
    server.sql(f"DROP FUNCTION {name} CASCADE")


def _answer_in_thread(run: Callable[[], dict[str, str]]) -> dict[str, str]:
    answers: list[dict[str, str]] = []
    thread = threading.Thread(target=lambda: answers.append(run()))
    thread.start()
    thread.join()
    return answers[0]


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
