"""Screens for text that is about to enter memory. Stands beside memory_tool.py, which works without it.

A screen takes a path and the whole text that a file would hold, and returns why it must not be stored, or None. Hand
them to ``MemoryToolHandler(screens=SCREENS)``: then they refuse. Beside a proposal they mark lines for the person who
decides. A rename is screened as its new path with no text.

Each looks for what has a form: a secret, a character that nobody sees, a turn of the conversation that is none. What a
text means, no screen knows. An order in plain words passes; that it reaches nobody else is the work of proposals and
of scopes.
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
import re
import time
import unicodedata
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from detect_secrets.plugins.base import RegexBasedDetector
    from detect_secrets.plugins.high_entropy_strings import HighEntropyStringsPlugin
    from detect_secrets.plugins.keyword import KeywordDetector

Screen: TypeAlias = Callable[[str, str], str | None]
"""(path, text) -> why it must not be stored, or None."""


def secrets_screen(path: str, text: str) -> str | None:
    """Refuse keys, tokens, random-looking strings, and passwords in assignments and URLs, by detect-secrets.

    Not taken for secrets: what says that it is an example; ids, by their name or prefix; digests, UUIDs, hexadecimal
    strings; public keys; pictures and other files in base64; a token whose time is over; the place or the name of a
    secret. A line that asks to be let through (``pragma: allowlist secret``) is not. No file is read, no network used,
    no global setting of detect-secrets touched. Takes time linear in the length of the text.
    """
    kind = next(_secrets(_without_examples(_without_files(_as_seen(f"{path}\n{text}")))), None)
    if kind is None:
        return None
    return f"it holds what looks like a secret ({kind}): leave it out, and note where it is kept instead"


def hidden_text_screen(path: str, text: str) -> str | None:
    """Refuse characters that nobody sees, or that look like others, where no writing system and no emoji needs them."""
    whole = f"{path}\n{text}"
    if whole.isascii():
        return None
    kind = next((kind for kind, found in _HIDDEN.items() if found.search(whole)), None)
    return kind and f"it holds text that people do not see as it is ({kind}): write it without"


def forged_turns_screen(path: str, text: str) -> str | None:
    """Refuse what poses as a part of the conversation: the role tags of chat formats, tool calls and tool results.

    What stands in a code span, a code block or quotation marks passes, as notes about such an attack quote it; an
    attacker can quote too.
    """
    seen = _CODE.sub(" ", _as_seen(f"{path}\n{text}"))
    found = _TOOL_JSON.search(seen) or _TURN.search(_QUOTED.sub(" ", seen))
    if found is None:
        return None
    return "it poses as a turn of the conversation (a role tag or a tool call): describe it, or put it in backticks"


SCREENS: tuple[Screen, ...] = (secrets_screen, hidden_text_screen, forged_turns_screen)


# Default_Ignorable_Code_Point in Unicode's DerivedCoreProperties.txt, and the marks of interlinear annotations. Tag
# characters, which are among them, have a rule of their own.
_UNSEEN = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000\U000e0080-\U000e0fff"
)
_TAGS = "\U000e0001-\U000e007f"
# What has variants, by StandardizedVariants.txt and the ideographic database: 0, some quotation marks and mathematical
# operators, letters of scripts other than Latin, Greek and Cyrillic. Emoji take the last two of the first sixteen.
_VARIES = "0\u1000-\u109f\u2018-\u201d\u2200-\u22ff\u2a00-\u2aff\u2e80-\uffef\U00010a00-\U00013fff\U00020000-\U0003ffff"

_HIDDEN = {
    # Tag characters have one use: a black flag with six of them is the flag of England, Scotland or Wales.
    "tag characters": re.compile(
        f"(?<![\U0001f3f4\U000e0020-\U000e007f])[{_TAGS}]|\U0001f3f4(?!\U000e0067\U000e0062)[{_TAGS}]|[{_TAGS}]{{7}}"
    ),
    "bidirectional controls": re.compile("[\u202a-\u202e\u2066-\u2069]"),
    "variation selectors": re.compile(
        f"[\ufe00-\ufe0f\U000e0100-\U000e01ef]{{2}}|[\ufe00-\ufe0d\U000e0100-\U000e01ef](?<![{_VARIES}].)"
    ),
    # No emoji has more than two in a row: a selector and a joiner.
    "invisible characters in a row": re.compile(f"[{_UNSEEN}]{{3}}"),
    # Persian and Indic scripts need joiners between their own letters, emoji between pictures; English needs none. A
    # soft hyphen comes with text from web pages, and hides no more than where a word may be divided.
    "invisible characters in a word": re.compile(f"(?<=[A-Za-z])(?!\u00ad[A-Za-z])[{_UNSEEN}]+(?=[A-Za-z])"),
    # Not what may end right before a word: an escape (\n), a format (%s), a range in a pattern (a-z).
    "Latin and Cyrillic letters in one word": re.compile(
        r"[A-Za-z](?<![\\%\d-].)[\u0400-\u04ff]|[\u0400-\u04ff][A-Za-z](?!-)"
    ),
}

_CODE = re.compile(r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|`[^`\n]+`", re.DOTALL)
_QUOTED = re.compile(r"\"[^\"\n]{1,300}\"|\u201c[^\u201d\n]{1,300}\u201d|(?<!\w)'[^'\n]{1,300}'(?!\w)")
_TOOL_JSON = re.compile(
    r"\"type\"\s{0,9}:\s{0,9}\"(?:server_)?(?:tool_use|tool_result|tool_call|function_call|function_call_output)\""
)
_TURN = re.compile(
    r"<\|[\w\u2581]{2,40}\|>"  # ChatML, Llama 3, DeepSeek, Harmony
    r"|<</?SYS>>|\[/?(?:INST|SYSTEM|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\]"  # Llama 2, Mistral
    r"|<(?:start|end)_of_turn>"  # Gemma
    # Claude, Qwen and others: tags of roles, calls and results
    r"|</?(?:antml:)?(?:system|assistant|human|function_calls?|function_results?|invoke|tool_calls?|tool_code|tool_use"
    r"|tool_results?|tool_response|tool_outputs?)(?:\s[^<>]{0,200})?/?>"
    r"|^[ \t]{0,9}(?:Human|Assistant):\s",
    re.MULTILINE,
)


class _Detectors(NamedTuple):
    formats: tuple[RegexBasedDetector, ...]
    random: HighEntropyStringsPlugin
    keyword: KeywordDetector
    keywords: re.Pattern[str]
    assigned: re.Pattern[str]


@functools.cache
def _detectors() -> _Detectors:
    """The detectors of detect-secrets, made once; importing them takes a third of a second."""
    from detect_secrets import plugins
    from detect_secrets.plugins import base, basic_auth, high_entropy_strings, keyword
    from detect_secrets.util.importlib import import_types_from_package

    class ApiKeyDetector(base.RegexBasedDetector):
        """Formats that detect-secrets does not know: Anthropic, Hugging Face, Google, Stripe's others, npm, Notion."""

        secret_type = "API Key"
        denylist = (
            re.compile(
                r"\b(?:sk-ant-[\w-]{20}|hf_[A-Za-z0-9]{30}|AIza[\w-]{35}|(?:rk_live|whsec)_\w{20}"
                r"|npm_[A-Za-z0-9]{36}|ntn_[0-9]{11}[A-Za-z0-9]{35})"
            ),
        )

    kinds = import_types_from_package(
        plugins,
        filter=lambda kind: not (isinstance(kind, type) and issubclass(kind, base.RegexBasedDetector)),
    )
    # Artifactory's format fits words such as APEnterprise; a public IP address is no secret.
    left_out = ("RegexBasedDetector", "ArtifactoryDetector", "IPPublicDetector")
    # The URLs of Redis have a password and no user; detect-secrets asks for both.
    no_user = basic_auth.BasicAuthDetector()
    no_user.denylist = [re.compile(r"://:([^{}\s/@]+)@")]
    random = high_entropy_strings.Base64HighEntropyString()
    # In notes, unlike in code, secrets stand without quotes.
    random.regex = re.compile(r"([A-Za-z0-9+/_-]{20,}={0,2})")
    names = "|".join(keyword.DENYLIST)
    return _Detectors(
        formats=(
            ApiKeyDetector(),
            no_user,
            *(kind() for kind in kinds if kind.__name__ not in left_out),
        ),
        random=random,
        keyword=keyword.KeywordDetector(),
        keywords=re.compile(names, re.IGNORECASE),
        assigned=re.compile(rf"(?:{names}|token)\w*[\"'`\]]{{0,2}}\s*[:=]\s*[\"'`]?$", re.IGNORECASE),
    )


