"""The labelled set of attacks and look-alikes, and the texts that their commands would leave in files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from memory_demo.evaluation import poisoning

ATTACKS = json.loads(poisoning.ATTACKS.read_text("utf-8"))


def stored_texts(commands: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Path and whole text that each command would store, as a screen sees them."""
    files: dict[str, str] = {}
    for command in commands:
        match command["command"]:
            case "create":
                path, text = command["path"], command["file_text"]
            case "str_replace":
                path = command["path"]
                text = files[path].replace(command["old_str"], command["new_str"])
            case "insert":
                path, at = command["path"], command["insert_line"]
                lines = files[path].splitlines(keepends=True)
                text = "".join([*lines[:at], command["insert_text"], *lines[at:]])
            case "rename":
                path, text = command["new_path"], ""
        files[path] = text
        yield path, text
