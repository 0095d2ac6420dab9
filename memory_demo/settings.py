"""Live or offline, which key, which address, which model: decided here, once, before the first request."""

from __future__ import annotations

import io
import math
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import anthropic
import httpx2
from anthropic.types.beta import BetaModelInfo
from dotenv.parser import parse_stream

from memory_demo.demo_helpers import ConversationError
from memory_demo.gateway import LeaveOut, omissions, without_password
from memory_demo.live.recordings import About, RecordingError, about
from memory_demo.live.transports import (
    recording_async_client,
    recording_client,
    replay_async_client,
    replay_client,
)
from memory_demo.offline import offline_async_client, offline_client

DEFAULT_MODEL = "claude-sonnet-5-5"
API_URL = "https://api.anthropic.com"
_NAME_ANOTHER = f"name a current one, such as {DEFAULT_MODEL}, by --model or ANTHROPIC_MODEL."
# A key is sent to the address beside it: these three come from one place or not at all.
CONNECTION = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL")

# Headers that the SDK adds to every request, such as a gateway's key: they keep to the environment's address as well.
_HEADERS = "ANTHROPIC_CUSTOM_HEADERS"

# Variables that name a recording to answer from, one to write to, and the dollars that may be spent on it.
REPLAY, RECORD, BUDGET = "MEMORY_COOKBOOK_REPLAY", "MEMORY_COOKBOOK_RECORD", "MEMORY_COOKBOOK_BUDGET"


class SettingsError(ValueError):
    """A setting that cannot work; the message is one sentence that says what to change."""


@dataclass(frozen=True)
class Settings:
    """What the environment and `.env` ask for. `reason` says in words why it is offline or live.

    Live, one of `api_key` and `auth_token` is set, and `base_url` is where it may go. `replay` is a recording that answers
    in the API's place, `record` one that is written, for `budget` dollars at most.
    """

    offline: bool
    model: str
    reason: str
    api_key: str | None = field(default=None, repr=False)
    auth_token: str | None = field(default=None, repr=False)
    base_url: str = API_URL
    replay: Path | None = None
    record: Path | None = None
    budget: float = math.inf


class Connection(NamedTuple):
    """A client that is ready to use; offline it talks to the stand-in, which is not Claude."""

    client: anthropic.Anthropic
    model: str
    offline: bool


def load_settings(environ: Mapping[str, str] | None = None, env_file: Path | None = None) -> Settings:
    """Read the environment and an `.env`: `env_file`, or else the one of this checkout.

    Key, token and address come from the environment alone if it has any of them, even empty, or headers that the SDK is
    to add; otherwise from the file. For the rest, the environment goes before the file. A file that is not there counts
    as empty.

    Raises SettingsError for a file that cannot be read, for a directory that is no recording, and for a key that is a
    placeholder or cannot be a key. A gateway named by `ANTHROPIC_BASE_URL` has keys of its own: they are only checked
    for being fit to send.
    """
    environment = _Place("the environment", os.environ if environ is None else environ)
    file = _env_file(env_file)
    both = {**file.values, **{name: value for name, value in environment.values.items() if value}}
    model = both.get("ANTHROPIC_MODEL", DEFAULT_MODEL).strip()
    if REPLAY in both:
        return _replay_settings(Path(both[REPLAY]))
    if both.get("MEMORY_COOKBOOK_OFFLINE", "0").lower() not in ("0", "false", "no"):
        return Settings(True, model, "MEMORY_COOKBOOK_OFFLINE is set")
    taken = [name for name in (*CONNECTION, _HEADERS) if name in environment.values]
    place = environment if taken or not file.name else file
    key, token, address = (place.values.get(name) or None for name in CONNECTION)
    if key is None and token is None:
        return Settings(True, model, _no_key(taken, file.name))
    name, base_url = "ANTHROPIC_API_KEY" if key else "ANTHROPIC_AUTH_TOKEN", address or API_URL
    where = f"{name} in {place.name}"
    _check_sendable(key or token or "", where)
    if key and base_url.rstrip("/") == API_URL:
        _check_key(key, where)
    # The SDK takes one of the two; where the environment has both, it takes the key as well.
    reason, token = f"{name} is set in {place.name}", None if key else token
    record = Path(both[RECORD]) if RECORD in both else None
    if record:
        _about(record)
    budget = _dollars(both.get(BUDGET, "inf"))
    return Settings(False, model, reason, key, token, base_url, record=record, budget=budget)


