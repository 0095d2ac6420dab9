"""Whether JSON has the shape of one of the SDK's request types, unknown fields refused.

The SDK's types for requests are TypedDicts, which check nothing at run time, and their alternatives differ by
a literal `type`. This walks such a type beside a value. Wording and paths are the API's: a path names the
alternative it went into, as in `messages.0.content.1.tool_use.input`.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NotRequired,
    Required,
    TypeAlias,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from typing_extensions import is_typeddict

Path: TypeAlias = tuple[str | int, ...]


class Problem(NamedTuple):
    """What is wrong, and where: keys, indices and `type` tags from the top of the request."""

    path: Path
    message: str

    def __str__(self) -> str:
        return ": ".join(filter(None, (".".join(map(str, self.path)), self.message)))


class Field(NamedTuple):
    """One key of an object."""

    type: Any
    required: bool


@cache
def fields_of(typed_dict: Any) -> Mapping[str, Field]:
    """The keys of a TypedDict.

    `__required_keys__` alone does not do: under postponed annotations it does not see `Required[...]`.
    """
    hints = get_type_hints(typed_dict, include_extras=True)
    return {
        key: Field(_bare(hint), _required(hint, key in typed_dict.__required_keys__))
        for key, hint in hints.items()
    }


def problems_of(
    fields: Mapping[str, Field], value: object, path: Path = (), *, open_ended: bool = False
) -> Iterator[Problem]:
    """What is wrong with an object that has these fields and, unless open-ended, no others."""
    if not isinstance(value, dict):
        yield Problem(path, "Input should be a valid dictionary")
        return
    for key, field in fields.items():
        if key in value:
            yield from _check(field.type, value[key], (*path, key))
        elif field.required:
            yield Problem((*path, key), "Field required")
    if not open_ended:
        extra = (key for key in value if key not in fields)
        yield from (Problem((*path, key), "Extra inputs are not permitted") for key in extra)


def _check(expected: Any, value: object, path: Path) -> Iterator[Problem]:
    origin, arguments = get_origin(expected), get_args(expected)
    if expected in (Any, object):
        return
    if origin in (Union, types.UnionType):
        yield from _check_union(arguments, value, path)
    elif origin is Literal:
        if value not in arguments:
            yield Problem(path, f"Input should be {_either(arguments)}")
    elif _kind(value) not in _kinds(expected):
        yield Problem(path, f"Input should be a valid {_NAMES[max(_kinds(expected))]}")
    elif is_typeddict(expected):
        yield from problems_of(fields_of(expected), value, path)
    elif origin is dict and isinstance(value, dict):
        for key, item in value.items():
            yield from _check(_bare(arguments[1]), item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _check(_bare(arguments[0]), item, (*path, index))


def _check_union(members: tuple[Any, ...], value: object, path: Path) -> Iterator[Problem]:
    fitting = _fitting(members, _kind(value))
    if not fitting:
        alternatives = [_bare(member) for member in members]
        names = dict.fromkeys(_NAMES[kind] for member in alternatives for kind in sorted(_kinds(member)))
        yield Problem(
            path, f"Input should be a valid {' or '.join(name for name in names if name != 'null')}"
        )
    elif isinstance(value, dict) and any(map(is_typeddict, fitting)):
        typed = tuple(member for member in fitting if is_typeddict(member))
        if len(typed) == 1:
            # A plain dictionary as the other alternative is how the SDK says that more keys are allowed.
            yield from problems_of(fields_of(typed[0]), value, path, open_ended=len(fitting) > 1)
        else:
            yield from _check_tagged(typed, value, path)
    else:
        problems = [list(_check(member, value, path)) for member in fitting]
        yield from min(problems, key=len)


@cache
def _fitting(members: tuple[Any, ...], kind: str) -> list[Any]:
    """The members of a union that a value of this kind can be."""
    return [member for member in map(_bare, members) if kind in _kinds(member)]


@cache
def _tags(members: tuple[Any, ...]) -> tuple[str, dict[str, Any]]:
    """The key that tells these members apart, and the member for each of its values."""
    key = "type" if all("type" in fields_of(member) for member in members) else "role"
    return key, {tag: member for member in members for tag in _literals(fields_of(member)[key].type)}


def _check_tagged(members: tuple[Any, ...], value: dict[str, Any], path: Path) -> Iterator[Problem]:
    key, by_tag = _tags(members)
    untagged = next((member for member in members if not fields_of(member)[key].required), None)
    tag = value.get(key)
    member = untagged if tag is None else by_tag.get(tag) if isinstance(tag, str) else None
    if member is not None:
        name = next(text for text in _literals(fields_of(member)[key].type) if tag in (None, text))
        yield from problems_of(fields_of(member), value, (*path, name) if key == "type" else path)
    elif key not in value:
        yield Problem((*path, key), "Field required")
    elif key == "role":
        yield Problem((*path, key), f"Input should be {_either(tuple(by_tag))}")
    else:
        expected = ", ".join(f"'{name}'" for name in sorted(by_tag))
        reason = f"Input tag '{tag}' found using 'type' does not match any of the expected tags: {expected}"
        yield Problem(path, reason)


_NAMES = {
    "null": "null",
    "boolean": "boolean",
    "integer": "integer",
    "number": "number",
    "string": "string",
    "array": "list",
    "object": "dictionary",
}
_PLAIN = {
    str: {"string"},
    bool: {"boolean"},
    int: {"integer"},
    float: {"number", "integer"},
    type(None): {"null"},
    dict: {"object"},
    Any: set(_NAMES),
    object: set(_NAMES),
}


def _kind(value: object) -> str:
    kinds = {
        type(None): "null",
        bool: "boolean",
        int: "integer",
        float: "number",
        str: "string",
        list: "array",
    }
    return kinds.get(type(value), "object")


@cache
def _kinds(expected: Any) -> frozenset[str]:
    """The kinds of JSON value a type can take; none for what has no form in JSON, such as a file."""
    origin, arguments = get_origin(expected), get_args(expected)
    if expected in _PLAIN:
        return frozenset(_PLAIN[expected])
    if origin in (Union, types.UnionType):
        return frozenset[str]().union(*(_kinds(_bare(member)) for member in arguments))
    if origin is Literal:
        return frozenset(_kind(option) for option in arguments)
    if origin is dict or is_typeddict(expected):
        return frozenset({"object"})
    if isinstance(origin, type) and issubclass(origin, Iterable):
        return frozenset({"array"})
    return frozenset()


def _literals(expected: Any) -> list[str]:
    if get_origin(expected) is Literal:
        return [option for option in get_args(expected) if isinstance(option, str)]
    return [text for member in get_args(expected) for text in _literals(member)]


@cache
def _bare(hint: Any) -> Any:
    """A type without `Required`, `NotRequired` and `Annotated` around it."""
    while get_origin(hint) in (Required, NotRequired, Annotated):
        hint = get_args(hint)[0]
    return hint


def _required(hint: Any, by_default: bool) -> bool:
    origin = get_origin(hint)
    if origin is Annotated:
        return _required(get_args(hint)[0], by_default)
    return origin is Required or (origin is not NotRequired and by_default)


def _either(options: Iterable[object]) -> str:
    texts = [f"'{option}'" if isinstance(option, str) else str(option).lower() for option in options]
    return " or ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)
