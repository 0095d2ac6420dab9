"""Three tools for a reviewer beside memory: list the source files, read one, report a finding."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anthropic import beta_tool
from anthropic.lib.tools import BetaFunctionTool, ToolError

_MOST_LISTED = 100


@dataclass(frozen=True)
class ReportedFinding:
    """One bug as a reviewer reported it; lines are 1-based and inclusive.

    `note` is the memory file that led to it, or "". `existing` says that it was there before the change under review.
    """

    file: str
    line: int
    end_line: int
    category: str
    cause: str
    fix: str
    note: str = ""
    existing: bool = False


def python_files(folder: Path) -> dict[str, Path]:
    """The Python files directly inside a folder, by name; links are left out."""
    return {
        path.name: path for path in sorted(folder.glob("*.py")) if path.is_file() and not path.is_symlink()
    }


def list_sources_tool(files: Mapping[str, Path]) -> BetaFunctionTool[Any]:
    """A `list_sources` tool for these files, by the names given here."""

    @beta_tool
    def list_sources(containing: str = "") -> str:
        """List the source files that read_source can read, with sizes in bytes and SHA-256.

        A file whose SHA-256 is the one that memory names has not changed.

        Args:
            containing: Only paths that contain this text.
        """
        found = [name for name in files if containing in name]
        rows = [f"{name}\t{_size_and_sha256(files[name])}" for name in found[:_MOST_LISTED]]
        if len(found) > _MOST_LISTED:
            rows.append(f"and {len(found) - _MOST_LISTED:,} more; give a longer part of the path")
        return "\n".join(rows) or "There is no such file to read."

    return list_sources


def read_source_tool(files: Mapping[str, Path]) -> BetaFunctionTool[Any]:
    """A `read_source` tool that reads these UTF-8 text files, by the names given here, and no others."""

    @beta_tool
    def read_source(path: str) -> str:
        """Read one source file. After its text comes one line with its name, size and SHA-256.

        Args:
            path: Name of the file, as given in the request or by list_sources.
        """
        if path not in files:
            raise ToolError(
                f"There is no file {path[:200]!r} to read; ask for one of: {', '.join(list(files)[:20])}."
            )
        try:
            data = files[path].read_bytes()
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise ToolError(f"{path} is not UTF-8 text; go on without it.") from None
        except OSError:
            raise ToolError(f"{path} cannot be read any more; go on without it.") from None
        return f"{text}\n[{path}: {len(data):,} bytes, SHA-256 {hashlib.sha256(data).hexdigest()}]"

    return read_source


def source_in(result: str) -> str:
    """The text of the file in what read_source gave, without the line that comes after it."""
    return re.sub(r"\n\[[^\n]*\]\Z", "", result)


def report_finding_tool(found: list[ReportedFinding]) -> BetaFunctionTool[Any]:
    """A `report_finding` tool that appends to `found`, so that findings can be counted without reading prose."""

    @beta_tool
    def report_finding(
        file: str,
        line: int,
        end_line: int,
        category: str,
        cause: str,
        fix: str,
        note: str = "",
        existing: bool = False,
    ) -> str:
        """Report one bug. Call it once for each bug you are sure of.

        Args:
            file: Name of the file that has the bug.
            line: First line of the code that is wrong.
            end_line: Last line of the code that is wrong.
            category: One of race-condition, sql-injection, shared-mutable-state; another short name if none fits.
            cause: What goes wrong and why, in one sentence.
            fix: What to change, in one sentence.
            note: Path of the memory file that led to it, if one did.
            existing: Whether the bug was there before the change, where a request is about a change.
        """
        found.append(ReportedFinding(file, line, end_line, category, cause, fix, note, existing))
        return "Noted."

    return report_finding


def _size_and_sha256(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError:
        return "-\tcannot be read"
    return f"{len(data):,}\t{hashlib.sha256(data).hexdigest()}"