def connect(settings: Settings | None = None) -> Connection:
    """A client for these settings, with the model checked by asking for it.

    A server other than the API is asked what it can do, and the client leaves out what it cannot.

    Raises SettingsError for a model that is not known or no longer served, for a refused key, and for a server that
    does not answer as the API does.
    """
    settings = load_settings() if settings is None else settings
    client = _client(settings)
    return Connection(client.with_middleware(*_checked(client, settings)), settings.model, settings.offline)


def connect_async(settings: Settings | None = None) -> anthropic.AsyncAnthropic:
    """As `connect`, for the asynchronous client alone."""
    settings = load_settings() if settings is None else settings
    return _async_client(settings).with_middleware(*_checked(_client(settings), settings))


def _client(settings: Settings) -> anthropic.Anthropic:
    if settings.replay:
        return replay_client(settings.replay)
    if settings.offline:
        return offline_client()
    if settings.record:
        return recording_client(settings.record, settings.budget, **_options(settings))
    return anthropic.Anthropic(**_options(settings))


def _async_client(settings: Settings) -> anthropic.AsyncAnthropic:
    if settings.replay:
        return replay_async_client(settings.replay)
    if settings.offline:
        return offline_async_client()
    if settings.record:
        return recording_async_client(settings.record, settings.budget, **_options(settings))
    return anthropic.AsyncAnthropic(**_options(settings))


def _options(settings: Settings) -> dict[str, Any]:
    """Key, token and address, all three: for what is left out the SDK would ask the environment."""
    return {
        "api_key": settings.api_key,
        "auth_token": settings.auth_token,
        "base_url": settings.base_url,
    }


def _checked(client: anthropic.Anthropic, settings: Settings) -> list[LeaveOut]:
    """What has to stand between a client and this server, once it is known to answer."""
    if settings.base_url.rstrip("/") == API_URL:
        _check_model(client, settings.model)
        return []
    return _checked_server(client, settings)


def _about(recording: Path) -> About:
    try:
        return about(recording)
    except RecordingError as error:
        raise SettingsError(str(error)) from None


def _replay_settings(directory: Path) -> Settings:
    recorded = _about(directory)
    reason = f"{REPLAY} names what {recorded.model} answered on {recorded.date}"
    return Settings(False, recorded.model, reason, replay=directory)


class _Place(NamedTuple):
    """Where settings are: what a sentence calls it ("" for no such place), and what it holds."""

    name: str
    values: Mapping[str, str]


def _env_file(given: Path | None) -> _Place:
    own = _own_env_file()
    path = given or own
    if path is None:
        return _Place("", {})
    name = "the project's .env" if path == own else str(path)
    return _Place(name, _read(path, name))


