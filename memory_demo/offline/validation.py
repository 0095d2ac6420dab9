"""What the API rejects, in its error shape and wording.

Wording comes from the API's documentation, from answers recorded in public test suites and from answers quoted in
public bug reports; where none has it, it is ours. What the API takes and the stand-in does not do is taken where a
conversation can go on without it (`mcp_servers`: nothing is connected); else it is refused, and the message says that
the stand-in refuses it.

Recorded (pydantic-ai's public test suite): a message of role `system` inside a conversation is taken after a user
message, last or followed by others (claude-opus-4-8, claude-fable-5). Ids of tool uses may repeat in different
assistant turns. The first message may be the assistant's (claude-sonnet-4-5).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise, takewhile
from typing import Any, Literal, NamedTuple, TypeAlias, get_args, get_origin

from anthropic.types import AnthropicBetaParam
from anthropic.types.beta import BetaJSONOutputFormatParam
from anthropic.types.beta.message_count_tokens_params import MessageCountTokensParams as BetaCountTokensParams
from anthropic.types.beta.message_create_params import MessageCreateParamsBase as BetaCreateParams
from anthropic.types.message_count_tokens_params import MessageCountTokensParams
from anthropic.types.message_create_params import MessageCreateParamsBase

from memory_demo.offline import models
from memory_demo.offline.compaction import COMPACT, MINIMUM_TRIGGER
from memory_demo.offline.context_editing import CLEAR_THINKING
from memory_demo.offline.models import Model
from memory_demo.offline.schema import Field, Problem, fields_of, problems_of
from memory_demo.offline.turns import PlacedBlock, Turn, blocks_of, turns_of

CONTEXT_MANAGEMENT_BETA = "context-management-2025-06-27"
COMPACTION_BETA = "compact-2026-01-12"
BLOCK_BINDING_BETA = "thinking-binding-controls-2026-08-01"
STRUCTURED_OUTPUTS_BETA = "structured-outputs-2025-11-13"
DISPLAY_UPDATES_BETA = "thinking-display-updates-2026-08-18"
MAX_BODY_BYTES = 32 * 1024 * 1024

_VERSION = re.compile(r"20\d\d-[01]\d-[0-3]\d")
# Keys of the SDK's request types that travel as headers.
_HEADER_FIELDS = frozenset({"betas", "user_profile_id", "workspace_id"})
# Fields that exist only with one of these betas; a prefix stands for all its dates.
_FIELD_BETAS: Mapping[str, tuple[str, ...]] = {
    "billing_policy": ("user-profiles-billing-",),
    "compaction": ("compact-2026-09-04",),
    "context_management": (CONTEXT_MANAGEMENT_BETA, COMPACTION_BETA),
    "fallback_credit_token": ("fallback-credit-",),
    "fallbacks": ("server-side-fallback-",),
    "mcp_servers": ("mcp-client-",),
    "output_format": (STRUCTURED_OUTPUTS_BETA,),
    "thread": ("message-threads-",),
}
# The SDK no longer has these parameters, the API knows them and older models take them.
_SAMPLING_FIELDS = {name: Field.of(float, False) for name in ("temperature", "top_p", "top_k")}
# Recorded: the older place of `output_config.format`.
_OUTPUT_FORMAT = {"output_format": Field.of(BetaJSONOutputFormatParam | None, False)}
_CREATE_FIELDS = {"stream": Field.of(bool, False), **_SAMPLING_FIELDS}
_KNOWN_BETAS = frozenset(
    value
    for member in get_args(AnthropicBetaParam)
    if get_origin(member) is Literal
    for value in get_args(member)
) | {"fine-grained-tool-streaming-2025-05-14"}
_THREAD_FEATURES = ("cache_control", "context_management", "fallbacks", "thinking")
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_TOOL_USE_ID = re.compile(r"[a-zA-Z0-9_-]+")


class Rejected(Exception):
    """A request the API does not serve: HTTP status, error type, message and, for some errors, details."""

    def __init__(
        self, status: int, type: str, message: str, details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.type = type
        self.message = message
        self.details = details


def invalid(message: str, details: Mapping[str, Any] | None = None) -> Rejected:
    """A 400."""
    return Rejected(400, "invalid_request_error", message, details)


def not_found(message: str) -> Rejected:
    """A 404."""
    return Rejected(404, "not_found_error", message)


def check_headers(headers: Mapping[str, str]) -> None:
    """Key and version. `headers` has lower-case names. Raises Rejected."""
    if not (headers.get("x-api-key") or headers.get("authorization", "").startswith("Bearer ")):
        raise Rejected(401, "authentication_error", "x-api-key header is required")
    version = headers.get("anthropic-version")
    if version is None:
        raise invalid("anthropic-version: header is required")
    if not _VERSION.fullmatch(version):
        raise invalid(f'anthropic-version: "{version}" is not a valid version')


def betas_of(headers: Mapping[str, str]) -> frozenset[str]:
    """The values of the `anthropic-beta` header. Raises Rejected for one that the SDK does not know."""
    betas = [name.strip() for name in headers.get("anthropic-beta", "").split(",") if name.strip()]
    unknown = [name for name in betas if name not in _KNOWN_BETAS]
    if unknown:
        names = ", ".join(f"`{name}`" for name in unknown)
        raise invalid(
            f"Unexpected value(s) {names} for the `anthropic-beta` header. Please consult our documentation at "
            "docs.claude.com or try again without the header."
        )
    return frozenset(betas)


def parse_json(body: bytes) -> dict[str, Any]:
    """The request's JSON object. Raises Rejected."""
    if len(body) > MAX_BODY_BYTES:
        raise Rejected(413, "request_too_large", "Request exceeds the maximum size")
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise invalid(f"The request body is not valid JSON: {error}") from None
    if not isinstance(request, dict):
        raise invalid("Input should be a valid dictionary")
    return request


