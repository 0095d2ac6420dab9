"""Tenants are kept apart by the server, whatever a statement forgets and whoever had the connection before."""

import re
import uuid
from collections.abc import Iterator

import psycopg
import pytest
from postgres_server import ROLE, Server

from memory_stores import postgres_schema
from memory_stores.postgres import PostgresStore, SetupError, migrate, tenant_of
from memory_tool import MemoryToolHandler

CANARY = "yellow feathers"


def _use(handler: MemoryToolHandler, note: str) -> None:
    """Every command and everything a history can do."""
    handler.execute(command="create", path="/memories/a/note.md", file_text=note)
    handler.execute(command="create", path="/memories/gone.md", file_text=note)
    handler.execute(command="str_replace", path="/memories/a/note.md", old_str=note, new_str=f"{note}!")
    handler.execute(command="insert", path="/memories/a/note.md", insert_line=0, insert_text=note)
    handler.execute(command="rename", old_path="/memories/a", new_path=f"/memories/{note}")
    handler.execute(command="delete", path="/memories/gone.md")
    handler.execute(command="view", path="/memories")
    handler.execute(command="view", path=f"/memories/{note}/note.md")
    versions = handler.history.versions()
    handler.history.versions("/memories/gone.md")
    handler.history.content(versions[0].id)
    handler.history.redact(versions[0].id)
    handler.history.undo(versions[-1].id)
    handler.history.restore(versions[2].created_at)
    handler.store.history_begins()
    with handler.store.change() as change:
        change.prune(10_000_000)
        list(change.entries())
        change.digest(("gone.md",))


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, object]]]:
    """What is sent with the key of a tenant while a test runs."""
    sent = []
    execute = psycopg.Cursor.execute

    def recorded(self: psycopg.Cursor, query: str, params: object = None, **options: object) -> object:
        if isinstance(params, dict) and "tenant" in params:  # not BEGIN and COMMIT
            sent.append((query, params))
        elif params is None and "memory_store." in query:
            sent.extend((one, {}) for one in query.split(";") if "BEGIN" not in one)
        return execute(self, query, params, **options)

    monkeypatch.setattr(psycopg.Cursor, "execute", recorded)
    return sent


_END = re.compile(r"ORDER BY|GROUP BY|RETURNING|FOR UPDATE|ON CONFLICT|LIMIT")


def _without_where(statement: str) -> str:
    """The statement without its conditions; that of a FILTER chooses no row."""
    kept, rest = "", statement
    while found := re.search(r"(?<!FILTER \()\bWHERE\b", rest):
        kept, end, depth = kept + rest[: found.start()], found.end(), 0
        while end < len(rest) and depth >= 0 and not (depth == 0 and _END.match(rest, end)):
            end += 1
            depth += (rest[end : end + 1] == "(") - (rest[end : end + 1] == ")")
        rest = rest[end:]
    return kept + rest


def _everything(server: Server, tenant: uuid.UUID) -> list[list[tuple]]:
    return [
        server.sql(f"SELECT t.* FROM memory_store.{table} t WHERE tenant = %s ORDER BY t::text", [tenant])
        for table in ("tenants", "files", "versions")
    ]


def _run_without_where(address: str, tenant: uuid.UUID, sent: list[tuple[str, dict[str, object]]]) -> str:
    """Run the statements as one tenant, and show all that came back."""
    shown = ""
    with psycopg.connect(address, prepare_threshold=None) as connection:
        connection.execute("SELECT set_config('memory_store.tenant', %s, true)", [str(tenant)])
        for statement, values in sorted(
            sent, key=lambda one: "SELECT" not in one[0][:10]
        ):  # before all is gone
            try:
                with connection.transaction():
                    cursor = connection.execute(_without_where(statement), values)
                    shown += f"{cursor.fetchall()}\n" if cursor.description else ""
            except psycopg.Error as error:
                shown += f"{error}\n"
    return shown


def test_statements_that_forget_their_where_touch_no_other_tenant(
    server: Server, statements: list[tuple[str, dict[str, object]]]
) -> None:
    database = server.new_database()
    migrate(database.owner, role=ROLE)
    own, foreign = PostgresStore(database.app, ["acme"]), PostgresStore(database.app, ["acme-corp"])
    _use(MemoryToolHandler(store=foreign, history="them"), CANARY)
    statements.clear()
    _use(MemoryToolHandler(store=own, history="us"), "ours")
    sent = dict(statements)
    own.erase()
    sent |= dict(statements)
    assert len([one for one in sent if "WHERE" in one]) >= 18
    _use(MemoryToolHandler(store=own, history="us"), "ours")
    before = _everything(database, foreign.tenant)
    assert all(before)

    shown = _run_without_where(database.app, own.tenant, list(sent.items()))

    assert CANARY not in shown
    assert "ours" in shown and "syntax error" not in shown
    assert _everything(database, foreign.tenant) == before
    assert _everything(database, own.tenant) == [[], [], []]  # what a DELETE without WHERE reached

    # The control: the same statements, as a login that no policy binds.
    assert CANARY in _run_without_where(database.owner, own.tenant, list(sent.items()))
    assert _everything(database, foreign.tenant) != before


