"""The tables behind `PostgresStore`: numbered migrations, and the ordinary role that works on them.

Three tables, each with the tenant first in its key, so that all can be partitioned or distributed by it. Row-level
security is forced on them: a statement sees the rows of the tenant that its transaction has set, and none without one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import errors, sql

TENANT_SETTING = "memory_store.tenant"

_FIRST = """
CREATE TABLE memory_store.tenants (  -- one row a tenant: its lock, what it holds, where its history stands
    tenant uuid PRIMARY KEY,
    scope text NOT NULL,  -- as JSON, for people
    files bigint NOT NULL DEFAULT 0,
    bytes bigint NOT NULL DEFAULT 0,
    last_number bigint NOT NULL DEFAULT 0,  -- of its versions
    last_change timestamptz NOT NULL DEFAULT 'epoch',
    pruned_until timestamptz
) WITH (fillfactor = 50);  -- room for new row versions on the same page

CREATE TABLE memory_store.files (  -- directories too
    tenant uuid NOT NULL,
    -- U+0001 before each name, so that the order of the bytes is the order of the tuples of names
    path text COLLATE "C" NOT NULL,
    depth smallint GENERATED ALWAYS AS (length(path) - length(replace(path, E'\\x01', ''))) STORED,
    content bytea,  -- NULL: a directory
    PRIMARY KEY (tenant, path)
);

