"""A change is whole or never was, whichever call of the system its writer was killed before."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

BEFORE = {"deep": "", "deep/in": "", "deep/in/file": "deep", "notes": "old", "other": "other"}
AFTER = {
    "copy": {"made": "made"},
    "create": {"made": "made"},
    "create in new directories": {"new": "", "new/er": "", "new/er/made": "made"},
    "edit": {"notes": "old and new"},
    "overwrite what has a second name": {"notes": "new"},
    "delete": {"notes": None},
    "delete a directory": {"deep": None, "deep/in": None, "deep/in/file": None},
    "rename": {"notes": None, "moved": "", "moved/notes": "old"},
    "several": {
        "notes": None,
        "moved": "",
        "moved/notes": "old",
        "other": "changed",
        "deep/in/file": None,
    },
}
RECORDED = {"edit": 1, "delete": 1}
ADOPTED = {"copy": 3}


@pytest.mark.skipif(sys.platform == "win32", reason="forks; CI runs Linux and macOS")
@pytest.mark.parametrize(
    ("change", "how"),
    [
        *itertools.product(AFTER, ["plain"]),
        *itertools.product(RECORDED, ["recorded"]),
        *itertools.product(
            ["copy", "edit", "overwrite what has a second name", "delete"], ["by resolved paths"]
        ),
        ("several", "pruned"),
    ],
)
def test_killed_before_any_call_a_change_is_whole_or_never_was(
    change: str, how: str, memory_disk: Path
) -> None:
    program = [sys.executable, "-m", "tests.stores.killed_at_every_call", str(memory_disk), change, how]
    run = subprocess.run(program, cwd=Path(__file__).parents[2], capture_output=True)
    assert run.returncode == 0, run.stderr.decode()
    kills = [json.loads(line) for line in run.stdout.splitlines()]

    after = {path: text for path, text in {**BEFORE, **AFTER[change]}.items() if text is not None}
    found = [kill["found"] for kill in kills]
    never_was = found.count(BEFORE)
    assert found == [BEFORE] * never_was + [after] * (len(kills) - never_was), (
        "there is one moment that counts"
    )
    assert 0 < never_was < len(kills) - 1

    recorded = [len(kill["versions"]) for kill in kills]
    made = (3, RECORDED[change]) if how == "recorded" else (0, ADOPTED.get(change, 0))
    assert recorded == [made[0]] * never_was + [sum(made)] * (len(kills) - never_was)
    for kill in kills:
        assert kill["counted"] == kill["there"] and not kill["staged"] and not kill["unused"], (
            "the next change leaves no trace of it"
        )
