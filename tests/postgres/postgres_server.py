"""Where the tests find their database."""

import uuid

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

ROLE = "memory_test_app"


class Server:
    """Addresses of one database: of its owner, and of the ordinary role."""

    def __init__(self, owner: str, pooler: str = "") -> None:
        self.owner, self._pooler = owner, pooler

    @property
    def name(self) -> str:
        return str(conninfo_to_dict(self.owner)["dbname"])

    @property
    def app(self) -> str:
        return self.of(ROLE)

    def of(self, user: str) -> str:
        given = conninfo_to_dict(self.owner)
        kept = {name: given[name] for name in ("host", "port", "dbname") if name in given}
        return make_conninfo("", **{**kept, **conninfo_to_dict(self._pooler), "user": user})

    def new_database(self) -> "Server":
        name = f"test_{uuid.uuid4().hex}"
        with psycopg.connect(self.owner, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return Server(make_conninfo(self.owner, dbname=name), self._pooler)

    def sql(self, statement: str, values: object = None) -> list[tuple]:
        """What a superuser sees, whom no policy binds."""
        with psycopg.connect(self.owner, autocommit=True) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []
