"""The package as a stranger has it: built into a wheel, installed elsewhere, used in a folder that is not ours."""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from memory_demo.offline import OfflineAPI
from memory_demo.offline.__main__ import server_for
from memory_demo.reviewer import review

ROOT = Path(__file__).resolve().parents[2]
PACKED = ("memory_tool.py", "memory_screens.py", "memory_stores", "memory_demo")
SNIPPET = re.search(
    r"^## In your own project.*?^```python\n(.*?)^```",
    (ROOT / "README.md").read_text("utf-8"),
    flags=re.M | re.S,
)[1]


def run(command, folder, **changes):
    """Run a command without anybody's settings."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("ANTHROPIC_", "MEMORY_"))
    }
    return subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={**kept, "PYTHONIOENCODING": "utf-8", **changes},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def pip(*arguments):
    quietly = ("--quiet", "--disable-pip-version-check")
    done = run([sys.executable, "-m", "pip", *quietly, *arguments], ROOT, PIP_NO_INDEX="1")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder into which the wheel was installed; the dependencies are those of this environment."""
    wheels, folder = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("installed")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", wheels, ROOT)
    [wheel] = wheels.iterdir()
    pip("install", "--no-deps", "--target", folder, wheel)
    return folder


@pytest.fixture
def stranger(tmp_path):
    """A folder whose modules leave a mark if they are imported, with an `.env` of its own and a file to review."""
    folder = tmp_path / "stranger"
    folder.mkdir()
    for module in ("dotenv", "json", "anthropic", "memory_tool"):
        (folder / f"{module}.py").write_text("open('imported', 'a').close()\nraise SystemExit(99)\n", "utf-8")
    (folder / ".env").write_text("ANTHROPIC_MODEL=claude-3-7-sonnet-20250219\n", "utf-8")
    shutil.copy(ROOT / "memory_demo" / "sample_code" / "data_processor_v1.py", folder / "app.py")
    yield folder
    assert not (folder / "imported").exists()


@pytest.fixture
def stand_in():
    """The settings that send a client to a stand-in on loopback."""
    server = server_for(OfflineAPI(review))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield {"ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port}", "ANTHROPIC_API_KEY": "loopback"}
    server.should_exit = True
    thread.join(timeout=10)


def test_the_wheel_holds_the_files_that_git_has_of_it(installed):
    listed = run(["git", "ls-files", "--cached", "--others", "--exclude-standard", *PACKED], ROOT)
    ours = {path for path in listed.stdout.splitlines() if (ROOT / path).exists()}
    files = (path.relative_to(installed) for path in installed.rglob("*") if path.is_file())
    packed = {path.as_posix() for path in files if path.parts[0] in PACKED and path.suffix != ".pyc"}
    assert packed == ours
    assert {"memory_demo/labels.json", "memory_demo/sample_code/fixed/cache_manager.py"} < packed
    beside = {path.name for path in installed.iterdir()} - {*PACKED, "bin", "__pycache__"}
    assert all(name.startswith("memory_cookbook-") for name in beside)


@pytest.mark.parametrize("copied", [False, True], ids=["installed", "copied"])
def test_the_readmes_snippet_runs(copied, installed, stranger, stand_in, tmp_path):
    home = tmp_path / "mine" if copied else installed
    program = tmp_path / "mine" / "program.py"
    program.parent.mkdir()
    code = f"{SNIPPET}\nimport json, memory_stores\nprint(json.dumps([memory_stores.__file__, str(memory.memory_root)]))"
    if copied:
        code = code.replace("memory_demo.demo_helpers", "demo_helpers")
        shutil.copytree(ROOT / "memory_stores", home / "memory_stores")
        for file in ("memory_tool.py", "memory_demo/demo_helpers.py"):
            shutil.copy(ROOT / file, home)
    program.write_text(code, "utf-8")
    path = {} if copied else {"PYTHONPATH": str(installed)}
    done = run([sys.executable, program], stranger, **stand_in, **path)
    assert done.returncode == 0, done.stderr
    *answer, ours = done.stdout.splitlines()
    assert answer
    assert [Path(place) for place in json.loads(ours)] == [
        home / "memory_stores" / "__init__.py",
        stranger / "memory_storage" / "memories",
    ]


@pytest.fixture(scope="module")
def beyond_the_base(installed, tmp_path_factory):
    """A folder for PYTHONPATH that hides whatever the wheel's base dependencies do not bring."""
    [wheel] = importlib.metadata.distributions(path=[str(installed)])
    brought = with_all_below(wheel.requires)
    hidden = {
        module
        for module, names in importlib.metadata.packages_distributions().items()
        if not brought & {canonicalize_name(name) for name in names}
    }
    assert {"matplotlib", "pandas", "pytest"} < hidden
    folder = tmp_path_factory.mktemp("beyond_the_base")
    (folder / "sitecustomize.py").write_text(
        f"import sys\nHIDDEN = {hidden}\n"
        "class Hide:\n"
        "    def find_spec(name, path=None, target=None):\n"
        "        if name.partition('.')[0] in HIDDEN:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Hide)\n",
        "utf-8",
    )
    return folder


def with_all_below(requirements, extras=()):
    """The names of the distributions that these requirements bring, on this machine."""
    names = set()
    for requirement in map(Requirement, requirements or ()):
        if requirement.marker and not any(
            requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras)
        ):
            continue
        names.add(canonicalize_name(requirement.name))
        names |= with_all_below(importlib.metadata.requires(requirement.name), requirement.extras)
    return names


@pytest.fixture
def memory_review(installed, beyond_the_base, stranger):
    """Run the installed command in the stranger's folder, with base dependencies only."""

    def memory_review(*arguments, **changes):
        path = os.pathsep.join(map(str, (installed, beyond_the_base)))
        command = [shutil.which("memory-review", path=installed / "bin"), *arguments]
        return run(command, stranger, PYTHONPATH=path, **changes)

    return memory_review


def test_memory_review_needs_base_dependencies_only_and_takes_nothing_from_the_folder(memory_review):
    learnt = memory_review("--offline", "--session", "1")
    assert (learnt.returncode, learnt.stderr) == (0, "")
    assert "not Claude" in learnt.stdout and "It wrote to memory" in learnt.stdout
    review = ("--offline", "--memory", "memory_storage", "review", "app.py")
    applied = memory_review(*review, "--format", "json", "--fail-on-findings")
    assert applied.returncode == 1, applied.stderr
    assert {finding["file"] for finding in json.loads(applied.stdout)["findings"]} == {"app.py"}


def test_an_installed_package_reads_the_env_file_that_is_named(memory_review):
    named = memory_review("--offline", "--env", ".env", "review", "app.py")
    assert named.returncode == 2
    assert named.stderr.startswith("memory-review: ") and "claude-3-7-sonnet-20250219" in named.stderr


def test_installed_it_says_where_a_key_is_read(memory_review, stand_in):
    offline = ("--memory", "memory_storage", "review", "app.py")
    notice = memory_review(*offline).stdout
    assert notice.startswith("Offline, because there is no ")
    named = re.search(r"A key in (\w+) gives a real review\.", notice)
    assert named, notice
    assert stand_in.keys() == {"ANTHROPIC_BASE_URL", named[1]}
    assert memory_review(*offline, **stand_in).stdout.startswith(f"Live, because {named[1]} is set in ")