class Call(NamedTuple):
    """A request of the right shape. `resumes` when it ends with a turn that the API itself paused."""

    request: Mapping[str, Any]
    model: Model
    betas: frozenset[str]
    turns: Sequence[Turn]
    resumes: bool


def check_shape(request: Mapping[str, Any], betas: frozenset[str], *, beta: bool, counting: bool) -> None:
    """Fields and their types, as the SDK's request types have them. Raises Rejected."""
    fields = _fields(beta, counting)
    off = {name for name in fields if not _enabled(_FIELD_BETAS.get(name), betas)}
    known = {name: field for name, field in fields.items() if name not in off}
    problem = next(problems_of(known, request), None)
    if problem:
        raise invalid(_beta_missing(problem, off) or str(problem))


def check_call(request: Mapping[str, Any], betas: frozenset[str], paused: Collection[str] = ()) -> Call:
    """The rules that types do not express. `paused` holds the keys of turns to be continued.

    Raises Rejected for the first rule broken.
    """
    if request.get("thread"):
        raise _thread_unsupported(request)
    model = models.find(request["model"])
    if model is None:
        raise not_found(f"model: {request['model']}")
    problem = next(_first_message_problems(request["messages"]), None)
    if problem:
        raise invalid(problem)
    turns = turns_of(request["messages"])
    call = Call(request, model, betas, turns, turns[-1].key in paused)
    for rule in _RULES:
        for message in rule(call):
            raise invalid(message)
    return call


def _fields(beta: bool, counting: bool) -> Mapping[str, Field]:
    if counting:
        fields = fields_of(BetaCountTokensParams if beta else MessageCountTokensParams)
    else:
        fields = {**fields_of(BetaCreateParams if beta else MessageCreateParamsBase), **_CREATE_FIELDS}
    if beta:
        fields = {**fields, **_OUTPUT_FORMAT}
    return {name: field for name, field in fields.items() if name not in _HEADER_FIELDS}


def _beta_missing(problem: Problem, off: Collection[str]) -> str | None:
    """What to say of a field whose beta header is missing; for context editing the API's own words are known."""
    name = problem.path[0] if problem.path else None
    if name not in off or name == "context_management":
        return None
    betas = " or ".join(f"`{prefix}...`" for prefix in _FIELD_BETAS[str(name)])
    return f"{name}: the offline stand-in takes this field only with the beta header {betas}."


