"""The page on scaling says how tables are split by tenant: its lines are run, and the memory goes on."""

import re
import uuid
from pathlib import Path

import psycopg
from postgres_server import ROLE, Server

from memory_stores.postgres import PostgresStore, migrate
from memory_tool import MemoryToolHandler

PAGE = Path(__file__).resolve().parents[2] / "docs" / "scaling.md"


def test_versions_are_partitioned_as_the_page_says(server: Server) -> None:
    database = server.new_database()
    migrate(database.owner, role=ROLE)
    handlers = [
        MemoryToolHandler(store=PostgresStore(database.app, (f"{number}",)), history="us")
        for number in range(20)
    ]
    for number, handler in enumerate(handlers):
        handler.execute(command="create", path="/memories/note", file_text=f"{number}\n")
    before = [handler.history.versions() for handler in handlers]

    [lines] = re.findall(r"```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    with psycopg.connect(database.owner, autocommit=True) as connection:
        connection.execute(lines.replace("memory_app", ROLE))

    assert [handler.history.versions() for handler in handlers] == before
    used = database.sql("SELECT count(DISTINCT tableoid) FROM memory_store.versions")
    assert used[0][0] > 5
    for number, handler in enumerate(handlers):
        handler.execute(command="str_replace", path="/memories/note", old_str=f"{number}", new_str="new")
        [_, changed] = handler.history.versions()
        assert handler.history.undo(changed.id) == {"success": "/memories/note"}
        assert handler.store.read(("note",)) == f"{number}\n".encode()
    with psycopg.connect(database.app, autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM memory_store.versions").fetchone() == (0,)
        plan = str(
            connection.execute(
                "EXPLAIN SELECT FROM memory_store.versions WHERE tenant = %s",
                [uuid.UUID(int=1)],
                prepare=False,
            ).fetchall()
        )
        assert len(set(re.findall(r"versions_\d+", plan))) <= 1, plan
        try:
            connection.execute("SELECT FROM memory_store.versions_3")
        except psycopg.errors.InsufficientPrivilege:
            return
        raise AssertionError("the ordinary role reaches a partition")
