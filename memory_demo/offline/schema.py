"""Whether JSON has the shape of one of the SDK's request types, unknown fields refused.

The SDK's types for requests are TypedDicts, which check nothing at run time, and their alternatives differ by
a literal `type`. This walks such a type beside a value. Wording and paths are the API's: a path names the
alternative it went into, as in `messages.0.content.1.tool_use.input`.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Iterator, Mapping
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


Check: TypeAlias = Callable[[Any, Path], Iterable[Problem]]


class Field(NamedTuple):
    """One key of an object."""

    type: Any
    required: bool
    check: Check

    @classmethod
    def of(cls, type: Any, required: bool) -> Field:
        return cls(type, required, _checker(type))


@cache
def fields_of(typed_dict: Any) -> Mapping[str, Field]:
    """The keys of a TypedDict.

    `__required_keys__` alone does not do: under postponed annotations it does not see `Required[...]`.
    """
    hints = get_type_hints(typed_dict, include_extras=True)
    return {
        key: Field.of(_bare(hint), _required(hint, key in typed_dict.__required_keys__))
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
            yield from field.check(value[key], (*path, key))
        elif field.required:
            yield Problem((*path, key), "Field required")
    if not open_ended:
        extra = (key for key in value if key not in fields)
        yield from (Problem((*path, key), "Extra inputs are not permitted") for key in extra)


@cache
def _checker(expected: Any) -> Check:
    """The check of values of a type, worked out once: a long conversation has thousands of them."""
    origin, arguments = get_origin(expected), get_args(expected)
    if expected in (Any, object):
        return _nothing
    if origin in (Union, types.UnionType):
        return _union_checker(arguments)
    if origin is Literal:
        unlike = f"Input should be {_either(arguments)}"
        return lambda value, path: () if value in arguments else [Problem(path, unlike)]
    kinds, check = _kinds(expected), _inner_checker(expected)
    other = f"Input should be a valid {_NAMES[max(kinds)]}" if kinds else ""
    return lambda value, path: check(value, path) if _kind(value) in kinds else [Problem(path, other)]


def _inner_checker(expected: Any) -> Check:
    """The check of what is in an object or a list."""
    if is_typeddict(expected):
        return lambda value, path: problems_of(fields_of(expected), value, path)
    arguments = get_args(expected)
    if not arguments:
        return _nothing
    check = _checker(_bare(arguments[-1]))

    def check_items(value: Any, path: Path) -> Iterator[Problem]:
        for place, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from check(item, (*path, place))

    return check_items


def _union_checker(members: tuple[Any, ...]) -> Check:
    by_kind: dict[str, Check] = {}

    def check(value: object, path: Path) -> Iterable[Problem]:
        kind = _kind(value)
        if kind not in by_kind:
            by_kind[kind] = _checker_of_kind(members, kind)
        return by_kind[kind](value, path)

    return check


def _checker_of_kind(members: tuple[Any, ...], kind: str) -> Check:
    """The check of a value of a kind against the members of a union that it can be."""
    alternatives = [_bare(member) for member in members]
    fitting = [member for member in alternatives if kind in _kinds(member)]
    typed = tuple(member for member in fitting if is_typeddict(member))
    if not fitting:
        names = dict.fromkeys(_NAMES[kind] for member in alternatives for kind in sorted(_kinds(member)))
        other = f"Input should be a valid {' or '.join(name for name in names if name != 'null')}"
        return lambda value, path: [Problem(path, other)]
    if len(typed) == 1:
        # A plain dictionary as the other alternative is how the SDK says that more keys are allowed.
        open_ended = len(fitting) > 1
        return lambda value, path: problems_of(fields_of(typed[0]), value, path, open_ended=open_ended)
    if typed:
        return lambda value, path: _check_tagged(typed, value, path)
    checks = [_checker(member) for member in fitting]
    return lambda value, path: min((list(check(value, path)) for check in checks), key=len)


def _nothing(value: object, path: Path) -> Iterable[Problem]:
    return ()


@cache
def _tags(members: tuple[Any, ...]) -> tuple[str, dict[str | None, tuple[Any, str]]]:
    """The key that tells these members apart, and for each of its values, or None for no value, the member and its name."""
    key = "type" if all("type" in fields_of(member) for member in members) else "role"
    by_tag: dict[str | None, tuple[Any, str]] = {}
    for member in members:
        names = _literals(fields_of(member)[key].type)
        by_tag |= {name: (member, name) for name in names}
        if not fields_of(member)[key].required:
            by_tag.setdefault(None, (member, names[0]))
    return key, by_tag


def _check_tagged(members: tuple[Any, ...], value: dict[str, Any], path: Path) -> Iterator[Problem]:
    key, by_tag = _tags(members)
    tag = value.get(key)
    if (tag is None or isinstance(tag, str)) and tag in by_tag:
        member, name = by_tag[tag]
        yield from problems_of(fields_of(member), value, (*path, name) if key == "type" else path)
        return
    tags = [name for name in by_tag if name is not None]
    if key not in value:
        yield Problem((*path, key), "Field required")
    elif key == "role":
        yield Problem((*path, key), f"Input should be {_either(tags)}")
    else:
        expected = ", ".join(f"'{name}'" for name in sorted(tags))
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


_KINDS = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
}


def _kind(value: object) -> str:
    return _KINDS.get(type(value), "object")


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