def _enabled(prefixes: tuple[str, ...] | None, betas: frozenset[str]) -> bool:
    return prefixes is None or any(beta.startswith(prefixes) for beta in betas)


def _thread_unsupported(request: Mapping[str, Any]) -> Rejected:
    features = [name for name in _THREAD_FEATURES if request.get(name)]
    details: dict[str, Any] = {"error_code": "thread_unsupported_request"}
    if features:
        details["unsupported"] = features
    return invalid("thread: the offline stand-in holds no threads; send the full conversation.", details)


def _first_message_problems(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not messages:
        yield "messages: at least one message is required"
    elif messages[0]["role"] == "system":
        yield (
            'messages: Unexpected role "system". The Messages API accepts a top-level `system` parameter, not '
            '"system" as an input message role.'
        )


def _system_messages(call: Call) -> Iterator[str]:
    for before, turn in pairwise(call.turns):
        if turn.role != "system" or not turn.blocks:
            continue
        where = f"messages.{turn.blocks[0].message}.role"
        if not call.model.system_messages:
            yield f"{where}: the offline stand-in takes no system message inside a conversation with this model."
        if before.role != "user":
            yield f"{where}: the offline stand-in takes a system message only after a user message."


def _max_tokens(call: Call) -> Iterator[str]:
    maximum = call.request.get("max_tokens", 1)
    if maximum < 1:
        yield "max_tokens: Input should be greater than or equal to 1"
    if maximum > call.model.max_output:
        yield (
            f"max_tokens: {maximum} > {call.model.max_output}, which is the maximum allowed number of output tokens "
            f"for {call.request['model']}"
        )


def _content(call: Call) -> Iterator[str]:
    messages = call.request["messages"]
    for number, message in enumerate(messages):
        if (
            message["role"] != "system"
            and not message["content"]
            and (number < len(messages) - 1 or message["role"] == "user")
        ):
            yield (
                f"messages.{number}: all messages must have non-empty content except for the optional final "
                "assistant message"
            )
    for turn in call.turns:
        yield from _text_problems("messages", (placed.block for placed in turn.blocks))
    yield from _text_problems("system", blocks_of(call.request.get("system") or ()))


def _text_problems(where: str, blocks: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for block in blocks:
        if block["type"] == "text" and not block["text"]:
            yield f"{where}: text content blocks must be non-empty"
        elif block["type"] == "text" and not block["text"].strip():
            yield f"{where}: text content blocks must contain non-whitespace text"


def _tool_pairing(call: Call) -> Iterator[str]:
    for number, turn in enumerate(call.turns):
        seen: set[str] = set()
        uses, results = _of_type(turn, "tool_use"), _of_type(turn, "tool_result")
        if turn.role == "user" and uses:
            yield f"messages.{uses[0].message}: `tool_use` blocks can only be in `assistant` messages"
        if turn.role == "assistant" and results:
            yield f"messages.{results[0].message}: `tool_result` blocks can only be in `user` messages"
        for use in uses:
            if not _TOOL_USE_ID.fullmatch(use.block["id"]):
                yield f"{use.path}.tool_use.id: String should match pattern '^{_TOOL_USE_ID.pattern}$'"
            if use.block["id"] in seen:
                yield f"{use.path}: `tool_use` ids must be unique"
            seen.add(use.block["id"])
        yield from _result_problems(results, call.turns[number - 1] if number else None)
        following = call.turns[number + 1].blocks if number + 1 < len(call.turns) else ()
        yield from _unanswered(uses, following)


def _result_problems(results: Sequence[PlacedBlock], previous: Turn | None) -> Iterator[str]:
    calls = {use.block["id"] for use in _of_type(previous, "tool_use")} if previous else set()
    counts = Counter(result.block["tool_use_id"] for result in results)
    for result in results:
        id = result.block["tool_use_id"]
        if id not in calls:
            yield (
                f"{result.path}: unexpected `tool_use_id` found in `tool_result` blocks: {id}. Each `tool_result` "
                "block must have a corresponding `tool_use` block in the previous message."
            )
        if counts[id] > 1:
            yield (
                f"{result.path}: each tool_use must have a single result. Found multiple `tool_result` blocks "
                f"with id: {id}"
            )
        if result.block.get("is_error"):
            yield from _error_problems(result)


def _error_problems(result: PlacedBlock) -> Iterator[str]:
    content = result.block.get("content")
    if not content:
        yield f"{result.path}.tool_result: content cannot be empty if `is_error` is true"
    elif any(block["type"] != "text" for block in blocks_of(content)):
        yield f"{result.path}.tool_result: all content must be type 'text' if 'is_error' is true"


def _unanswered(uses: Sequence[PlacedBlock], following: Iterable[PlacedBlock]) -> Iterator[str]:
    leading = takewhile(lambda placed: placed.block["type"] == "tool_result", following)
    answered = {placed.block["tool_use_id"] for placed in leading}
    missing = [use for use in uses if use.block["id"] not in answered]
    if missing:
        ids = ", ".join(use.block["id"] for use in missing)
        yield (
            f"messages.{missing[-1].message}: `tool_use` ids were found without `tool_result` blocks immediately "
            f"after: {ids}. Each `tool_use` block must have a corresponding `tool_result` block in the next message."
        )


def _of_type(turn: Turn, kind: str) -> list[PlacedBlock]:
    return [placed for placed in turn.blocks if placed.block["type"] == kind]


def _tools(call: Call) -> Iterator[str]:
    tools = call.request.get("tools") or ()
    names = [tool["name"] for tool in tools if "name" in tool]
    for number, tool in enumerate(tools):
        if "input_schema" in tool and not _TOOL_NAME.fullmatch(tool["name"]):
            pattern = f"'^{_TOOL_NAME.pattern}$'"
            yield f"tools.{number}.custom.name: String should match pattern {pattern}"
    if len(set(names)) < len(names):
        yield "tools: Tool names must be unique."
    choice = call.request.get("tool_choice")
    if not choice:
        return
    if choice["type"] in ("any", "tool") and not call.model.forced_tool_choice:
        yield 'tool_choice: type "tool" and "any" are not supported for this model.'
    if not tools:
        yield "tool_choice: tool_choice may only be specified while providing tools"
    if choice["type"] == "tool" and choice["name"] not in names:
        yield f"Tool '{choice['name']}' not found in provided tools"


def _sampling(call: Call) -> Iterator[str]:
    settings = {name: call.request[name] for name in _SAMPLING_FIELDS if name in call.request}
    for name in ("temperature", "top_p"):
        if not 0 <= settings.get(name, 0) <= 1:
            yield f"{name}: range: 0..1"
    if call.model.sampling:
        return
    for name, value in settings.items():
        default = {"temperature": value == 1, "top_p": value >= 0.99, "top_k": False}
        if not default[name]:
            yield f"`{name}` is deprecated for this model."


def _thinking(call: Call) -> Iterator[str]:
    thinking = call.request.get("thinking")
    effort = (call.request.get("output_config") or {}).get("effort")
    if effort and effort not in call.model.efforts:
        yield _unsupported_effort(effort, call.model)
    if not thinking:
        return
    kind = thinking["type"]
    if kind not in call.model.thinking:
        yield _unsupported_thinking(kind, call.model)
    if thinking.get("block_binding") is not None and BLOCK_BINDING_BETA not in call.betas:
        yield f"thinking.{kind}.block_binding: Extra inputs are not permitted"
    if thinking.get("display") == "updates" and DISPLAY_UPDATES_BETA not in call.betas:
        yield f'"thinking.display" value "updates" requires the beta header {DISPLAY_UPDATES_BETA}'
    if kind == "enabled" and thinking["budget_tokens"] < 1024:
        yield "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"
    if kind == "enabled" and thinking["budget_tokens"] >= call.request.get("max_tokens", float("inf")):
        yield "`max_tokens` must be greater than `thinking.budget_tokens`."
    if kind == "between_tools" and effort in ("xhigh", "max"):
        yield f'"thinking.type.between_tools" is not supported with "output_config.effort" value "{effort}"'


def _unsupported_effort(effort: str, model: Model) -> str:
    if not model.efforts:
        return "This model does not support the effort parameter."
    levels = ", ".join(sorted(model.efforts))
    return f"This model does not support effort level '{effort}'. Supported levels: {levels}."


def _unsupported_thinking(kind: str, model: Model) -> str:
    if kind == "adaptive":
        return "adaptive thinking is not supported on this model"
    lowest = '"thinking.type.between_tools" for the lowest thinking setting, or '
    return (
        f'"thinking.type.{kind}" is not supported for this model. Use '
        f"{lowest if kind == 'disabled' and 'between_tools' in model.thinking else ''}"
        '"thinking.type.adaptive" and "output_config.effort" to control thinking behavior.'
    )


def _context_management(call: Call) -> Iterator[str]:
    if call.request.get("compaction"):
        yield "compaction: the offline stand-in compacts through `context_management.edits` only."
    edits = (call.request.get("context_management") or {}).get("edits", ())
    for number, edit in enumerate(edits):
        where = f"context_management.edits.{number}.{edit['type']}"
        beta = COMPACTION_BETA if edit["type"] == COMPACT else CONTEXT_MANAGEMENT_BETA
        if beta not in call.betas:
            yield f"{where}: Extra inputs are not permitted"
        for name, setting in edit.items():
            least = MINIMUM_TRIGGER if edit["type"] == COMPACT else 0
            if isinstance(setting, dict) and setting.get("value", least) < least:
                yield f"{where}.{name}.value: Input should be greater than or equal to {least}"
        yield from _edit_problems(call, number, edit["type"], where)


def _edit_problems(call: Call, number: int, kind: str, where: str) -> Iterator[str]:
    if kind == COMPACT and not call.model.compacts:
        yield f"{where}: compaction is not supported on this model"
    if kind == CLEAR_THINKING and number > 0:
        yield f"context_management.edits: `{CLEAR_THINKING}` must be listed first."
    if kind == CLEAR_THINKING and (call.request.get("thinking") or {}).get("type") == "disabled":
        yield f"{where}: strategy requires `thinking` to be enabled or adaptive"


def _ending(call: Call) -> Iterator[str]:
    for sequence in call.request.get("stop_sequences") or ():
        if not sequence.strip():
            yield "stop_sequences: each stop sequence must contain non-whitespace"
    last = call.turns[-1]
    continued = ("server_tool_use", "compaction")
    paused = call.resumes or (last.blocks and last.blocks[-1].block["type"] in continued)
    if last.role != "assistant" or paused:
        return
    if not call.model.prefill:
        yield (
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )
    elif last.blocks and last.blocks[-1].block.get("text", "").endswith((" ", "\n", "\t")):
        yield "messages: final assistant content cannot end with trailing whitespace"


def _cache_control(call: Call) -> Iterator[str]:
    marks = list(_cache_marks(call))
    count = len(marks) + bool(call.request.get("cache_control"))
    if count > 4:
        yield f"A maximum of 4 blocks with cache_control may be provided. Found {count}."
    hours = [mark.get("ttl") == "1h" for _, mark in marks]
    for number, (path, _) in enumerate(marks):
        if hours[number] and not all(hours[:number]):
            yield (
                f"{path}.cache_control.ttl: a ttl='1h' cache_control block must not come after a ttl='5m' "
                "cache_control block. Note that blocks are processed in the following order: `tools`, `system`, "
                "`messages`."
            )


def _cache_marks(call: Call) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What is marked to be cached and how, in the order in which the API reads a prompt."""
    tools, system = call.request.get("tools") or (), blocks_of(call.request.get("system") or ())
    placed = [(f"tools.{number}", tool) for number, tool in enumerate(tools)]
    placed += [(f"system.{number}", block) for number, block in enumerate(system)]
    placed += [(one.path, one.block) for turn in call.turns for one in turn.blocks]
    for path, item in placed:
        if item.get("cache_control"):
            yield path, item["cache_control"]


Rule: TypeAlias = Callable[[Call], Iterator[str]]
_RULES: tuple[Rule, ...] = (
    _max_tokens,
    _content,
    _system_messages,
    _tools,
    _tool_pairing,
    _sampling,
    _thinking,
    _context_management,
    _cache_control,
    _ending,
)
