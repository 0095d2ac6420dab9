"""The notebook, run against a recording client."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def run_notebook(notebook: Path, directory: Path, environ: dict[str, str]) -> str:
    """Run a notebook in a fresh kernel with these variables, and save it with its outputs in the recording.

    Why it ended early, "" if it did not.
    """
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    if not notebook.exists():
        return f"there is no {notebook}; run it from a checkout."
    document: Any = nbformat.read(notebook, as_version=4)
    client = NotebookClient(
        document,
        timeout=1800,
        kernel_name="python3",
        record_timing=False,
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
        resources={"metadata": {"path": str(notebook.resolve().parent)}},
    )
    try:
        client.execute(env=environ)
    except CellExecutionError as error:
        return f"{error.ename}: {error.evalue}".split("\n")[0]
    except (CellTimeoutError, DeadKernelError) as error:
        return str(error).split("\n")[0]
    finally:
        nbformat.write(document, directory / notebook.name)
    return ""
