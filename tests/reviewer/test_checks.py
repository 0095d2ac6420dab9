"""What holds for every check: on the samples, on the standard library, and when code is renamed or moved."""

import ast
import io
import re
import sysconfig
import tokenize
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory_demo.reviewer.checks import find_bugs

CHECKS = Path(__file__).parents[2] / "memory_demo" / "reviewer" / "checks"
SAMPLES = sorted((Path(__file__).parents[2] / "memory_demo" / "sample_code").glob("*.py"))
KEPT = {
    "self",
    "cls",
    "super",
    "int",
    "len",
    "set",
    "dict",
    "list",
    "max",
    "min",
    "sorted",
    "range",
    "LookupError",
}
KEPT |= {
    "isinstance",
    "property",
    "staticmethod",
    "classmethod",
    "str",
    "type",
    "NamedTuple",
    "Protocol",
    "float",
}


def places(source):
    return [(f.form, f.line, f.end_line) for f in find_bugs(source)]


def renamed(source, suffix):
    """The source with every name of its own changed: variables, attributes, functions and classes."""
    tree = ast.parse(source)
    imported = {
        alias.asname or alias.name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    own = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
    }
    own |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    own |= {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    own |= {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)}
    foreign = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)} - own
    names = {
        name for name in own - imported - foreign - KEPT if not name.endswith("__") and "lock" not in name
    }
    return re.sub(r"\b[A-Za-z_]\w*\b", lambda m: m[0] + suffix if m[0] in names else m[0], source)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
@settings(max_examples=5, deadline=None)
@given(suffix=st.from_regex(r"\A_?[a-z]{1,6}\Z"))
def test_names_do_not_matter(path, suffix):
    source = path.read_text(encoding="utf-8")
    changed = renamed(source, suffix)
    ast.parse(changed)
    assert changed != source
    assert places(changed) == places(source)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_findings_move_with_the_code(path, data):
    source = path.read_text(encoding="utf-8")
    lines = source.splitlines()
    starts = [node.lineno for node in ast.parse(source).body if not isinstance(node, ast.Expr)]
    tops = [n for n in starts if not lines[n - 2].startswith("@")]
    at, count = data.draw(st.sampled_from(tops)), data.draw(st.integers(1, 5))
    moved = "\n".join([*lines[: at - 1], *[""] * count, *lines[at - 1 :]])
    shifted = [(form, a + count * (a >= at), b + count * (b >= at)) for form, a, b in places(source)]
    assert places(moved) == shifted


@pytest.mark.parametrize(
    "source",
    [
        "def f(:",
        "x = '\0'",
        "(" * 3000,
        "x = " + "-" * 20_000 + "1",
        "print 'old'",
        "x = " + " + ".join(["1"] * 3000),
    ],
    ids=["syntax", "null", "brackets", "nesting", "old", "sum"],
)
def test_what_cannot_be_parsed_is_a_syntax_error(source):
    with pytest.raises(SyntaxError):
        find_bugs(source)


@pytest.mark.parametrize(
    "source",
    [
        "",
        "# nothing",
        "x = " + " + ".join(["'a'"] * 100),
        "class A(A): items = []\nclass A(A): items = []",
        "def f(a, /, *b, **c): ...",
    ],
    ids=["empty", "comment", "long sum", "its own base", "parameters"],
)
def test_odd_sources_are_no_trouble(source):
    assert find_bugs(source) == ()


@pytest.mark.parametrize(
    "line",
    [
        "s = f'SELECT {s}{s}'",
        "s = (s, s)",
        "s += s",
        "s = s if s else [s]",
        "s, t = t, s",
        "self.s = s + self.s",
    ],
)
def test_code_that_builds_on_itself_does_not_blow_up(line):
    find_bugs("class A:\n    def f(self, s):\n        t = 'SELECT '\n" + f"        {line}\n" * 60)


# Drawn with random.Random(16) from the modules of 3.11 above 2,000 bytes that later versions have too, before the
# checks were run on any of them.
_NAMES = """
    _compat_pickle _compression _osx_support _strptime _threading_local argparse asyncio/events asyncio/windows_utils
    bdb curses/has_key difflib dis email/errors glob graphlib gzip heapq html/parser http/__init__
    importlib/_bootstrap_external importlib/metadata/_functools ipaddress json/__init__ linecache locale
    logging/handlers lzma modulefinder multiprocessing/queues multiprocessing/synchronize operator pickletools
    re/_compiler rlcompleter sched secrets sqlite3/dump stringprep tabnanny textwrap tkinter/filedialog tkinter/tix
    tokenize unittest/async_case unittest/main wsgiref/util xml/dom/xmlbuilder xmlrpc/client zipapp zipimport
"""
FIFTY = _NAMES.split()
MOST_ALARMED = 0.08


def test_few_of_fifty_modules_of_the_standard_library_are_alarmed(capsys):
    root = Path(sysconfig.get_path("stdlib"))
    there = [path for name in FIFTY if (path := root / f"{name}.py").is_file()]
    found = {path: find_bugs(path.read_text(encoding="utf-8", errors="replace")) for path in there}
    alarms = [f"{path.name}:{f.line} {f.form}" for path, findings in found.items() for f in findings]
    alarmed = sum(map(bool, found.values()))
    with capsys.disabled():
        print(f"\nstandard library: {alarmed} of {len(there)} modules alarmed; {alarms}")
    assert len(there) >= 45
    assert alarmed <= MOST_ALARMED * len(there)


def code_lines(source):
    """Lines that hold more than blanks, comments and docstrings."""
    docstrings = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        for line in range(node.lineno, node.end_lineno + 1)
    }
    left_out = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    lines = {n for t in tokens if t.type not in left_out for n in range(t.start[0], t.end[0] + 1)}
    return len(lines - docstrings)


def test_all_checks_together_are_short(capsys):
    counts = {path.name: code_lines(path.read_text("utf-8")) for path in sorted(CHECKS.glob("*.py"))}
    with capsys.disabled():
        print(f"\nstatic analysis: {sum(counts.values())} lines of code; {counts}")
    assert code_lines('"""A docstring."""\n\n# a comment\nx = [\n    1,\n]  # three lines\n') == 3
    assert sum(counts.values()) <= 350


def test_the_checks_know_no_sample():
    text = "\n".join(path.read_text("utf-8") for path in CHECKS.parent.rglob("*.py"))
    names = {
        name
        for path in SAMPLES
        for name in re.findall(r"\bclass (\w{6,})|\bdef (\w{9,})", path.read_text("utf-8"))
    }
    known = {name for pair in names for name in pair if name and re.search(rf"\b{name}\b", text)}
    assert not known
    assert not [path.name for path in SAMPLES if path.stem in text]
