"""Live or offline, key and model: what a person gets told before the first request."""

from pathlib import Path

import pytest

from memory_demo.settings import DEFAULT_MODEL, SettingsError, connect, load_settings

KEY = "sk-ant-api03-" + "a" * 40


def load(tmp_path, environ, env_file=""):
    path = tmp_path / ".env"
    path.write_text(env_file, encoding="utf-8")
    return load_settings(environ, path)


def test_without_a_key_it_is_offline_and_says_why(tmp_path):
    settings = load(tmp_path, {})
    assert settings.offline
    assert "no ANTHROPIC_API_KEY" in settings.reason
    connection = connect(settings)
    assert connection.offline
    assert connection.model == DEFAULT_MODEL


def test_a_key_in_env_file_or_environment_makes_it_live_and_is_not_shown(tmp_path):
    for settings in (
        load(tmp_path, {"ANTHROPIC_API_KEY": KEY}),
        load(tmp_path, {}, f"ANTHROPIC_API_KEY={KEY}\n"),
    ):
        assert not settings.offline
        assert settings.api_key == KEY
        assert KEY not in repr(settings)


def test_offline_can_be_forced_with_a_key(tmp_path):
    assert load(tmp_path, {"ANTHROPIC_API_KEY": KEY, "MEMORY_COOKBOOK_OFFLINE": "1"}).offline
    assert not load(tmp_path, {"ANTHROPIC_API_KEY": KEY, "MEMORY_COOKBOOK_OFFLINE": "0"}).offline


def test_the_environment_goes_before_the_env_file(tmp_path):
    assert load(tmp_path, {"ANTHROPIC_MODEL": "a"}, "ANTHROPIC_MODEL=b\n").model == "a"
    assert load(tmp_path, {}, "ANTHROPIC_MODEL=b\n").model == "b"


@pytest.mark.parametrize(
    ("key", "advice"),
    [
        ("your-api-key-here", "still the placeholder"),
        ("sk-ant-...", "still the placeholder"),
        ("sk-proj-1234567890123456789012345", "does not look like a key"),
        (f"'{KEY}'", "does not look like a key"),
        (f"{KEY} {KEY}", "does not look like a key"),
        ("sk-ant-short", "does not look like a key"),
    ],
)
def test_what_cannot_be_a_key_is_said_before_any_request(tmp_path, key, advice):
    with pytest.raises(SettingsError, match=advice) as caught:
        load(tmp_path, {"ANTHROPIC_API_KEY": key})
    assert "ANTHROPIC_API_KEY in the environment" in str(caught.value)
    with pytest.raises(SettingsError, match=advice) as in_file:
        load(tmp_path, {}, f'ANTHROPIC_API_KEY="{key}"\n')
    assert f"ANTHROPIC_API_KEY in {tmp_path / '.env'}" in str(in_file.value)
    assert "\n" not in str(caught.value)
    assert key not in str(caught.value)


def test_the_example_file_as_it_is_is_a_placeholder():
    example = Path(__file__).resolve().parents[2] / ".env.example"
    with pytest.raises(SettingsError, match="placeholder"):
        load_settings({}, example)


def test_a_gateway_has_keys_of_its_own(tmp_path):
    settings = load(tmp_path, {"ANTHROPIC_API_KEY": "local", "ANTHROPIC_BASE_URL": "http://127.0.0.1:9"})
    assert settings.base_url == "http://127.0.0.1:9"
    with pytest.raises(SettingsError, match="could not be reached"):
        connect(settings)


@pytest.mark.parametrize("model", ["claude-3-7-sonnet-20250219", "claude-sonnet-55", "gpt-5"])
def test_a_model_that_is_retired_or_unknown_is_answered_with_a_current_one(tmp_path, model):
    with pytest.raises(SettingsError, match=DEFAULT_MODEL) as caught:
        connect(load(tmp_path, {"ANTHROPIC_MODEL": model}))
    assert model in str(caught.value)
    assert "--model" in str(caught.value) and "ANTHROPIC_MODEL" in str(caught.value)


@pytest.mark.parametrize("budget", ["abc", "nan", "-1", "1,50", "$2"])
def test_a_budget_is_an_amount_of_dollars(tmp_path, budget):
    given = {"ANTHROPIC_API_KEY": KEY, "MEMORY_COOKBOOK_BUDGET": budget}
    with pytest.raises(SettingsError, match="MEMORY_COOKBOOK_BUDGET") as caught:
        load(tmp_path, given)
    assert "such as 2.50" in str(caught.value) and "\n" not in str(caught.value)
    assert load(tmp_path, {**given, "MEMORY_COOKBOOK_BUDGET": " 2.50"}).budget == 2.5
    assert load(tmp_path, {"ANTHROPIC_API_KEY": KEY}).budget == float("inf")


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (1, f'ANTHROPIC_API_KEY="{KEY}\n'),
        (2, f"ANTHROPIC_MODEL=a\nANTHROPIC_API_KEY: {KEY}\n"),
        (3, f"# a remark\n\nANTHROPIC_API_KEY '{KEY}'\n"),
    ],
    ids=["an open quote", "a colon", "no equals sign"],
)
def test_a_line_that_cannot_be_read_is_no_missing_key(tmp_path, line, text):
    """A review with a key that was overlooked would go on offline, and pass."""
    with pytest.raises(SettingsError, match=f"^Line {line} of .*write NAME=value") as caught:
        load(tmp_path, {}, text)
    assert KEY not in str(caught.value)


def test_a_token_is_not_shown(tmp_path):
    settings = load(tmp_path, {"ANTHROPIC_AUTH_TOKEN": "canary-7c1e"})
    assert settings.auth_token == "canary-7c1e" and "canary" not in repr(settings)