CREATE TABLE memory_store.versions (
    tenant uuid NOT NULL,
    number bigint NOT NULL,
    id text COLLATE "C" NOT NULL,
    change_id text COLLATE "C" NOT NULL,
    path text COLLATE "C" NOT NULL,
    operation text NOT NULL CHECK (operation IN ('created', 'modified', 'deleted')),
    content bytea,
    sha256 bytea,
    size integer,
    created_at timestamptz NOT NULL,
    created_by text,
    redacted boolean NOT NULL DEFAULT false,
    PRIMARY KEY (tenant, number),
    UNIQUE (tenant, id)
);
CREATE INDEX versions_of_path ON memory_store.versions (tenant, path, number);
CREATE INDEX versions_of_change ON memory_store.versions (tenant, change_id);
CREATE INDEX versions_by_time ON memory_store.versions (tenant, created_at);

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['tenants', 'files', 'versions'] LOOP
        EXECUTE format('ALTER TABLE memory_store.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE memory_store.%I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_rows ON memory_store.%I USING '
            '(tenant = nullif(current_setting(''memory_store.tenant'', true), '''')::uuid)', name);
    END LOOP;
END $$;
"""

MIGRATIONS = (_FIRST,)
"""Never changed once released: a change of the tables is one more."""

_LEDGER = """
CREATE SCHEMA IF NOT EXISTS memory_store;
CREATE TABLE memory_store.migrations (
    number integer PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE memory_store.migrations ENABLE ROW LEVEL SECURITY;
ALTER TABLE memory_store.migrations FORCE ROW LEVEL SECURITY;
CREATE POLICY all_rows ON memory_store.migrations USING (true);
"""
_LOCK = 0x6D656D6F7279  # any number that nobody else takes

# Roles that row-level security does not bind, and that `role` is or can become.
_UNBOUND = """
SELECT r.rolname,
    CASE WHEN r.rolsuper THEN 'a superuser' WHEN r.rolbypassrls THEN 'a role with BYPASSRLS' ELSE 'owner of the tables' END
FROM pg_roles r
WHERE pg_has_role(%(role)s::name, r.oid, 'MEMBER') AND (r.rolsuper OR r.rolbypassrls OR r.oid IN (
    SELECT relowner FROM pg_class WHERE relnamespace = to_regnamespace('memory_store') AND relkind IN ('r', 'p')))
ORDER BY r.rolname <> %(role)s, r.rolname LIMIT 1
"""


class SetupError(Exception):
    """What a person must change in the database or the login; says how."""


def migrate(conninfo: str, role: str = "memory_app") -> None:
    """Create or upgrade the tables as their owner, and let `role` use them; makes the role if it is missing.

    Can be repeated, and started by many processes at once. The role gets LOGIN and no password: set one with ALTER ROLE.
    Raises SetupError.
    """
    with _explained(role), psycopg.connect(conninfo, client_encoding="utf8") as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        _check_encoding(connection)
        if _row(connection, "SELECT to_regclass('memory_store.migrations')")[0] is None:
            connection.execute(_LEDGER)
        done = _row(connection, "SELECT coalesce(max(number), 0) FROM memory_store.migrations")[0]
        for number, statements in enumerate(MIGRATIONS[done:], done + 1):
            connection.execute(statements)
            connection.execute("INSERT INTO memory_store.migrations VALUES (%s)", [number])
        _make_role(connection, role)
        _check_role(connection, role)
        _grant(connection, role)


def check(conninfo: str) -> None:
    """Raise SetupError unless a store can work at an address: reachable, with the tables, as an ordinary login."""
    with (
        _explained("the login"),
        psycopg.connect(conninfo, client_encoding="utf8", autocommit=True) as connection,
    ):
        check_login(connection)


def check_login(connection: psycopg.Connection[Any]) -> None:
    """Raise SetupError unless the tables are there and row-level security binds the login."""
    user, schema, usable, row_security = _row(
        connection,
        "SELECT current_user, to_regnamespace('memory_store') IS NOT NULL,"
        " has_schema_privilege(to_regnamespace('memory_store'), 'USAGE'), current_setting('row_security')",
    )
    _check_role(connection, user)
    if row_security == "off":
        raise SetupError(
            f"row_security is off for the login {user}, so the server refuses to read tables that it guards row by row: "
            f"take that out of the address and of PGOPTIONS, or ALTER ROLE {user} RESET row_security."
        )
    if not schema:
        raise SetupError(f"There are no memory tables in this database: {_how_to_migrate(user)}")
    if not usable:
        raise SetupError(f"The login {user} may not use the memory tables: {_how_to_migrate(user)}")
    done = _row(connection, "SELECT coalesce(max(number), 0) FROM memory_store.migrations")[0]
    if done < len(MIGRATIONS):
        raise SetupError(f"The memory tables are of an older release ({done}): {_how_to_migrate(user)}")


def _how_to_migrate(role: str) -> str:
    return (
        f"run memory-review memory migrate --memory postgresql://... --role {role}, or "
        f'migrate("postgresql://...", role="{role}"), as their owner.'
    )


def _check_role(connection: psycopg.Connection[Any], role: str) -> None:
    unbound = connection.execute(_UNBOUND, {"role": role}).fetchone()
    if unbound:
        name, kind = unbound
        how = f"it is {kind}" if name == role else f"it is a member of {name}, {kind}"
        raise SetupError(
            f"Row-level security does not hold the login {role} to one tenant, as {how}: keep that login for migrate "
            '(memory-review memory migrate, or the function), which makes an ordinary one (role="memory_app"), set its '
            "password with ALTER ROLE memory_app PASSWORD, and connect as that. Where the database came with a single login, migrate makes the second one just the same."
        )


def _check_encoding(connection: psycopg.Connection[Any]) -> None:
    encoding = _row(connection, "SELECT current_setting('server_encoding')")[0]
    if encoding != "UTF8":
        raise SetupError(
            f"The database is encoded in {encoding}: create one with ENCODING 'UTF8' for the memory."
        )


def _make_role(connection: psycopg.Connection[Any], role: str) -> None:
    if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).fetchone() is None:
        # A role is known to all databases of a server: another may be migrated at the same moment.
        with contextlib.suppress(errors.DuplicateObject, errors.UniqueViolation), connection.transaction():
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))


def _grant(connection: psycopg.Connection[Any], role: str) -> None:
    connection.execute(
        sql.SQL(
            "GRANT USAGE ON SCHEMA memory_store TO {role}; GRANT SELECT ON memory_store.migrations TO {role};"
            "GRANT SELECT, INSERT, UPDATE, DELETE"
            " ON memory_store.tenants, memory_store.files, memory_store.versions TO {role}"
        ).format(role=sql.Identifier(role))
    )


@contextlib.contextmanager
def _explained(role: str) -> Iterator[None]:
    """Say in a sentence what a person can do about an error of the server."""
    try:
        yield
    except errors.InsufficientPrivilege as error:
        raise SetupError(
            f"This login may not do that ({error.diag.message_primary}): migrate as the owner of the database. If it may not "
            f"create roles, have {role} created first, as an ordinary role with LOGIN, and migrate again."
        ) from error
    except psycopg.OperationalError as error:
        said = " ".join(str(error).split())
        raise SetupError(
            f"The database cannot be reached; see that the server runs, and that the address, the login and its password are "
            f"right: {said}"
        ) from error
    except psycopg.ProgrammingError as error:
        if error.sqlstate is None:  # not the server's: the address itself, which may hold a password
            raise SetupError("The address cannot be read: write postgresql://user@host/database.") from None
        raise


def _row(connection: psycopg.Connection[Any], statement: str) -> tuple[Any, ...]:
    row = connection.execute(statement).fetchone()
    assert row is not None
    return tuple(row)
