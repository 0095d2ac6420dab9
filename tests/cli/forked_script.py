"""The script in a process that is forked from one that has imported the SDK, as that takes a second; all else is imported anew."""

import multiprocessing
import os
import runpy
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "memory_demo" / "code_review_demo.py"

_PROCESSES = multiprocessing.get_context("spawn" if sys.platform == "win32" else "forkserver")
_PROCESSES.set_forkserver_preload(["anthropic"])


def run_forked(arguments, cwd, env, stdin, streams):
    """The process when it has ended, its streams being files in the directory `streams`."""
    files = [streams / name for name in ("stdin", "stdout", "stderr")]
    for file, text in zip(files, (stdin, "", ""), strict=True):
        file.write_text(text, encoding="utf-8", newline="")
    path = [str(SCRIPT.parent), *(part for part in sys.path if Path(part).is_relative_to(sys.prefix))]
    path += [part for part in sys.path if Path(part).is_relative_to(sys.base_prefix)]
    process = _PROCESSES.Process(target=_be_the_script, args=(arguments, cwd, env, files, path))
    process.start()
    process.join(timeout=90)
    if process.exitcode is None:
        process.kill()
        raise subprocess.TimeoutExpired([SCRIPT, *arguments], 90)
    said = [file.read_text(encoding="utf-8") for file in files[1:]]
    return subprocess.CompletedProcess([SCRIPT, *arguments], process.exitcode, *said)


def _be_the_script(arguments, cwd, env, files, path):
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    for number, file in enumerate(files):
        os.dup2(os.open(file, os.O_RDWR), number)
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(number, mode, encoding="utf-8", errors=errors)
        for number, (mode, errors) in enumerate([("r", "strict"), ("w", "strict"), ("w", "backslashreplace")])
    )
    sys.argv[:], sys.path[:] = [str(SCRIPT), *arguments], path
    runpy.run_path(str(SCRIPT), run_name="__main__")