def test_without_a_tenant_there_is_no_row(server: Server, store: PostgresStore) -> None:
    with store.change() as change:
        change.write(("note",), b"text")
    with psycopg.connect(server.app, autocommit=True) as connection:
        for table in ("tenants", "files", "versions"):
            assert connection.execute(f"SELECT count(*) FROM memory_store.{table}").fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(
                "INSERT INTO memory_store.files (tenant, path) VALUES (%s, 'x')", [store.tenant]
            )
        connection.execute("SELECT set_config('memory_store.tenant', %s, true)", [str(store.tenant)])
        assert connection.execute("SELECT count(*) FROM memory_store.files").fetchone() == (0,)


def test_row_level_security_is_forced_on_every_table(server: Server) -> None:
    tables = server.sql(
        "SELECT relname, relrowsecurity AND relforcerowsecurity FROM pg_class"
        " WHERE relnamespace = 'memory_store'::regnamespace AND relkind IN ('r', 'p') ORDER BY 1"
    )
    assert tables == [(name, True) for name in ("files", "migrations", "tenants", "versions")]


def test_the_role_may_not_change_the_ledger_or_the_tables(server: Server) -> None:
    with psycopg.connect(server.app, autocommit=True) as connection:
        for statement in (
            "INSERT INTO memory_store.migrations VALUES (99)",
            "ALTER TABLE memory_store.files DISABLE ROW LEVEL SECURITY",
            "DROP POLICY own_rows ON memory_store.files",
            "TRUNCATE memory_store.files",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


def test_two_tenants_take_turns_on_one_connection(server: Server) -> None:
    stores = [PostgresStore(server.app, ["turns", name], max_connections=1) for name in ("a", "ab")]
    for number in range(5):
        for store in stores:
            with store.change() as change:
                change.write((f"{number}",), str(store.tenant).encode())
    for store in stores:
        files = [entry.path for entry in store.entries() if not entry.is_directory]
        assert files == [(f"{number}",) for number in range(5)]
        assert {store.read(path) for path in files} == {str(store.tenant).encode()}


def test_scopes_are_whole_tuples() -> None:
    scopes = [
        (),
        ("",),
        ("", ""),
        ("a",),
        ("a", "b"),
        ("a/b",),
        ('a", "b',),
        ("a", "B"),
        ("a\x00",),
        ("\ud800",),
        ("é",),
        ("e\u0301",),
    ]
    assert len({tenant_of(scope) for scope in scopes}) == len(scopes)
    with pytest.raises(TypeError, match=r"\('acme',\)"):
        PostgresStore("postgresql://nobody@127.0.0.1:1/none", "acme")


@pytest.fixture(params=["SUPERUSER", "BYPASSRLS", "member of a superuser"])
def strong_role(request: pytest.FixtureRequest, server: Server) -> Iterator[str]:
    name = f"strong_{uuid.uuid4().hex[:8]}"
    server.sql(f"CREATE ROLE {name} LOGIN {'NOINHERIT' if ' ' in request.param else request.param}")
    if " " in request.param:
        server.sql(f"GRANT {psycopg.conninfo.conninfo_to_dict(server.owner)['user']} TO {name}")
    migrated = server.sql("SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'memory_store'")
    assert migrated
    yield name
    server.sql(f"DROP ROLE {name}")


def test_logins_that_see_all_tenants_are_refused(server: Server, strong_role: str) -> None:
    with pytest.raises(
        SetupError, match=f"the login {strong_role} to one tenant.*keep that login for migrate"
    ):
        PostgresStore(server.of(strong_role))
    with pytest.raises(SetupError, match="Row-level security does not hold"):
        migrate(server.owner, role=strong_role)


def test_the_owner_of_the_tables_is_refused(server: Server) -> None:
    owner = f"owner_{uuid.uuid4().hex[:8]}"
    server.sql(f"CREATE ROLE {owner} LOGIN CREATEROLE")
    database = server.new_database()
    name = psycopg.conninfo.conninfo_to_dict(database.owner)["dbname"]
    server.sql(f"ALTER DATABASE {name} OWNER TO {owner}")
    app = f"app_{uuid.uuid4().hex[:8]}"
    migrate(database.of(owner), role=app)  # not a superuser: as on a managed database with a single login
    with pytest.raises(SetupError, match=f"the login {owner} .*it is owner of the tables"):
        PostgresStore(database.of(owner))
    store = PostgresStore(database.of(app), ["acme"])
    with store.change() as change:
        change.write(("note",), b"text")
    assert store.read(("note",)) == b"text"


def test_a_login_without_tables_or_rights_is_told_to_migrate(server: Server) -> None:
    empty = server.new_database()
    with pytest.raises(SetupError, match=r"There are no memory tables in this database: run .*migrate\("):
        PostgresStore(empty.app)
    migrate(empty.owner, role=f"other_{uuid.uuid4().hex[:8]}")
    with pytest.raises(SetupError, match=r"may not use the memory tables: run .*migrate\("):
        PostgresStore(empty.app)
    migrate(empty.owner, role=ROLE)
    assert PostgresStore(empty.app).find(("x",)) is None


def test_tables_of_an_older_release_are_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    old = server.new_database()
    migrate(old.owner, role=ROLE)
    monkeypatch.setattr(postgres_schema, "MIGRATIONS", (*postgres_schema.MIGRATIONS, "SELECT 1"))
    with pytest.raises(SetupError, match="older release"):
        PostgresStore(old.app)
    migrate(old.owner, role=ROLE)
    assert PostgresStore(old.app).find(("x",)) is None
