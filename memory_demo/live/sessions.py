"""The notebook, run against a recording client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from memory_demo.live.recordings import secret_in


def run_notebook(notebook: Path, directory: Path, environ: dict[str, str]) -> str:
    """Run a notebook in a fresh kernel with these variables, and save it with its outputs in the recording.

    What looks like a secret is not saved. Why it ended early, "" if it did not.
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
        store_widget_state=False,  # it would be beside the outputs, unscreened
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
        _withhold_secrets(document)
        nbformat.write(document, directory / notebook.name)
    return ""


def _withhold_secrets(document: Any) -> None:
    """Put a word on it in the place of each source and output that holds what looks like a secret."""
    from nbformat.v4 import new_output

    for cell in document.cells:
        if reason := secret_in(cell.source):
            cell.source = f"# The source was not kept: {reason}."
        for number, output in enumerate(cell.get("outputs", ())):
            if reason := secret_in(output):
                cell.outputs[number] = new_output("stream", text=f"The output was not kept: {reason}.\n")
