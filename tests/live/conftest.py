"""The stand-in over loopback HTTP, as if it were the API."""

import nbformat
import pytest
from loopback import KEY, SYSTEM, respond

from memory_demo.offline import OfflineAPI


@pytest.fixture
def serve(serve):
    """Serves an API, the one of these tests unless another is given, and gives its URL."""
    return lambda api=None: serve(api or OfflineAPI(respond))


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """Settings from these variables alone, and an empty working directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("OFFLINE", "REPLAY", "RECORD", "BUDGET"):
        monkeypatch.delenv(f"MEMORY_COOKBOOK_{name}", raising=False)
    for name in ("ANTHROPIC_MODEL", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)

    def use(url, key=KEY):
        monkeypatch.setenv("ANTHROPIC_API_KEY", key)
        monkeypatch.setenv("ANTHROPIC_BASE_URL", url)

    return use


SESSION = """
import sys
sys.path.insert(0, {root!r})
import tempfile
from memory_demo.demo_helpers import run_conversation_loop
from memory_demo.settings import connect
from memory_tool import MemoryToolHandler

client, model, _ = connect()
with tempfile.TemporaryDirectory() as folder:
    memory = MemoryToolHandler(folder)
    for words, stream in (("Note: the door code is on the blue card", False), ("Where is it?", True)):
        messages = [{{"role": "user", "content": words}}]
        answer = run_conversation_loop(client, model, messages, memory, {system!r}, stream=stream, max_tokens=500)
        print(answer.content[-1].text)
"""


@pytest.fixture
def notebook(tmp_path, request):
    """A notebook of two sessions, one plain and one streamed."""
    source = SESSION.format(root=str(request.config.rootpath), system=SYSTEM)
    document = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    nbformat.write(document, tmp_path / "small.ipynb")
    return tmp_path / "small.ipynb"
