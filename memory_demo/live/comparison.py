"""The API's answers to the probes beside the stand-in's: what agrees, what differs, and the file that keeps it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memory_demo.live.probes import PROBES, Json, Kind, ask_all, probe_responder
from memory_demo.live.recordings import secret_in
from memory_demo.offline import offline_client

ANSWERS = "probes.json"


@dataclass(frozen=True)
class Row:
    """One probe with both answers."""

    name: str
    about: str
    kind: Kind
    api: Json
    stand_in: Json

    @property
    def differs(self) -> bool:
        """Whether the stand-in has a fact wrong."""
        return self.kind == "fact" and self.api != self.stand_in

    def __str__(self) -> str:
        if self.kind == "estimate" and isinstance(self.api, int) and self.api:
            return f"{self.name}: API {self.api:,}, stand-in {self.stand_in:,} ({self.stand_in / self.api - 1:+.1%})"
        return f"{self.name} ({self.about})\n    API:      {_short(self.api)}\n    stand-in: {_short(self.stand_in)}"


def stand_in_answers(model: str) -> dict[str, Json]:
    """What the stand-in answers."""
    return ask_all(PROBES, offline_client(probe_responder), model)


def compare(api: Mapping[str, Json], stand_in: Mapping[str, Json]) -> list[Row]:
    """A row for each probe that the API answered."""
    return [
        Row(probe.name, probe.about, probe.kind, api[probe.name], stand_in[probe.name])
        for probe in PROBES
        if probe.name in api
    ]


def save_answers(directory: Path, model: str, date: str, answers: Mapping[str, Json]) -> Path:
    """Write the API's answers as data for the tests of the stand-in, but for those that hold what looks like a secret."""
    path = directory / ANSWERS
    kept = {name: answer for name, answer in answers.items() if not secret_in(answer)}
    content = {"date": date, "model": model, "answers": kept}
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def load_answers(path: Path) -> tuple[str, dict[str, Json]]:
    """The model that was asked, and its answers."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content["model"], content["answers"]


def _short(answer: Json) -> str:
    text = json.dumps(answer, ensure_ascii=False)
    return text if len(text) <= 300 else f"{text[:300]}..."
