"""Screens for text that is about to enter memory. Stands beside memory_tool.py, which works without it.

A screen takes a path and the whole text that a file would hold, and returns why it must not be stored, or None. Hand
them to ``MemoryToolHandler(screens=[...])``. A rename is screened as its new path with no text.

`secrets_screen` runs the detectors of detect-secrets. `instructions_screen` is a heuristic for text that is addressed
to the model: it stops careless attacks, and a careful one gets past it.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import functools
import html
import importlib
import itertools
import pkgutil
import re
import string
import unicodedata
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple, TypeAlias
from urllib.parse import unquote

if TYPE_CHECKING:
    from detect_secrets.plugins.base import RegexBasedDetector
    from detect_secrets.plugins.high_entropy_strings import HighEntropyStringsPlugin
    from detect_secrets.plugins.keyword import KeywordDetector

Screen: TypeAlias = Callable[[str, str], str | None]
"""(path, text) -> why it must not be stored, or None."""


def secrets_screen(path: str, text: str) -> str | None:
    """Refuse keys, tokens, random-looking strings, and passwords in assignments and URLs, by detect-secrets.

    A line that asks to be let through (``pragma: allowlist secret``) is not. Left out on purpose are random hexadecimal
    strings, which digests and commits look like, and public IP addresses. UUIDs and digests that name their algorithm
    pass. The detectors see text alone: no file is read, no network used, no global setting of detect-secrets touched.
    Takes time linear in the length of the text.
    """
    kind = next(_secrets(_visible(f"{path}\n{text}")), None)
    if kind is None:
        return None
    return f"it holds what looks like a secret ({kind}): leave it out, and note where it is kept instead"


def instructions_screen(path: str, text: str) -> str | None:
    """Refuse what reads like an order to the model, in text or path, plain or encoded, and text that nobody can see.

    A heuristic. It knows some English ways of overriding rules, changing the reader's role, silencing findings,
    approving unseen, sending data away and hiding that; it looks again behind base64, hexadecimal, percent, HTML and
    backslash encoding, rot13, reversal, look-alike and spaced letters. Tag characters, bidirectional controls and runs
    of invisible characters are refused whatever they say. An order that is quoted in a sentence about it passes, which
    an attacker can use. Takes time linear in the length of the text.

    Measured on memory_demo/evaluation/attacks.json, where attacks and rules have one author: it refuses 25 of 25 attacks and
    0 of 24 harmless notes in the part it was fitted to, 22 of 27 and 0 of 24 in the part held out. Whoever knows the
    rules can do better than those attacks.
    """
    if hidden := _hidden(path) or _hidden(text):
        return hidden
    for reading in itertools.chain([_words_of_path(path)], _readings(text)):
        if order := _order_in(reading):
            return (
                f"it reads like an order to its reader ({order}): write it as an observation about the code"
            )
    return None


_HIDDEN = {
    # Tag characters have one common use: a black flag with six of them is the flag of England, Scotland or Wales.
    "tag characters": re.compile(
        "(?<![\U0001f3f4\U000e0020-\U000e007f])[\U000e0001-\U000e007f]|\U0001f3f4(?!\U000e0067\U000e0062)[\U000e0001-\U000e007f]"
        "|[\U000e0001-\U000e007f]{7}"
    ),
    "bidirectional controls": re.compile("[\u202a-\u202e\u2066-\u2069]"),
    "variation selectors in a row": re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{2}"),
    "zero-width characters in a row": re.compile("[\u200b-\u200d\u2060-\u2064\ufeff]{4}"),
}
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2060-\u2064\u206a-\u206f\u3164\ufe00-\ufe0f\ufeff"
    "\uffa0\U000e0000-\U000e0fff]"
)


def _hidden(text: str) -> str | None:
    kinds = () if text.isascii() else (kind for kind, found in _HIDDEN.items() if found.search(text))
    kind = next(iter(kinds), None)
    return kind and f"it holds text that people cannot see ({kind}): write it without"


def _visible(text: str) -> str:
    return text if text.isascii() else _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))


class _Detectors(NamedTuple):
    formats: tuple[RegexBasedDetector, ...]
    short_formats: tuple[RegexBasedDetector, ...]
    private_key: RegexBasedDetector
    random: HighEntropyStringsPlugin
    keyword: KeywordDetector
    keywords: re.Pattern[str]


# Every format that is looked for holds a long word with a digit, or a URL: the slow detectors see nothing else.
_SHORTEST_SECRET = 16
_DIGIT_OR_URL = re.compile(r"\d|://")
# The secrets of the four slowest detectors hold such a run.
_LONG_RUN = re.compile(r"[A-Za-z0-9]{24}|[A-Za-z0-9_-]{44}")
_TOKEN_CHARACTERS = 1_000
_BEFORE_TOKEN = 60
_AROUND_KEYWORD = (40, 90)
_MOST_KEYWORDS = 500
_ASSIGNS = re.compile(r"[=:(;]")
_QUOTE = re.compile(r"[\"'`]")
_IN_KEYWORDS = ("key", "pass", "pwd", "secret", "contrase")
_NAMES_DIGEST = re.compile(r"[Ss][Hh][Aa]-?[1235]")
_DIGEST = re.compile(r"\bsha-?(?:1|224|256|384|512)[-:=]\s?[\w+/-]{27,128}={0,2}(?![\w+/=-])", re.IGNORECASE)


@functools.cache
def _detectors() -> _Detectors:
    """The detectors of detect-secrets, made once; importing them takes a third of a second."""
    from detect_secrets import plugins
    from detect_secrets.plugins import high_entropy_strings, keyword
    from detect_secrets.plugins.artifactory import ArtifactoryDetector
    from detect_secrets.plugins.base import RegexBasedDetector
    from detect_secrets.plugins.cloudant import CloudantDetector
    from detect_secrets.plugins.ibm_cloud_iam import IbmCloudIamDetector
    from detect_secrets.plugins.ibm_cos_hmac import IbmCosHmacDetector
    from detect_secrets.plugins.ip_public import IPPublicDetector
    from detect_secrets.plugins.private_key import PrivateKeyDetector
    from detect_secrets.plugins.softlayer import SoftlayerDetector

    for module in pkgutil.iter_modules(plugins.__path__, f"{plugins.__name__}."):
        importlib.import_module(module.name)
    own = [
        kind for kind in RegexBasedDetector.__subclasses__() if kind.__module__.startswith(plugins.__name__)
    ]
    # Artifactory's format fits words such as APEnterprise.
    left_out = (ArtifactoryDetector, IPPublicDetector, PrivateKeyDetector)
    formats = tuple(kind() for kind in own if kind not in left_out)
    long = (CloudantDetector, IbmCloudIamDetector, IbmCosHmacDetector, SoftlayerDetector)
    random = high_entropy_strings.Base64HighEntropyString()
    # In notes, unlike in code, secrets stand without quotes.
    random.regex = re.compile(r"([A-Za-z0-9+/=_-]{20,})")
    return _Detectors(
        formats=formats,
        short_formats=tuple(detector for detector in formats if not isinstance(detector, long)),
        private_key=PrivateKeyDetector(),
        random=random,
        keyword=keyword.KeywordDetector(),
        keywords=re.compile("|".join(keyword.DENYLIST), re.IGNORECASE),
    )


def _secrets(text: str) -> Iterator[str]:
    """Kinds of secrets in a text, as detect-secrets calls them."""
    detectors = _detectors()
    if any(detectors.private_key.analyze_string(text)):
        yield detectors.private_key.secret_type
    if _NAMES_DIGEST.search(text):
        text = _DIGEST.sub("digest", text)
    tokens = list(_tokens(text))
    if any(_is_random(detectors.random, token) for _, token in tokens):
        yield detectors.random.secret_type
    # One call for all pieces: calls cost more than what they look at.
    pieces = "\n".join(piece for piece, _ in tokens)
    formats = detectors.formats if _LONG_RUN.search(pieces) else detectors.short_formats
    for detector in formats if pieces else ():
        if not all(map(_is_placeholder, detector.analyze_string(pieces))):
            yield detector.secret_type
    if _has_password(detectors, text):
        yield detectors.keyword.secret_type


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    """Long words with a digit, and URLs: each with what stands before it, and alone; in pieces if they are very long."""
    end = 0
    for word in [word for word in text.split() if len(word) >= _SHORTEST_SECRET]:
        if not _DIGIT_OR_URL.search(word):
            continue
        start = text.index(word, end)
        end = start + len(word)
        for first in range(start, max(start + 1, end - _TOKEN_CHARACTERS // 2), _TOKEN_CHARACTERS // 2):
            last = min(end, first + _TOKEN_CHARACTERS)
            yield text[max(0, first - _BEFORE_TOKEN) : last + 1], text[first:last]


def _is_random(detector: HighEntropyStringsPlugin, token: str) -> bool:
    """Whether a part of a word is random-looking and mixed: upper and lower case and digits."""
    from detect_secrets.filters import heuristic

    return any(
        detector.calculate_shannon_entropy(value) > detector.entropy_limit
        and not heuristic.is_sequential_string(value)
        for value in detector.analyze_string(token)
        if re.search("[A-Z]", value) and re.search("[a-z]", value) and re.search("[0-9]", value)
    )


def _is_placeholder(value: str) -> bool:
    from detect_secrets.filters import heuristic

    return heuristic.is_templated_secret(value) or heuristic.is_prefixed_with_dollar_sign(value)


def _has_password(detectors: _Detectors, text: str) -> bool:
    """Whether a value is assigned to a name that sounds like a secret. More such names than can be checked: it is."""
    from detect_secrets.plugins.keyword import CONFIG_DENYLIST_REGEX_TO_GROUP

    before, after = _AROUND_KEYWORD
    checked = 0
    for start in _keywords(detectors.keywords, text):
        first = max(text.rfind("\n", 0, start) + 1, start - before)
        last = text.find("\n", start) % (len(text) + 1)
        piece = text[first : min(last, start + after)]
        if not _ASSIGNS.search(piece):
            continue
        checked += 1
        ways: list[dict[re.Pattern[str], int] | None] = [None] if _QUOTE.search(piece) else []
        ways += [CONFIG_DENYLIST_REGEX_TO_GROUP] if re.search(r"\d", piece) else []
        if checked > _MOST_KEYWORDS or any(
            _is_password(value, piece, quoted=groups is None)
            for groups in ways
            for value in detectors.keyword.analyze_string(piece, groups)
        ):
            return True
    return False


def _keywords(keywords: re.Pattern[str], text: str) -> Iterator[int]:
    """Where names that sound like secrets are; of several close together one."""
    lowered = text.lower() if text.isascii() else text
    found = {match.start() for part in _IN_KEYWORDS for match in re.finditer(part, lowered)}
    seen = 0
    for start in sorted(found):
        if start >= seen and keywords.search(text, max(0, start - 12), start + 12):
            seen = start + _AROUND_KEYWORD[0] // 2
            yield start


def _is_password(value: str, piece: str, quoted: bool) -> bool:
    """Whether a value can be a password: one word, and without quotes one with a digit, as prose has colons too."""
    from detect_secrets.filters import heuristic

    word = value if quoted else value.split(maxsplit=1)[0]
    return (
        len(word) >= 6
        and not re.search(r"\s", word)
        and (quoted or any(map(str.isdigit, word)))
        and not _is_placeholder(word)
        and not heuristic.is_not_alphanumeric_string(word)
        and not heuristic.is_indirect_reference(piece)
        and not heuristic.is_potential_uuid(word)
    )


# Cyrillic and Greek letters that look like Latin ones.
_LOOK_ALIKES = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u043a\u043c\u0442\u043d\u0432"
    "\u03bf\u03b1\u03b5\u03c1\u03b9\u03ba\u03bd\u03c5\u03c4",
    "aeopcyxikmthboaepiknut",
)
_STRUCK = re.compile("[\u0300-\u036f]")
_SPACED = re.compile(r" \w(?: \w){4,}(?= )")
# Lines of a comment or paragraph read on; a list item or a blank line starts anew.
_ITEM = re.compile(r"[-+*] |\d{1,3}[.)] ")
_LINE_START = " \t#/*>;"
_SHORTEST_ENCODED = 20
_ENCODED = re.compile(r"[A-Za-z0-9+/_-]{20,}")
_NOT_A_NAME = re.compile(r"[A-Z0-9]")
_PERCENT = re.compile(r"%[0-9A-Fa-f]{2}")
_ESCAPED = re.compile(r"\\(?:x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4})")
_DEPTH = 2


def _words_of_path(path: str) -> str:
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", path.removeprefix("/memories"))
    return _plain(re.sub(r"[\W_]+", " ", parted))


def _readings(text: str, depth: int = _DEPTH) -> Iterator[str]:
    """A text as it reads, turned round where that gives words that matter, and what is encoded in it."""
    plain = _plain(text)
    yield plain
    if any(word in plain for word in _ROTATED):
        yield codecs.encode(plain, "rot13")
    if any(word in plain for word in _REVERSED):
        yield plain[::-1]
    decoded = list(_decoded(text)) if depth else []
    if decoded:
        yield from _readings("\n\n".join(decoded), depth - 1)


def _plain(text: str) -> str:
    """Lower case on one line, letters as they look, invisible characters and emphasis gone."""
    if not text.isascii():
        text = _STRUCK.sub("", unicodedata.normalize("NFKD", _INVISIBLE.sub("", text)))
    text = text.lower()
    if not text.isascii():
        text = text.translate(_LOOK_ALIKES).replace("\u2019", "'")
    parts = []
    for line in text.splitlines():
        words = line.strip(_LINE_START)
        parts += [words] if words and not _ITEM.match(line.lstrip()) else [".", words]
    text = _SPACED.sub(lambda letters: " " + letters[0].replace(" ", ""), f" {' '.join(parts)} ")
    return " ".join(text.replace("*", "").split())


def _decoded(text: str) -> Iterator[str]:
    for token in _long_words(text):
        if _NOT_A_NAME.search(token) and (decoded := _decode(token)) and decoded.isprintable():
            yield decoded
    if _PERCENT.search(text):
        yield unquote(text)
    if "&#" in text:
        yield html.unescape(text)
    if _ESCAPED.search(text):
        yield _ESCAPED.sub(lambda code: chr(int(code[0][2:], 16)), text)


def _long_words(text: str) -> Iterator[str]:
    """Words that can be encoded text; those that follow each other, as the lines of a long one do, also joined."""
    words = text.split()
    last, run = -2, ""
    for number in [number for number, word in enumerate(words) if len(word) >= _SHORTEST_ENCODED]:
        yield from _ENCODED.findall(words[number])
        if number > last + 1:
            yield from _ENCODED.findall(run)
            run = ""
        # What stands alone was looked at above.
        run = (run or words[last]) + words[number] if number == last + 1 else ""
        last = number
    yield from _ENCODED.findall(run)


def _decode(token: str) -> str:
    """What hexadecimal or base64 stands for, "" if that is not text."""
    try:
        if re.fullmatch(r"(?:[0-9A-Fa-f]{2})+", token):
            return bytes.fromhex(token).decode()
        whole = token[: len(token) - (len(token) % 4 == 1)]
        return base64.urlsafe_b64decode(
            whole.replace("+", "-").replace("/", "_") + "=" * (-len(whole) % 4)
        ).decode()
    except (binascii.Error, ValueError):
        return ""


class _Rule(NamedTuple):
    """One way of giving an order. `pattern` is tried where one of `words` is found, each a beginning of it.

    An imperative counts only where a sentence can begin, or after a word that makes it an order.
    """

    order: str
    words: tuple[str, ...]
    pattern: re.Pattern[str]
    imperative: bool = False


def _rule(order: str, words: str, pattern: str, imperative: bool = False) -> _Rule:
    return _Rule(order, tuple(words.split("|")), re.compile(pattern), imperative)


_BUGS = r"(?:bugs?|findings?|issues?|problems?|vulnerabilit\w+|races?|injections?|errors?|defects?|warnings?)"
_ALL = r"(?:everything|anything|all|any|every|each|whatever)"
_SILENCE = (
    r"(?:report|flag|mention|raise|list|warn|complain|comment|disclose|reveal|point out|look for|check|review"
    r"|examine|inspect|analy[sz]e)(?:ing|ting)?"
)
_RULES = (
    _rule(
        "it overrides rules",
        "ignore|disregard|forget|override|bypass|set aside|pay no attention|not follow|not obey",
        r"(?:ignore|disregard|forget|override|bypass|set aside|pay no attention to|not follow|not obey)\s"
        r"(?:[^.!?]{0,40}\s)?(?:previous|prior|earlier|above|preceding|existing|former|other|all|any|every|your|these"
        r"|those|the|what)\b(?:[^.!?]{0,20}\s)?(?:instructions?|prompts?|guidelines?|orders|directives?|polic(?:y|ies)"
        r"|guardrails?|rules)\b",
    ),
    _rule(
        "it overrides rules",
        "instructions|rules|prompt",
        r"(?:instructions|rules|prompt)\b[^.!?]{0,20} (?:is|are|was|were) (?:now |hereby )?"
        r"(?:void|cancel\w+|obsolete|suspended|revoked|lifted|no longer)\b",
    ),
    _rule(
        "it changes the reader's role",
        "you are now|from now on|act as|pretend ",
        r"you are now (?:an?|in|the)\b|from now on,? (?:you|always|never|do|don't|act|answer|approve|report|treat|skip"
        r"|accept|every)\b|act as (?:an? |if )(?:[^.!?]{0,20}\s)?(?:ai|assistant|model|bot|agent|reviewer|expert)\b"
        r"|pretend (?:to be|that you|you)\b",
    ),
    _rule(
        "it changes the reader's role",
        "your ",
        r"your (?:new |only |real |true |actual |sole )+(?:role|task|job|goal|purpose|instructions?)\b"
        r"|your (?:role|task|job|goal|purpose) (?:is|has) (?:now |to be )?(?:to\b|changed)",
    ),
    _rule(
        "it poses as the system",
        "system:|system :|developer:|<|[",
        r"(?:system|developer) ?: ?(?:you|new|ignore|always|never|do|from|override|the assistant)\b"
        r"|<\|im_(?:start|end)\|>|</?system(?:[-_]\w+)?>|<<sys>>|\[/?inst\]",
    ),
    _rule(
        "it silences findings",
        "not |n't |never |stop |no need |refrain |avoid ",
        rf"(?:not|n't|never|stop|no need|refrain|avoid)(?: ever| to| from)? {_SILENCE}\b(?:[^.!?]{{0,60}}\s)?"
        rf"(?:{_BUGS}|anything|everything|nothing|this (?:file|code|project|repository|module)|code|files?)\b",
    ),
    _rule(
        "it silences findings",
        "report |raise |flag |list |find ",
        rf"(?:report|raise|flag|list|find) (?:nothing|(?:no|zero) (?:\w+ )?{_BUGS})\b",
        imperative=True,
    ),
    _rule(
        "it silences findings",
        "skip ",
        r"skip (?:every|all|any|the) (?:\w+ )?(?:checks?|reviews?|analys[ie]s|findings?)\b",
        imperative=True,
    ),
    _rule(
        "it approves unseen",
        "approve |accept |merge |sign off |pass |rubber",
        r"(?:approve|accept|merge|sign off|pass|rubber[- ]stamp)(?: on)? "
        rf"(?:[^.!?]{{0,30}}\s)?(?:{_ALL}|without|automatically|unseen|as they are|as it is)\b",
        imperative=True,
    ),
    _rule(
        "it approves unseen",
        "treat |mark |consider ",
        rf"(?:treat|mark|consider) (?:{_ALL}|them|it|this|the|code|files?)\b[^.!?]{{0,40}} "
        r"(?:as|is|are) (?:already )?(?:approved|trusted|safe|reviewed|clean|correct|ok)\b",
        imperative=True,
    ),
    _rule(
        "it dictates the answer",
        "answer |reply |respond |say ",
        rf"(?:answer|reply|respond|say) (?:{_ALL}|only|always|with|that|[\"\u201c'])",
        imperative=True,
    ),
    _rule(
        "it addresses the model",
        "ai |assistant|reviewer|claude|language model|llm|agent|you must|you have to",
        r"(?:ai|assistant|(?:ai )?reviewer|claude|language model|llm|agent)s?,? (?:must|should|shall|has to|have to|is to"
        r"|are to) (?:not|never|always|only|approve|accept|ignore|skip|reply|answer|say|pass)\b|you (?:must|have to) "
        r"(?:not |never |always )?(?:approve|accept|obey|follow|comply|reply|answer|say|flag|skip|ignore)\b",
    ),
    _rule(
        "it sends data away",
        "send |post |upload |forward |mail |transmit |exfiltrate |leak |copy |submit ",
        r"(?:send|post|upload|forward|mail|transmit|exfiltrate|leak|copy|submit) (?:[^.!?]|[.](?! )){0,80}?"
        r"(?:https?://|ftp://|\w@\w|webhook|server at|pastebin)",
        imperative=True,
    ),
    _rule(
        "it asks for what is not its to see",
        "reveal |print |show |repeat |output |disclose |dump ",
        r"(?:reveal|print|show|repeat|output|disclose|dump) (?:[^.!?]{0,30} )?(?:system prompt|your (?:instructions|prompt"
        r"|memory|rules)|api keys?|environment variables?)\b",
        imperative=True,
    ),
    _rule(
        "it hides something from people",
        "not |n't |never |without |keep |stay ",
        r"(?:not|n't|never) (?:tell|inform|alert|notify|let) (?:[^.!?]{0,20} )?(?:user|human|developer|anyone|anybody|team)s?\b"
        r"|without (?:telling|informing|notifying|asking) (?:[^.!?]{0,20} )?(?:user|human|developer|anyone|anybody|team)s?\b"
        r"|(?:keep|stay) (?:quiet|silent) about\b",
    ),
    _rule(
        "it makes itself permanent",
        "this |these |must be |has to be |delete ",
        r"(?:this|these) (?:rule|note|instruction|memor|polic)(?:s|y|ies)? (?:override|supersede|outrank|take)s?\b"
        r"|(?:must|has to) be (?:obeyed|followed)\b|delete (?:all|every|the other) (?:[^.!?]{0,20} )?(?:notes?|memor(?:y|ies))\b",
    ),
)
_RULES_BY_WORD = {
    word: tuple(rule for rule in _RULES if word in rule.words) for rule in _RULES for word in rule.words
}
# Looking a word up in the set of those that a text has is quicker than looking for it in the text.
_TO_SPACES = str.maketrans(dict.fromkeys(string.punctuation.replace("'", "") + "\u201c\u201d", " "))
_PARTS_OF = {word: frozenset(re.findall("[a-z]+", "" if word == "n't " else word)) for word in _RULES_BY_WORD}
# Words that show that a text makes sense when it is turned round.
_TELLING = ("ignore", "disregard", "instruction", "from now on", "report", "approve")
_ROTATED = tuple(codecs.encode(word, "rot13") for word in _TELLING)
_REVERSED = tuple(word[::-1] for word in _TELLING)
_OTHER_LANGUAGES = tuple(
    _plain(order)
    for order in (
        "ignora las instrucciones",
        "ignora todas las instrucciones",
        "ignorez les instructions",
        "ignorez toutes les instructions",
        "ignoriere alle",
        "ignoriere die vorherigen",
        "\u0438\u0433\u043d\u043e\u0440\u0438\u0440\u0443\u0439",  # Russian
        "\u5ffd\u7565\u4e4b\u524d",  # Chinese: the earlier ones
        "\u5ffd\u7565\u4ee5\u4e0a",  # Chinese: the above
    )
)
_BEGINS = re.compile(
    r"(?:^|[.!?:;,>)(\]\"\u201c'`-] ?|\b(?:and|then|or|please|now|must|should|shall|always|also|just|simply|to|you|will|not|ai"
    r"|assistant|reviewers?|claude|agent|model|bot) )$"
)
_QUOTED = re.compile(r"\"[^\"]{3,300}\"|\u201c[^\u201d]{3,300}\u201d|`[^`]{3,300}`")
_DESCRIBES = re.compile(
    r"\b(?:sentence|string|comments?|phrase|text|words|payload|example|fixture|test data|injection|attack\w*|says?|reads"
    r"|tells|writes?|contains|such as)\b"
)


def _order_in(text: str) -> str | None:
    """What a text orders, if it does. `text` is as `_plain` gives it."""
    present = set(text.translate(_TO_SPACES).split())
    present.update([word[:-1] for word in present if word.endswith("s")])
    for word, rules in _RULES_BY_WORD.items():
        if not _PARTS_OF[word] <= present:
            continue
        position = text.find(word)
        while position >= 0:
            for rule in rules:
                if _is_order(rule, text, position):
                    return rule.order
            position = text.find(word, position + len(word))
    return "it overrides rules" if any(words in text for words in _OTHER_LANGUAGES) else None


def _is_order(rule: _Rule, text: str, position: int) -> bool:
    before = text[max(0, position - 16) : position]
    inside_word = (
        before[-1:].isalnum() and text[position].isalnum() and text[position : position + 3] != "n't"
    )
    if inside_word or not rule.pattern.match(text, position):
        return False
    if rule.imperative and not _BEGINS.search(before):
        return False
    return not _is_described(text, position)


def _is_described(text: str, position: int) -> bool:
    """Whether the position is inside quotes, in a sentence that is about what it quotes."""
    start = max(0, position - 300)
    for quote in _QUOTED.finditer(text, start, position + 300):
        if quote.start() < position < quote.end():
            around = (
                f"{text[max(0, quote.start() - 80) : quote.start()]} {text[quote.end() : quote.end() + 60]}"
            )
            return bool(_DESCRIBES.search(around))
    return False
