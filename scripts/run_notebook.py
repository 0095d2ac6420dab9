"""Run a notebook top to bottom and save it with its outputs, so that a second run changes nothing.

python scripts/run_notebook.py memory_cookbook.ipynb
"""

from __future__ import annotations

import argparse
import ast
import copy
import sys
import time
from pathlib import Path

import nbformat
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook

from memory_demo.live.notebook_run import notebook_client


def run(path: Path, timeout: int) -> NotebookNode:
    """Execute every cell in a fresh kernel that starts in the notebook's folder.

    Raises CellExecutionError at the first cell that fails, CellTimeoutError after `timeout` seconds in one cell.
    """
    notebook: NotebookNode = nbformat.read(path, as_version=4)
    return strip(_execute(notebook, path, timeout))


def imports_only(notebook: NotebookNode) -> NotebookNode:
    """The same notebook with nothing but its first cell, which finds the modules, and the imports of all others."""
    first, *others = (cell for cell in notebook.cells if cell.cell_type == "code")
    nodes = [node for cell in others for node in ast.parse(cell.source).body]
    imports = [ast.unparse(node) for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    imported: NotebookNode = new_notebook(cells=[first, new_code_cell("\n".join(imports))])
    return imported


def compare_times(path: Path, timeout: int) -> str:
    """How long the notebook takes beside one that only starts a kernel and imports the same; best of three, in turn."""
    whole = nbformat.read(path, as_version=4)
    best = {"whole": float("inf"), "imports": float("inf")}
    for _ in range(3):
        for name, notebook in (("imports", imports_only(whole)), ("whole", whole)):
            started = time.perf_counter()
            _execute(copy.deepcopy(notebook), path, timeout)
            best[name] = min(best[name], time.perf_counter() - started)
    ratio = best["whole"] / best["imports"]
    return f"{best['whole']:.1f} s; the imports alone take {best['imports']:.1f} s; ratio {ratio:.2f}"


def _execute(notebook: NotebookNode, path: Path, timeout: int) -> NotebookNode:
    notebook_client(notebook, path, timeout).execute()
    return notebook


def strip(notebook: NotebookNode) -> NotebookNode:
    """Drop what differs between two runs of the same code: the interpreter's version and cell metadata."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {key: value for key, value in cell.metadata.items() if key == "tags"}
    return notebook


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Run a notebook top to bottom and save it with its outputs.")
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--timeout", type=int, default=300, help="seconds allowed for one cell (default 300)")
    parser.add_argument("--time", action="store_true", help="print how long a run takes, and save nothing")
    arguments = parser.parse_args(argv)
    if arguments.time:
        print(compare_times(arguments.notebook, arguments.timeout))
        return 0
    print(f"Running {arguments.notebook}", flush=True)
    try:
        notebook = run(arguments.notebook, arguments.timeout)
    except FileNotFoundError:
        print(f"There is no notebook {arguments.notebook}.", file=sys.stderr)
        return 1
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        print(f"{error}\nThe notebook was not saved.", file=sys.stderr)
        return 1
    with arguments.notebook.open("w", encoding="utf-8", newline="\n") as file:
        nbformat.write(notebook, file)
    cells = sum(cell.cell_type == "code" for cell in notebook.cells)
    print(f"Saved {arguments.notebook} with the outputs of {cells} code cells")
    return 0


if __name__ == "__main__":
    sys.exit(main())
