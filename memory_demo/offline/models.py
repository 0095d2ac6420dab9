"""The models the stand-in answers for, and what each of them accepts.

Limits and capabilities follow the models pages of the documentation as of November 2026. Where a release
date is not known here, `created_at` is the epoch, as the API itself does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

EFFORTS = ("low", "medium", "high", "xhigh", "max")
EPOCH = "1970-01-01T00:00:00Z"


@dataclass(frozen=True)
class Model:
    """One model: limits in tokens, and the habits in which generations differ.

    `thinking` holds the accepted values of `thinking.type`. A model that `binds_thinking` refuses a thinking
    block whose prefix has changed. One that takes `system_messages` takes them inside a conversation: recorded for
    claude-opus-4-8 and claude-fable-5, so models before those do not (our reading). Those that `compacts` are the
    documented ones.
    """

    id: str
    display_name: str
    aliases: tuple[str, ...] = ()
    created_at: str = EPOCH
    retires_at: str | None = None
    context_window: int = 1_000_000
    max_output: int = 128_000
    min_cacheable: int = 512
    thinking: frozenset[str] = frozenset({"adaptive"})
    thinks_by_default: bool = True
    shows_thinking: bool = False
    binds_thinking: bool = True
    keeps_all_thinking: bool = True
    prefill: bool = False
    sampling: bool = False
    forced_tool_choice: bool = False
    system_messages: bool = True
    compacts: bool = True
    efforts: tuple[str, ...] = EFFORTS

    @property
    def lifecycle(self) -> str:
        """Active, or deprecated once its end is set; retired models are not in the catalogue."""
        return "deprecated" if self.retires_at else "active"

    @property
    def line(self) -> str:
        """The family, as in "sonnet"."""
        return self.id.split("-")[1]


def _generation_5(id: str, name: str, **differences: Any) -> Model:
    settings: dict[str, Any] = {"binds_thinking": False, "forced_tool_choice": True, "min_cacheable": 1024}
    return Model(id, name, **{**settings, **differences})


def _generation_4(id: str, name: str, **differences: Any) -> Model:
    settings: dict[str, Any] = {
        "thinks_by_default": False,
        "shows_thinking": True,
        "binds_thinking": False,
        "forced_tool_choice": True,
        "min_cacheable": 1024,
        "system_messages": False,
        "efforts": ("low", "medium", "high", "max"),
    }
    return Model(id, name, **{**settings, **differences})


_GENERATION_4_5: Mapping[str, Any] = {
    "context_window": 200_000,
    "max_output": 64_000,
    "thinking": frozenset({"enabled", "disabled"}),
    "prefill": True,
    "sampling": True,
    "compacts": False,
    "efforts": (),
}

CATALOGUE: Sequence[Model] = (
    Model(
        "claude-sonnet-5-5",
        "Claude Sonnet 5.5",
        created_at="2026-09-28T00:00:00Z",
        thinking=frozenset({"adaptive", "between_tools"}),
    ),
    Model("claude-opus-5-5", "Claude Opus 5.5"),
    Model(
        "claude-haiku-5-5",
        "Claude Haiku 5.5",
        thinking=frozenset({"adaptive", "disabled"}),
        forced_tool_choice=True,
    ),
    Model("claude-fable-5-2", "Claude Fable 5.2"),
    Model("claude-mythos-5-2", "Claude Mythos 5.2", binds_thinking=False),
    Model("claude-fable-5-1", "Claude Fable 5.1"),
    Model("claude-mythos-5-1", "Claude Mythos 5.1", binds_thinking=False),
    _generation_5("claude-fable-5", "Claude Fable 5"),
    _generation_5("claude-mythos-5", "Claude Mythos 5"),
    _generation_5("claude-opus-5", "Claude Opus 5", thinking=frozenset({"adaptive", "disabled"})),
    _generation_5("claude-sonnet-5", "Claude Sonnet 5", thinking=frozenset({"adaptive", "disabled"})),
    _generation_4(
        "claude-opus-4-8",
        "Claude Opus 4.8",
        thinking=frozenset({"adaptive", "disabled"}),
        shows_thinking=False,
        system_messages=True,
        efforts=EFFORTS,
    ),
    _generation_4(
        "claude-opus-4-7",
        "Claude Opus 4.7",
        thinking=frozenset({"adaptive", "disabled"}),
        shows_thinking=False,
        efforts=EFFORTS,
    ),
    _generation_4(
        "claude-opus-4-6",
        "Claude Opus 4.6",
        thinking=frozenset({"adaptive", "enabled", "disabled"}),
        sampling=True,
    ),
    _generation_4(
        "claude-sonnet-4-6",
        "Claude Sonnet 4.6",
        thinking=frozenset({"adaptive", "enabled", "disabled"}),
        sampling=True,
    ),
    _generation_4(
        "claude-opus-4-5-20251101",
        "Claude Opus 4.5",
        aliases=("claude-opus-4-5",),
        created_at="2025-11-01T00:00:00Z",
        retires_at="2027-01-22T00:00:00Z",
        **{**_GENERATION_4_5, "efforts": ("low", "medium", "high")},
    ),
    _generation_4(
        "claude-haiku-4-5-20251001",
        "Claude Haiku 4.5",
        aliases=("claude-haiku-4-5",),
        created_at="2025-10-01T00:00:00Z",
        keeps_all_thinking=False,
        **_GENERATION_4_5,
    ),
    _generation_4(
        "claude-sonnet-4-5-20250929",
        "Claude Sonnet 4.5",
        aliases=("claude-sonnet-4-5",),
        created_at="2025-09-29T00:00:00Z",
        retires_at="2026-11-30T00:00:00Z",
        keeps_all_thinking=False,
        **_GENERATION_4_5,
    ),
)

_BY_NAME = {name: model for model in CATALOGUE for name in (model.id, *model.aliases)}


def find(name: str) -> Model | None:
    """The model of that id or alias; None for an unknown or retired one."""
    return _BY_NAME.get(name)


def model_info(model: Model) -> dict[str, Any]:
    """A model as `GET /v1/models/{id}` describes it."""
    return {
        "type": "model",
        "id": model.id,
        "display_name": model.display_name,
        "created_at": model.created_at,
        "lifecycle": model.lifecycle,
        "deprecated_at": None,
        "retires_at": model.retires_at,
        "line": model.line,
        "max_input_tokens": model.context_window,
        "max_tokens": model.max_output,
        "capabilities": _capabilities(model),
    }


def page_of_models(
    limit: int, after_id: str | None, before_id: str | None, lifecycles: Collection[str] = ()
) -> dict[str, Any]:
    """A page of `GET /v1/models`. A cursor that names no model gives the first page."""
    listed = [model for model in CATALOGUE if not lifecycles or model.lifecycle in lifecycles]
    ids = [model.id for model in listed]
    start = ids.index(after_id) + 1 if after_id in ids else 0
    end = ids.index(before_id) if before_id in ids else len(ids)
    window = listed[start:end]
    page = window[-limit:] if before_id in ids else window[:limit]
    return {
        "data": [model_info(model) for model in page],
        "first_id": page[0].id if page else None,
        "last_id": page[-1].id if page else None,
        "has_more": len(page) < len(window),
    }


def _capabilities(model: Model) -> dict[str, Any]:
    efforts = {name: _support(name in model.efforts) for name in EFFORTS}
    types = ("adaptive", "between_tools", "disabled", "enabled")
    # The stand-in describes what it does itself: it has no batches, citations or server tools.
    return {
        "batch": _support(False),
        "citations": _support(False),
        "code_execution": _support(False),
        "compaction": {"supported": False, "summarize": _support(False)},
        "context_management": {
            "supported": True,
            "clear_thinking_20251015": _support(True),
            "clear_tool_uses_20250919": _support(True),
            "compact_20260112": _support(model.compacts),
        },
        "effort": {"supported": bool(model.efforts), **efforts},
        "image_input": _support(False),
        "pdf_input": _support(False),
        "server_tools": {
            "supported": False,
            "code_execution": _support(False),
            "web_search": _support(False),
        },
        "structured_outputs": _support(True),
        "thinking": {"supported": True, "types": _supports(types, model.thinking)},
    }


def _supports(names: Iterable[str], supported: frozenset[str]) -> dict[str, Any]:
    return {name: _support(name in supported) for name in names}


def _support(supported: bool) -> dict[str, bool]:
    return {"supported": supported}
