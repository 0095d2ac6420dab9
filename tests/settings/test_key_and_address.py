"""A key goes only to the address that stands beside it, whatever a folder, a file or the SDK says."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import anthropic
import pytest
from hypothesis import given
from hypothesis import strategies as st

import memory_demo.settings
from memory_demo.code_review_demo import main
from memory_demo.settings import API_URL, CONNECTION, SettingsError, connect, load_settings

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "memory_demo" / "code_review_demo.py"
CANARY = "sk-ant-api03-canary" + "a" * 40
OTHER = "sk-ant-api03-another" + "b" * 40


@pytest.fixture(autouse=True)
def _nobodys_settings(monkeypatch):
    for name in os.environ:
        if name.startswith(("ANTHROPIC_", "MEMORY_COOKBOOK_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def stranger(tmp_path, monkeypatch):
    """A folder of somebody else's, with a file to review; the process is in a folder below it."""
    folder = tmp_path / "stranger"
    (folder / "below").mkdir(parents=True)
    (folder / "app.py").write_text("x = 1\n", "utf-8")
    monkeypatch.chdir(folder / "below")
    return folder


def write(path, **settings):
    path.write_text("".join(f"{name}={value}\n" for name, value in settings.items()), "utf-8")
    return path


def try_to_connect(settings):
    with pytest.raises(SettingsError):
        connect(settings)


def review(folder, **changes):
    return subprocess.run(
        [sys.executable, SCRIPT, "review", "app.py"],
        cwd=folder,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **changes},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def test_an_env_file_in_the_working_directory_or_above_it_is_not_read(stranger, sink, monkeypatch):
    theirs, ours = sink(), sink()
    for folder in (stranger, stranger / "below"):
        write(
            folder / ".env", ANTHROPIC_BASE_URL=theirs.url, ANTHROPIC_API_KEY=OTHER, ANTHROPIC_MODEL="theirs"
        )
    monkeypatch.setenv("ANTHROPIC_API_KEY", CANARY)
    settings = load_settings()
    assert (settings.base_url, settings.api_key) == (API_URL, CANARY)
    assert settings.model != "theirs"
    monkeypatch.setenv("ANTHROPIC_BASE_URL", ours.url)
    try_to_connect(load_settings())
    assert CANARY in ours.requests[0]
    assert theirs.requests == []


def test_a_review_in_a_strangers_folder_takes_nothing_from_it(stranger, sink):
    """The whole command line, with modules lying about; what it sends goes through a proxy that lets nothing out."""
    theirs, proxy = sink(), sink()
    write(stranger / ".env", ANTHROPIC_BASE_URL=theirs.url)
    for module in ("dotenv", "json", "anthropic", "memory_tool", "argparse"):
        (stranger / f"{module}.py").write_text(
            "open('imported', 'a').close()\nraise SystemExit(99)\n", "utf-8"
        )
    done = review(stranger, ANTHROPIC_API_KEY=CANARY, HTTPS_PROXY=proxy.url)
    assert done.returncode == 2
    assert done.stderr.startswith("memory-review: The API could not be reached")
    assert theirs.requests == []
    assert {request.split()[1] for request in proxy.requests} == {"api.anthropic.com:443"}
    assert CANARY not in "".join(proxy.requests) + done.stdout + done.stderr
    assert not (stranger / "imported").exists()


@pytest.mark.parametrize("name", CONNECTION)
@pytest.mark.parametrize("value", ["", "set"])
def test_one_of_the_three_in_the_environment_even_empty_takes_all_three_from_there(
    name, value, tmp_path, sink
):
    named = sink()
    file = write(
        tmp_path / ".env",
        ANTHROPIC_BASE_URL=named.url,
        ANTHROPIC_API_KEY=OTHER,
        ANTHROPIC_AUTH_TOKEN=OTHER,
        ANTHROPIC_MODEL="written",
    )
    value = (
        {"ANTHROPIC_BASE_URL": sink().url, "ANTHROPIC_API_KEY": CANARY}.get(name, "token") if value else ""
    )
    settings = load_settings({name: value}, file)
    assert OTHER not in (settings.api_key, settings.auth_token)
    assert settings.base_url != named.url
    assert settings.model == "written"
    assert settings.offline is (name == "ANTHROPIC_BASE_URL" or not value)
    assert not settings.offline or f"is not asked where the environment has {name}" in settings.reason


def test_headers_of_the_environment_are_not_sent_to_the_address_of_a_file(tmp_path, sink, monkeypatch):
    """The SDK adds them to every request, whatever it is given."""
    theirs, ours = sink(), sink()
    file = write(tmp_path / ".env", ANTHROPIC_BASE_URL=theirs.url, ANTHROPIC_API_KEY=OTHER)
    monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", f"X-Gateway-Key: {CANARY}")
    settings = load_settings(env_file=file)
    connect(settings)
    assert theirs.requests == []
    assert settings.offline and "where the environment has ANTHROPIC_CUSTOM_HEADERS" in settings.reason
    monkeypatch.setenv("ANTHROPIC_BASE_URL", ours.url)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "local-key")
    try_to_connect(load_settings(env_file=file))
    assert CANARY in ours.requests[0]