_NOT_SEEN = re.compile(f"[{_UNSEEN}{_TAGS}]")


def _as_seen(text: str) -> str:
    """Full-width letters as letters, without what is invisible."""
    if text.isascii():
        return text
    return _NOT_SEEN.sub("", unicodedata.normalize("NFKC", text))


_DATA_URI = re.compile(r"data:[\w.+-]{1,40}/[\w.+-]{1,40}(?:;[\w=.-]{1,40})*;base64,[A-Za-z0-9+/=_-]*")
# Two or more lines of nothing but base64, as encoders wrap them, and the shorter one that ends them. One may be a key.
_WRAPPED = re.compile(
    r"(?:^[ \t>#*\"']*[A-Za-z0-9+/]{60,}[\"'\\,;)]*$\n?){2,}(?:^[ \t>#*\"']*[A-Za-z0-9+/]+={0,2}[\"'\\,;)]*$)?",
    re.MULTILINE,
)
_DIGEST = re.compile(
    r"\b(?:sha-?(?:1|224|256|384|512)[-:=]\s?|h1:)[\w+/-]{27,128}={0,2}(?![\w+/=-])", re.IGNORECASE
)


def _without_files(text: str) -> str:
    return _WRAPPED.sub("", _DIGEST.sub("", _DATA_URI.sub("", text)))


