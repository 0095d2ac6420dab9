"""What the screens say of texts whose authors are known: attacks they mark, and harmless notes they mark too."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from memory_screens import SCREENS

OWN = Path(__file__).with_name("attacks.json")
PUBLIC = Path(__file__).with_name("public_attacks.json")


class TextSet(NamedTuple):
    """Texts with their paths, who wrote them, and under which licence. A text that comes in steps is its last state."""

    name: str
    by: str
    attacks: tuple[tuple[str, str], ...]
    harmless: tuple[tuple[str, str], ...]


def read_sets() -> tuple[TextSet, ...]:
    """This project's own set, by kind of attack, and the public ones."""
    own = json.loads(OWN.read_text(encoding="utf-8"))
    harmless = tuple(_stored(case["commands"]) for case in own["harmless"])
    kinds = dict.fromkeys(case["kind"] for case in own["poisoned"])
    return (
        *(_of_kind(own["poisoned"], kind) for kind in kinds),
        TextSet("harmless", _US, (), harmless),
        *_public(),
    )


def marks_table(sets: Iterable[TextSet]) -> pd.DataFrame:
    """One row a set: how many attacks and harmless notes any of the screens marks."""
    rows = {
        text_set.name: {
            "written by": text_set.by,
            "attacks marked": _rate(text_set.attacks),
            "harmless marked": _rate(text_set.harmless),
        }
        for text_set in sets
    }
    return pd.DataFrame.from_dict(rows, orient="index")


_US = "this project"


def _of_kind(cases: Sequence[Mapping[str, Any]], kind: str) -> TextSet:
    texts = [_stored(case["commands"]) for case in cases if case["kind"] == kind]
    return TextSet(kind.replace("_", " "), _US, tuple(texts), ())


def _public() -> Iterator[TextSet]:
    for each in json.loads(PUBLIC.read_text(encoding="utf-8"))["sets"]:
        attacks, harmless = (
            tuple(("/memories/notes.md", case["text"]) for case in each[part])
            for part in ("attacks", "harmless")
        )
        yield TextSet(each["name"], f"{each['by']} (MIT)", attacks, harmless)


def stored_texts(commands: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Path and whole text of the file that each of these commands leaves."""
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
                path, text = command["new_path"], files.pop(command["old_path"])
        files[path] = text
        yield path, text


def _stored(commands: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    *_, last = stored_texts(commands)
    return last


def _rate(texts: Sequence[tuple[str, str]]) -> str:
    marked = sum(any(screen(path, text) for screen in SCREENS) for path, text in texts)
    return f"{marked}/{len(texts)}" if texts else "-"