def _own_env_file() -> Path | None:
    """`.env` beside this project's own pyproject.toml; None for an installed package, which has no such place."""
    root = Path(__file__).resolve().parents[1]
    try:
        project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["name"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return root / ".env" if project == "memory-cookbook" else None


def _read(path: Path, name: str) -> dict[str, str]:
    """What the file sets. `${NAME}` stays as it is: no file gets to send what the environment holds."""
    if not path.exists() or path.is_dir():
        return {}
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise SettingsError(f"Cannot read {name}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"Save {name} as UTF-8; it is in another encoding.") from error
    bindings = list(parse_stream(io.StringIO(text)))
    wrong = [binding.original for binding in bindings if binding.error]
    if wrong:
        text = wrong[0].string
        line = wrong[0].line + text[: -len(text.lstrip())].count("\n")
        raise SettingsError(
            f"Line {line} of {name} cannot be read; write NAME=value, and close what is quoted."
        )
    return {binding.key: binding.value for binding in bindings if binding.key and binding.value}


def _no_key(taken: Sequence[str], file_name: str) -> str:
    missing = "there is no ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN in the environment"
    if taken and file_name:
        return f"{missing}, and {file_name} is not asked where the environment has {' and '.join(taken)}"
    return f"{missing} or in {file_name}" if file_name else missing


def _dollars(text: str) -> float:
    try:
        dollars = float(text)
    except ValueError:
        dollars = math.nan
    if not dollars >= 0:  # which NaN is not either
        raise SettingsError(f"{BUDGET} is {text!r}; write an amount of dollars, such as 2.50.")
    return dollars


def _check_sendable(key: str, where: str) -> None:
    if not key.isascii() or not key.isprintable() or " " in key:
        raise SettingsError(
            f"{where} does not look like a key, which has no spaces and only ASCII characters; copy it again."
        )


def _check_key(key: str, where: str) -> None:
    if "your" in key.lower() or "..." in key or "xxx" in key.lower():
        raise SettingsError(
            f"{where} is still the placeholder; put your key there, or take it out to work offline."
        )
    if not key.startswith("sk-ant-") or len(key) < 20 or "'" in key or '"' in key:
        raise SettingsError(
            f"{where} does not look like a key (sk-ant-...); copy it again, or take it out to work offline."
        )


def _check_model(client: anthropic.Anthropic, model: str) -> None:
    try:
        known = client.beta.models.retrieve(model)
    except anthropic.NotFoundError:
        raise SettingsError(f"The API knows no model {model!r}; {_NAME_ANOTHER}") from None
    except anthropic.AuthenticationError:
        raise SettingsError("The API refused the key; check the key.") from None
    except anthropic.PermissionDeniedError as error:
        raise SettingsError(
            f"The API does not let this key use the model {model!r} (HTTP 403); check the key and its workspace."
        ) from error
    except (anthropic.APIError, httpx2.RequestError) as error:
        raise _unreachable(error) from error
    except ValueError:  # it says that it is JSON, and is not
        known = None
    if not _is_model(known):
        raise SettingsError(
            f"Something else than the API answers at {client.base_url}, such as a page to sign in to the network; "
            "try again, or set MEMORY_COOKBOOK_OFFLINE=1."
        )
    _refuse_retired(known, model)


def _checked_server(client: anthropic.Anthropic, settings: Settings) -> list[LeaveOut]:
    """The same for a gateway or a local server. One that describes the model as the API does, is taken for the API."""
    try:
        known = client.beta.models.retrieve(settings.model)
    except anthropic.APIConnectionError as error:
        raise SettingsError(
            f"The server at {without_password(settings.base_url)} could not be reached ({type(error).__name__}); start it, check "
            "ANTHROPIC_BASE_URL, or set MEMORY_COOKBOOK_OFFLINE=1."
        ) from error
    except (anthropic.APIError, ValueError):
        known = None
    if _is_model(known) and getattr(known, "capabilities", None):
        _refuse_retired(known, settings.model)
        return []
    try:
        return omissions(client, settings.model)
    except ConversationError as error:
        raise SettingsError(without_password(f"{settings.base_url}: {error}")) from error


def _is_model(known: object) -> bool:
    """A model's description; the SDK hands on whatever else comes with status 200."""
    return isinstance(known, BetaModelInfo) and isinstance(getattr(known, "id", None), str)


def _refuse_retired(known: BetaModelInfo | None, model: str) -> None:
    if getattr(known, "lifecycle", None) == "retired":
        raise SettingsError(f"The model {model!r} is retired; {_NAME_ANOTHER}")


def _unreachable(error: Exception) -> SettingsError:
    return SettingsError(
        f"The API could not be reached ({type(error).__name__}); try again, or set MEMORY_COOKBOOK_OFFLINE=1."
    )