_JWT = re.compile(r"eyJ[\w-]+\.eyJ[\w-]+(?:\.[\w-]*)?")


def _without_examples(text: str) -> str:
    text = _JWT.sub(lambda token: "EXAMPLE" if _is_spent(token[0]) else token[0], text)
    return _TOKEN.sub(lambda token: "EXAMPLE" if _is_example(token[0]) else token[0], text)


def _secrets(text: str) -> Iterator[str]:
    """Kinds of secrets in a text, as detect-secrets calls them."""
    detectors = _detectors()
    pieces = "\n".join(filter(_can_hold_a_format, _pieces(text)))
    for detector in detectors.formats if pieces else ():
        if not all(map(_is_placeholder, detector.analyze_string(pieces))):
            yield detector.secret_type
    if any(_is_random(detectors, pieces, token) for token in detectors.random.regex.finditer(pieces)):
        yield detectors.random.secret_type
    if _has_password(detectors, text):
        yield detectors.keyword.secret_type


_PIECE, _OVERLAP = 1_000, 500


def _pieces(text: str) -> Iterator[str]:
    """Lines, very long ones in parts that overlap: some detectors take the square of a line's length."""
    for line in text.splitlines():
        for start in range(0, max(len(line) - _OVERLAP, 1), _PIECE - _OVERLAP):
            yield line[start : start + _PIECE]


_DIGIT = re.compile(r"\d")


def _can_hold_a_format(piece: str) -> bool:
    """Every format that is looked for holds a long word with a digit, or is in a URL, or heads a PEM file; but one."""
    return (
        "://" in piece
        or "-----" in piece
        or "hf_" in piece  # and letters alone
        or any(len(word) >= 16 and _DIGIT.search(word) for word in piece.split())
    )


