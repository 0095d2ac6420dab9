"""What counts as Python, and its text as Python itself would read it."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from pathlib import PurePath

MAX_BYTES = 1_000_000
SUFFIXES = (".py", ".pyw", ".pyi")

# A word of the line is the interpreter's name: it is the program, or what env, nice or poetry is to run.
_SHEBANG = re.compile(rb"""#!(?:.*[ \t/\\"'])?(?:(?:python|pypy)[^\s/\\"']*|uvx?|pipx)(?=["'\s]|$)""")
_CODING_LINE = re.compile(rb"(?:[ \t\f]*(?:#[^\n]*)?\n)?[ \t\f]*#[^\n]*?coding[:=][ \t]*[-\w.]+")
# In an encoding that reads these as anything else, a comment can hold a line break and code after it.
_PLAIN = rb"\n \x41 \u0041 +AEE- ~{ =41"


class NotReviewable(Exception):
    """Why a file cannot be reviewed; the message goes on after the file's name."""


def has_python_suffix(name: str) -> bool:
    """Whether a file's name says that it is Python, in capitals too, as Windows and macOS do not tell them apart."""
    return PurePath(name).suffix.lower() in SUFFIXES


def may_be_python(name: str) -> bool:
    """Whether a name is that of Python, or leaves it open by having no suffix."""
    return has_python_suffix(name) or PurePath(name).suffix in ("", ".")


def is_python(name: str, head: bytes) -> bool:
    """Whether a file with this name and these first bytes is Python: by suffix, by shebang, or by a coding line.

    A coding line says so only where there is no suffix: other languages have them too.
    """
    if has_python_suffix(name):
        return True
    lines = _with_newlines(head.removeprefix(b"\xef\xbb\xbf"))
    return bool(_SHEBANG.match(lines) or (may_be_python(name) and _CODING_LINE.match(lines)))


def source_text(data: bytes) -> str:
    r"""The text of a Python file, decoded by PEP 263, every line ended by "\n". Raises NotReviewable."""
    if len(data) > MAX_BYTES:
        raise NotReviewable(f"is larger than {MAX_BYTES:,} bytes")
    # First, as Python does it: what a lone carriage return ends is a line, and so is a coding line after it.
    data = _with_newlines(data)
    text = _decoded(data)
    _check_syntax(text)
    return text


def _with_newlines(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _decoded(data: bytes) -> str:
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        if _PLAIN.decode(encoding, "replace") != _PLAIN.decode("ascii"):
            raise NotReviewable(f"has the encoding {encoding}, which can hide code from its readers")
        return data.decode(encoding)
    except SyntaxError as error:
        raise NotReviewable(f"cannot be decoded ({error.msg})") from None
    except UnicodeDecodeError as error:
        raise NotReviewable(f"is not {encoding} text (see byte {error.start})") from None
    except (LookupError, ValueError):
        raise NotReviewable(f"cannot be decoded ({encoding} is not an encoding of text)") from None


def _check_syntax(text: str) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(text)
    except SyntaxError as error:
        where = f"line {error.lineno}: " if error.lineno else ""
        raise NotReviewable(f"does not parse as Python ({where}{error.msg})") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise NotReviewable(f"does not parse as Python ({error or type(error).__name__})") from None
