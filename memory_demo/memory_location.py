"""Where the notes of a repository's reviews are kept: in a directory of the user, out of the reach of what is reviewed."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from pathlib import Path

import platformdirs


def default_memory(folder: Path) -> Path:
    """The memory directory for the repository around a folder, for the folder itself outside of any.

    All worktrees of a repository share one. Nothing is created.
    """
    root = _repository(folder) or folder.resolve()
    name = re.sub(r"[^\w.-]", "_", (root.parent if root.name == ".git" else root).name)
    digest = hashlib.sha256(bytes(root)).hexdigest()[:12]
    return platformdirs.user_data_path("memory-review", appauthor=False) / f"{name}-{digest}"


def _repository(folder: Path) -> Path | None:
    """The directory in which git keeps the repository around a folder."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--git-common-dir"], cwd=folder, capture_output=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return (folder / os.fsdecode(done.stdout.removesuffix(b"\n"))).resolve()