_TOKEN = re.compile(r"[A-Za-z0-9+_-]{16,}={0,2}")
# The last two sign the sample tokens of jwt.io.
_SAYS_EXAMPLE = re.compile(
    r"example|sample|dummy|fake|placeholder|change[-_]?me|your[-_]|redacted|[-_]test[-_]"
    r"|SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c|KMUFsIDTnFmyG3nMiGM6H9FNFUROf3wh7SmqJp-QV30",
    re.IGNORECASE,
)
_FILLER = re.compile(r"(.)\1{3,}|0123456789|1234567890|abcdefghijklmnop[a-z]{0,10}", re.IGNORECASE)


def _is_example(token: str) -> bool:
    """Whether a token says so itself, or is little more than one letter again and again, or the alphabet."""
    rest = len(_FILLER.sub("", token))
    return bool(_SAYS_EXAMPLE.search(token)) or (rest < 16 <= len(token) - rest)


_PLACEHOLDERS = {
    *("password", "passwd", "pass", "pwd", "secret", "token", "postgres", "root", "admin", "user", "guest"),
    *("foo", "bar", "foobar", "hunter2", "s3cret", "letmein", "username", "none", "null", "true", "false"),
}


def _is_placeholder(value: str) -> bool:
    from detect_secrets.filters import heuristic

    return (
        value.strip("\"'`.,;:()[]*").lower() in _PLACEHOLDERS
        or heuristic.is_templated_secret(value)
        or heuristic.is_prefixed_with_dollar_sign(value)
        or bool(_SAYS_EXAMPLE.search(value))
    )


def _is_spent(token: str) -> bool:
    """Whether a JSON web token opens nothing: it has expired, or bears no signature, or is the sample of jwt.io."""
    _, payload, *signature = token.split(".")
    try:
        claims = json.loads(_decoded(payload) or b"")
    except ValueError:
        return False
    if not isinstance(claims, dict):
        return False
    expires = claims.get("exp")
    has_expired = isinstance(expires, int | float) and expires < time.time()
    return has_expired or signature in ([], [""]) or claims.get("sub") == "1234567890"


def _decoded(token: str) -> bytes | None:
    whole = token.rstrip("=").replace("+", "-").replace("/", "_")
    try:
        return base64.urlsafe_b64decode(whole + "=" * (-len(whole) % 4))
    except (binascii.Error, ValueError):
        return None


# What comes right before an id: its name.
_NAMES_ID = re.compile(
    r"(?:(?:\b|_)[Ii][Dd]s?|[a-z]I[dD]s?|(?:\b|_)(?i:uuid|guid|etag|trace|request|job|run|message|order|commit|cursor"
    r"|checksum|digest|hash|fingerprint))\W{0,4}(?:(?:is|was|of|with)\W)?$"
)
# An object's id at many services, such as req_, cus_ and toolu_; the formats of keys were looked for before.
_PREFIXED_ID = re.compile(r"(?!\w*(?:key|tok|sec|pat|api|auth|pw|sk_))[a-z]{2,8}_[A-Za-z0-9]{1,32}")
# Pictures and other files; JSON, as in a JSON web token; public keys for SSH and Ed25519 ones in PEM; certificates.
_BEGINS_FILE = re.compile(
    rb"\x89PNG|\xff\xd8\xff|GIF8|RIFF|BM|<svg|<\?xml|%PDF|PK\x03\x04|\{\""
    rb"|\0\0\0.(?:sk-)?(?:ssh-|ecdsa-sha2-)|\x30\x2a\x30\x05\x06\x03\x2b\x65|\x30\x82..\x30\x82",
    re.DOTALL,
)
_ENDS_URL = re.compile(r"[\s\"'`<>|,;]")
# What is longer is no key, unless its name says so, as a session token's does.
_LONGEST_KEY = 200


def _is_random(detectors: _Detectors, text: str, token: re.Match[str]) -> bool:
    """Whether a token is random-looking and mixed (upper and lower case and digits), and no id, URL or encoded file."""
    value = token[0]
    before = "".join(text[max(0, token.start() - 200) : token.start()].splitlines()[-1:])
    if (
        not all(map(re.search, ("[A-Z]", "[a-z]", "[0-9]"), (value,) * 3))
        or (len(value) > _LONGEST_KEY and not detectors.assigned.search(before[-60:]))
        or detectors.random.calculate_shannon_entropy(value) <= detectors.random.entropy_limit
    ):
        return False
    url = _ENDS_URL.split(before)[-1]
    is_user = text.startswith("@", token.end())
    in_url = "://" in url + value and not re.search("[?#]", url) and not is_user
    is_named = (
        in_url
        or _SAYS_EXAMPLE.search(value)
        or _NAMES_ID.search(before[-30:])
        or _PREFIXED_ID.fullmatch(value)
    )
    return not (is_named or _is_encoded(value))


