"""The notebook as with a key: a loopback server answers as if it were the API, strict, with replies that Claude could give."""

import re

import pytest
from claude_like import content, thorough

from memory_demo.offline import OfflineAPI
from scripts.run_in_jupyterlab import NOTEBOOK, copy_of_repository
from scripts.run_notebook import run

KEY = "canary-key-of-this-test"
MANY_REQUESTS = ("ablate-run", "notes-table-run", "clearing-run", "settings-run", "ways-run", "poison-run")

# What holds whoever answers.
CLAIMS = {
    "clearing-run": "and they stay below the trigger",
    "async-run": "every answer names Tuesday",
    "cli": "the review was completed",
}


class StrictAPI(OfflineAPI):
    """The stand-in, which also keeps the keys that it was shown, and what it refused."""

    def __init__(self, responder):
        super().__init__(responder)
        self.refused, self.keys = [], set()

    def handle(self, method, path, headers, body):
        answer = super().handle(method, path, headers, body)
        # The SDK's own loop asks for a thread first, and goes on without where there are none.
        if answer.status != 200 and b"thread_unsupported_request" not in answer.body:
            self.refused.append((path, answer.body))
        self.keys.add(headers["authorization"])
        return answer


@pytest.fixture
def run_live(serve, tmp_path, monkeypatch):
    """Runs the notebook as with a key, where a cell that asks for input fails: what each code cell said, by its id."""

    def go(responder, spend, model):
        api = StrictAPI(responder)
        environment = {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": serve(api), "ANTHROPIC_MODEL": model}
        for name in ("ANTHROPIC_AUTH_TOKEN", "MEMORY_COOKBOOK_OFFLINE", "MEMORY_COOKBOOK_REPLAY"):
            monkeypatch.delenv(name, raising=False)
        for name, value in {**environment, "TMPDIR": str(temporary)}.items():
            monkeypatch.setenv(name, value)
        notebook = copy_of_repository(tmp_path) / NOTEBOOK
        source = notebook.read_text(encoding="utf-8")
        assert source.count("SPEND = False") == 1
        notebook.write_text(source.replace("SPEND = False", f"SPEND = {spend}"), encoding="utf-8")
        cells = [cell for cell in run(notebook, timeout=100).cells if cell.cell_type == "code"]
        assert (api.refused, api.keys) == ([], {f"Bearer {KEY}"})
        return {cell.id: "\n".join(map(_text, cell.outputs)) for cell in cells}

    temporary = tmp_path / "tmp"
    temporary.mkdir()
    yield go
    assert list(temporary.glob("tmp*")) == [], "what tempfile has made goes with the kernel"


def _text(output):
    data = output.get("data", {})
    return output.get("text") or data.get("text/markdown") or data.get("text/plain", "")


def assert_said_to_be_live(said, model):
    assert said["connect"].startswith(f"Answers come from {model} because ANTHROPIC_API_KEY is set")
    assert f"Answered by {model}." in said["results"]
    for cell, text in said.items():
        for claim in ("Checked:", "stand-in", "Offline", "rule-based", "estimates"):
            assert claim not in text, f"{cell} claims what is so offline"


@pytest.mark.timeout(180)
def test_with_several_notes_in_markdown_and_words_before_each_tool_use(run_live):
    said = run_live(thorough, True, "claude-sonnet-5-5")
    assert_said_to_be_live(said, "claude-sonnet-5-5")
    assert "/memories/reviews/python-races.md" in said["learnt-note"]
    assert "line 10000" in said["session-2-findings"]
    assert not any("Skipped" in text for text in said.values())
    for cell, claim in CLAIMS.items():
        assert f"This time: {claim}" in said[cell], said[cell]
    for cell in MANY_REQUESTS:
        assert "|" in said[cell] or "This time" in said[cell], cell


@pytest.mark.timeout(180)
def test_with_no_findings_and_nothing_to_spend(run_live):
    """By an alias, as ANTHROPIC_MODEL may name a model by one."""
    said = run_live(content, False, "claude-haiku-4-5")
    assert_said_to_be_live(said, "claude-haiku-4-5")
    assert said["learnt-note"] == ""
    skipped = {cell: " ".join(text.split()) for cell, text in said.items() if "Skipped" in text}
    assert tuple(skipped) == MANY_REQUESTS
    for text in skipped.values():
        assert re.search(r"Skipped: .*, about [\d,]+ requests with [\d,]+ input tokens", text)
