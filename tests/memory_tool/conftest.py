from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from memory_stores import confined
from memory_tool import MemoryToolHandler


@pytest.fixture(params=["descriptors", "resolved paths"])
def platform(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test twice: as on Linux and macOS, and as where nothing opens relative to a directory."""
    if request.param == "resolved paths":
        monkeypatch.setattr(confined, "DIR_FD", False)
    return str(request.param)


@pytest.fixture
def handler(tmp_path: Path) -> MemoryToolHandler:
    return MemoryToolHandler(tmp_path / "base")


@pytest.fixture
def root(handler: MemoryToolHandler) -> Path:
    return handler.memory_root


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A directory beside the store with a canary in it, which no command may read, change or list."""
    directory = tmp_path / "outside"
    directory.mkdir()
    canary = directory / "canary.txt"
    canary.write_text("yellow feathers", encoding="utf-8")
    yield directory
    assert canary.read_text(encoding="utf-8") == "yellow feathers"
    assert [path.name for path in directory.iterdir()] == ["canary.txt"]