def _is_encoded(value: str) -> bool:
    """Whether base64 stands for a file, for JSON or for a public key, as a random key never does."""
    data = _decoded(value[: len(value) // 4 * 4])
    return data is not None and _BEGINS_FILE.match(data) is not None


_AROUND_KEYWORD = (40, 90)
_MOST_KEYWORDS = 500
_SOUNDS_SECRET = re.compile(r"(?:key|pass|pwd|secret|contrase)\w*", re.IGNORECASE)
_ASSIGNS = re.compile(r"[=:(;]")
# Where a secret is kept: in AWS, by its path in another store, or by its name in code (settings.db_password_2).
_ARN = re.compile(r"arn:[\w-]{1,20}:[^\s\"'`,]*")
_NAMES_SECRET = re.compile(r"(?<![a-z])(?:key|pass|pwd|secret)s?(?![a-z])|password", re.IGNORECASE)
_PLACE = re.compile(r"(?:\w{2,9}://)?[A-Za-z_][\w-]*(?:(?:\.(?!\d)|/)[\w-]+)+[,;)\]}]*")
# Algorithms and encodings, and a product with a digit in its name, are what such a name is followed by in prose.
_PROSE = re.compile(r"(?:(?:base|sha|md|hs|rs|es|ps|aes|ed|rsa)-?\d{1,5}|1password),?(?=\s|$)", re.IGNORECASE)


def _has_password(detectors: _Detectors, text: str) -> bool:
    """Whether a value is assigned to a name that sounds like a secret. More such names than can be checked: it is."""
    for number, near in enumerate(_near_keywords(detectors, _ARN.sub("arn", text))):
        if number == _MOST_KEYWORDS or any(_is_password(value, near) for value in _assigned(detectors, near)):
            return True
    return False


def _near_keywords(detectors: _Detectors, text: str) -> Iterator[str]:
    """What stands around each name that sounds like a secret, in its line, where something is assigned.

    It begins after the name before, as detect-secrets looks at the first name only.
    """
    before, after = _AROUND_KEYWORD
    seen = 0
    for match in _SOUNDS_SECRET.finditer(text):
        start = match.start()
        if not detectors.keywords.search(text, max(seen, start - 12), start + 12):
            continue
        first = max(text.rfind("\n", 0, start) + 1, start - before, seen)
        seen = match.end()
        near = text[first : start + after].partition("\n")[0]
        if _ASSIGNS.search(near):
            yield near


def _assigned(detectors: _Detectors, near: str) -> Iterator[str]:
    """What is assigned: a quoted text, or a word with a digit, as prose has colons too."""
    from detect_secrets.plugins.keyword import CONFIG_DENYLIST_REGEX_TO_GROUP

    yield from detectors.keyword.analyze_string(near)
    for value in detectors.keyword.analyze_string(near, CONFIG_DENYLIST_REGEX_TO_GROUP):
        word = value.split(maxsplit=1)[0]
        if _DIGIT.search(word) and not _PROSE.match(value):
            yield word


def _is_password(value: str, near: str) -> bool:
    """Whether a value can be a password: one word, and neither a name, nor an expression, nor a place."""
    from detect_secrets.filters import heuristic

    return (
        len(value) >= 6
        and not re.search(r"\s", value)
        and not _is_placeholder(value)
        and not (_PLACE.fullmatch(value) and _NAMES_SECRET.search(value))
        and not heuristic.is_not_alphanumeric_string(value)
        and not heuristic.is_indirect_reference(near)
        and not heuristic.is_potential_uuid(value)
    )
