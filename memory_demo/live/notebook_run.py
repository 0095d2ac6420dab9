"""A notebook run in a kernel of its own, for its saved outputs or for a recording."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memory_demo.live.recordings import secret_in

if TYPE_CHECKING:
    from nbclient import NotebookClient


def notebook_client(document: Any, notebook: Path, timeout: int) -> NotebookClient:
    """What runs a notebook that was read from a file, in a fresh kernel that starts in the file's folder.

    `timeout` is in seconds, for each cell.
    """
    from nbclient import NotebookClient
    from traitlets.config import Config

    return NotebookClient(
        document,
        timeout=timeout,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        store_widget_state=False,  # in a recording it would be beside the outputs, unscreened
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
        # A kernel removes its temporary files as it ends, which a busy machine takes longer for than the usual 2.5 s.
        config=Config({"KernelManager": {"shutdown_wait_time": 60.0}}),
        resources={"metadata": {"path": str(notebook.resolve().parent)}},
    )


def run_notebook(notebook: Path, directory: Path, environ: dict[str, str]) -> str:
    """Run a notebook in a fresh kernel with these variables, and save it with its outputs in the recording.

    What looks like a secret is not saved. Why it ended early, "" if it did not.
    """
    import nbformat
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    if not notebook.exists():
        return f"there is no {notebook}; run it from a checkout."
    document: Any = nbformat.read(notebook, as_version=4)
    try:
        notebook_client(document, notebook, 1800).execute(env=environ)
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
            if reason := secret_in(_without_colours(output)):
                cell.outputs[number] = new_output("stream", text=f"The output was not kept: {reason}.\n")


def _without_colours(output: Any) -> Any:
    """As a traceback reads: its colours stand between a name and its value."""
    return json.loads(re.sub(r"\\u001b\[[0-9;]*m", "", json.dumps(output)))
