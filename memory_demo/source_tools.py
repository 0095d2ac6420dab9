"""Two tools for a reviewer beside memory: read a source file, report a finding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anthropic import beta_tool
from anthropic.lib.tools import BetaFunctionTool, ToolError


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


def read_source_tool(files: Mapping[str, Path]) -> BetaFunctionTool[Any]:
    """A `read_source` tool that reads these UTF-8 text files, by the names given here, and no others."""

    @beta_tool
    def read_source(path: str) -> str:
        """Read one source file and return its text as it is.

        Args:
            path: Name of the file, as given in the request.
        """
        if path not in files:
            raise ToolError(
                f"There is no file {path[:200]!r} to read; ask for one of: {', '.join(list(files)[:20])}."
            )
        try:
            return files[path].read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            raise ToolError(f"{path} is not UTF-8 text; go on without it.") from None
        except OSError:
            raise ToolError(f"{path} cannot be read any more; go on without it.") from None

    return read_source


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