def test_the_environment_is_not_asked_by_the_sdk_for_what_the_file_leaves_out(tmp_path, sink, monkeypatch):
    """`load_settings` is given an environment without them, and the SDK would find them in the process's."""
    elsewhere, named = sink(), sink()
    monkeypatch.setenv("ANTHROPIC_BASE_URL", elsewhere.url)
    monkeypatch.setenv("ANTHROPIC_API_KEY", CANARY)
    file = write(tmp_path / ".env", ANTHROPIC_BASE_URL=named.url, ANTHROPIC_AUTH_TOKEN="local-token")
    try_to_connect(load_settings({}, file))
    assert "Bearer local-token" in named.requests[0]
    assert CANARY not in "".join(named.requests)
    assert elsewhere.requests == []
    proxy = sink()
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    try_to_connect(load_settings({}, write(tmp_path / "key.env", ANTHROPIC_API_KEY=OTHER)))
    assert {request.split()[1] for request in proxy.requests} == {"api.anthropic.com:443"}
    assert elsewhere.requests == []


def test_the_address_of_the_api_is_the_sdks():
    assert str(anthropic.Anthropic(api_key="x").base_url).rstrip("/") == API_URL


def test_no_file_sends_what_the_environment_holds(tmp_path, sink):
    named = sink()
    file = write(
        tmp_path / ".env",
        ANTHROPIC_BASE_URL=f"{named.url}/${{SECRET}}",
        ANTHROPIC_API_KEY="${SECRET}${ANTHROPIC_OTHER:-x}",
    )
    try_to_connect(load_settings({"SECRET": CANARY}, file))
    assert "SECRET" in named.requests[0]
    assert CANARY not in "".join(named.requests)


def test_key_before_token_as_the_sdk_does(sink):
    named = sink()
    both = {
        "ANTHROPIC_API_KEY": "local-key",
        "ANTHROPIC_AUTH_TOKEN": "token",
        "ANTHROPIC_BASE_URL": named.url,
    }
    try_to_connect(load_settings(both))
    assert "local-key" in named.requests[0] and "token" not in named.requests[0]


SECRETS = st.sampled_from([None, "", CANARY])
PLACE = st.fixed_dictionaries(
    dict.fromkeys(CONNECTION[:2], SECRETS) | {CONNECTION[2]: st.sampled_from([None, "", "http://a"])}
)


@given(PLACE, PLACE)
def test_what_is_used_was_all_in_one_place(tmp_path_factory, environ, written):
    """Whatever is set where: key, token and address are those of one place, and nothing of the other shows."""
    environ = {name: value for name, value in environ.items() if value is not None}
    written = {
        name: (value or "").replace(CANARY, OTHER).replace("//a", "//b") for name, value in written.items()
    }
    settings = load_settings(environ, write(tmp_path_factory.getbasetemp() / "written.env", **written))
    expected = environ if environ else written
    used = [settings.api_key, settings.auth_token]
    assert [secret for secret in used if secret] == [
        expected[name] for name in CONNECTION[:2] if not settings.offline and expected.get(name)
    ][:1]
    assert settings.base_url == ((not settings.offline and expected.get(CONNECTION[2])) or API_URL)
    assert settings.offline is not any(used)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """This project's settings module in a folder where something else may be at home, and an `.env` there."""
    package = tmp_path / "site" / "memory_demo"
    package.mkdir(parents=True)
    write(package.parent / ".env", ANTHROPIC_MODEL="written-beside")
    place = shutil.copy(memory_demo.settings.__file__, package)
    spec = importlib.util.spec_from_file_location("installed_settings", place)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return package.parent, module


def test_an_env_file_is_read_beside_this_projects_own_pyproject_and_no_other(installed):
    folder, module = installed
    assert module.load_settings({}).model != "written-beside"
    assert "project's .env" not in module.load_settings({}).reason
    for other in ('[project]\nname = "theirs"\n', "[tool.ruff]\n", "project = 1\n", "\0", "caf\xe9"):
        (folder / "pyproject.toml").write_text(other, "latin-1")
        assert module.load_settings({}).model != "written-beside"
    shutil.copy(ROOT / "pyproject.toml", folder)
    assert module.load_settings({}).model == "written-beside"
    assert "the project's .env" in module.load_settings({}).reason


@pytest.mark.parametrize("text", [b"ANTHROPIC_MODEL=caf\xe9\n", "ANTHROPIC_MODEL=x\n".encode("utf-16")])
def test_a_file_that_is_not_utf_8_is_one_sentence_and_exit_code_2(stranger, capsys, text):
    (stranger / "below" / "latin.env").write_bytes(text)
    assert main(["--env", "latin.env", "review", "../app.py"]) == 2
    assert capsys.readouterr() == (
        "",
        "memory-review: Save latin.env as UTF-8; it is in another encoding.\n",
    )


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    file = tmp_path / "notepad.env"
    file.write_text("ANTHROPIC_MODEL=from-windows\n", "utf-8-sig")
    assert load_settings({}, file).model == "from-windows"


def test_env_names_the_file_and_says_what_is_wrong_with_it(stranger, sink, capsys):
    named = sink()
    write(stranger / "mine.env", ANTHROPIC_BASE_URL=named.url, ANTHROPIC_API_KEY=CANARY)
    assert main(["review", "../app.py", "--env", "../mine.env"]) == 2
    assert CANARY in named.requests[0]
    capsys.readouterr()
    for wrong, words in (("typo.env", "There is no typo.env"), ("..", ".. is a directory")):
        assert main(["review", "../app.py", "--env", wrong]) == 2
        out, error = capsys.readouterr()
        assert (out, error.count("\n")) == ("", 1)
        assert words in error
