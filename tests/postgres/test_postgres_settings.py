"""Whatever a login, its address and its environment are set to, the same is stored and read."""

import json
from datetime import timedelta

import pytest
from postgres_server import Server
from psycopg.conninfo import make_conninfo

from memory_stores.postgres import PostgresStore, SetupError, check
from memory_tool import MemoryToolHandler

NAME, TEXT = "日本.md", "a\\b 'x' \u2028日\n"

OF_THE_ROLE = [
    ("DateStyle", "German"),
    ("DateStyle", "SQL, DMY"),
    ("DateStyle", "Postgres"),
    ("IntervalStyle", "sql_standard"),
    ("IntervalStyle", "postgres_verbose"),
    ("IntervalStyle", "iso_8601"),
    ("TimeZone", "Asia/Kathmandu"),
    ("TimeZone", "<+0545>-05:45"),
    ("client_encoding", "LATIN1"),
    ("client_encoding", "SQL_ASCII"),
    ("bytea_output", "escape"),
    ("extra_float_digits", "-15"),
    ("standard_conforming_strings", "off"),
    ("transform_null_equals", "on"),
    ("search_path", ""),
    ("default_transaction_isolation", "serializable"),
    ("default_transaction_isolation", "repeatable read"),
]
OF_THE_ENVIRONMENT = [
    ("PGCLIENTENCODING", "LATIN1"),
    ("PGCLIENTENCODING", "SQL_ASCII"),
    ("PGDATESTYLE", "German"),
    ("PGTZ", "Asia/Kathmandu"),
]


def _use(address: str, scope: tuple[str, str]) -> list[tuple]:
    """Write, prune, read and go back; the versions as the store tells them."""
    check(address)
    store = PostgresStore(address, scope)
    handler = MemoryToolHandler(store=store, history="us", keep=timedelta(days=100, seconds=1))
    for text in (TEXT, "later"):
        answer = handler.execute(command="create", path=f"/memories/{NAME}", file_text=text)
        assert "success" in answer, answer
    [first, _] = handler.history.versions()
    assert handler.history.restore(first.created_at) == {"success": f"/memories/{NAME}"}
    assert NAME in handler.execute(command="view", path="/memories")["success"]
    assert store.read((NAME,)) == TEXT.encode()
    return [(version.id, version.created_at) for version in handler.history.versions()]


def _check_stored(server: Server, scope: tuple[str, str], told: list[tuple]) -> None:
    """Against what a superuser sees, who is set as servers come."""
    of_tenant = "WHERE tenant = (SELECT tenant FROM memory_store.tenants WHERE scope = %s)"
    values = [json.dumps(scope)]
    files = server.sql(
        f"SELECT path, convert_from(content, 'UTF8') FROM memory_store.files {of_tenant}", values
    )
    assert files == [(f"\x01{NAME}", TEXT)]
    versions = f"SELECT id, created_at FROM memory_store.versions {of_tenant} ORDER BY number"
    assert server.sql(versions, values) == told
    assert len(told) == 3


@pytest.mark.parametrize(("name", "value"), OF_THE_ROLE)
def test_settings_of_the_role_change_nothing(
    name: str, value: str, server: Server, scope: tuple[str, str]
) -> None:
    role = server.new_role()
    server.sql(f"ALTER ROLE {role} SET {name} = '{value}'")
    _check_stored(server, scope, _use(server.of(role), scope))


@pytest.mark.parametrize(("name", "value"), OF_THE_ENVIRONMENT)
def test_settings_of_the_environment_change_nothing(
    name: str, value: str, server: Server, scope: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as environment:
        environment.setenv(name, value)
        told = _use(server.of(server.new_role()), scope)
    _check_stored(server, scope, told)


@pytest.mark.parametrize("encoding", ["latin1", "SQL_ASCII"])
def test_an_encoding_in_the_address_changes_nothing(
    encoding: str, server: Server, scope: tuple[str, str]
) -> None:
    address = make_conninfo(server.app, client_encoding=encoding)
    _check_stored(server, scope, _use(address, scope))


def test_without_row_security_a_person_is_told(server: Server) -> None:
    role = server.new_role()
    server.sql(f"ALTER ROLE {role} SET row_security = off")
    for use in (PostgresStore, check):
        with pytest.raises(SetupError, match=f"row_security is off for the login {role}"):
            use(server.of(role))
