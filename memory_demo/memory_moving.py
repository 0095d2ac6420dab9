"""`memory migrate` and `memory copy`: a database made ready for memory, and a memory moved to it or back."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from memory_demo.command_error import CommandError
from memory_demo.console import say
from memory_demo.memory_location import MemoryLocation, postgres_store_class

if TYPE_CHECKING:
    from memory_stores import VersionedStore


def add_moving_actions(actions: Any, common: argparse.ArgumentParser) -> None:
    """Add the two actions to those of `memory`."""
    text = "prepare a database, as its owner: --memory has the owner's address"
    migrate = actions.add_parser("migrate", parents=[common], help=text, description=text.capitalize() + ".")
    migrate.add_argument(
        "--role",
        default="memory_app",
        help="login that reviews use, made if it is missing (default: memory_app)",
    )
    migrate.set_defaults(run=_migrate)
    text = "copy a memory with its history to a place that holds none"
    copy = actions.add_parser("copy", help=text, description=text.capitalize() + ".")
    for name in ("from", "to"):
        copy.add_argument(name, metavar=name.upper(), help="directory or postgresql:// address")
    for name in ("from", "to"):
        copy.add_argument(
            f"--{name}-scope",
            action="append",
            default=[],
            metavar="PART",
            help=f"whose memory in {name.upper()}; repeat for each part",
        )
    copy.set_defaults(run=run_copy)


def _migrate(arguments: argparse.Namespace) -> int:
    if not arguments.memory.is_database:
        raise CommandError("A directory needs no preparation; name a database with --memory postgresql://...")
    if arguments.memory.scope:
        raise CommandError("A database is prepared once for all tenants: leave --scope out.")
    postgres_store_class()
    from memory_stores.postgres import SetupError, migrate

    try:
        migrate(arguments.memory.where, role=arguments.role)
    except SetupError as error:
        raise CommandError(f"{arguments.memory} was not prepared: {error}") from error
    say(
        f"{arguments.memory} is ready for {arguments.role}. If that login is new, give it a password: "
        f"ALTER ROLE {arguments.role} PASSWORD '...'"
    )
    return 0


def run_copy(arguments: argparse.Namespace) -> int:
    """Copy a memory from one place to another, and say how much it was."""
    from memory_stores.copying import NotEmpty, copy_memory
    from memory_stores.protocol import BadName, StoreError
    from memory_tool import MemoryToolHandler

    old = MemoryLocation(getattr(arguments, "from"), tuple(arguments.from_scope))
    new = MemoryLocation(arguments.to, tuple(arguments.to_scope))
    if not old.exists():
        raise CommandError(f"There is nothing in {old}.")
    source = old.store()
    try:
        if _holds_nothing(source):
            raise CommandError(f"There is nothing in {old}.")
        copied = copy_memory(source, new.store(unlimited=True))
    except NotEmpty:
        raise CommandError(f"{new} holds a memory already, so nothing was copied.") from None
    except BadName as error:
        raise CommandError(f"Nothing was copied, as {new} cannot hold the name {str(error)!a}.") from error
    except StoreError as error:
        cause = f": {error.__cause__}" if error.__cause__ else ""
        raise CommandError(
            f"Nothing was copied, as {type(error).__name__} was raised for {error}{cause}."
        ) from error
    say(f"Copied {copied.files:,} files and {copied.versions:,} versions from {old} to {new}.")
    waiting = len(MemoryToolHandler(store=source).proposals.list())
    if waiting:
        say(f"{waiting} proposals that wait for approval stay in {old}.", sys.stderr)
    return 0


def _holds_nothing(store: VersionedStore) -> bool:
    """Whether there is no file and no version; directories alone are nothing to copy."""
    return all(entry.is_directory for entry in store.entries()) and next(iter(store.versions()), None) is None
