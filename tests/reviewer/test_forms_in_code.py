"""Each form in a few lines of code, beside code that differs in what makes it right."""

import textwrap

import pytest

from memory_demo.reviewer.checks import find_bugs, offers_of

THREADS = """\
    from concurrent.futures import ThreadPoolExecutor

    class Work:
        def __init__(self):
            self.n, self.d = 0, {}

        def run(self, items):
            with ThreadPoolExecutor() as pool:
                list(pool.map(self.one, items))

        def one(self, item):
"""
TASKS = """\
    import asyncio

    class Work:
        async def run(self, items):
            await asyncio.gather(*(self.one(item) for item in items))

        async def one(self, item):
"""


def forms(code):
    return [finding.form for finding in find_bugs(textwrap.dedent(code))]


def body(head, lines):
    return forms(textwrap.dedent(head) + textwrap.indent(textwrap.dedent(lines), " " * 8))


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ("self.n += item\n", ["lost-update"]),
        ("self.d[item] = self.d.get(item, 0) + 1\n", ["lost-update"]),
        ("old = self.n\nnew = old + item\nself.n = new\n", ["lost-update"]),
        ("with self.lock:\n    self.n += item\n", []),
        ("self.lock.acquire()\nself.n += item\nself.lock.release()\n", []),
        ("self.n = item\n", []),
        ("n = self.n + item\nreturn n\n", []),
        ("self.local.n += item\n", []),
        ("if item not in self.d:\n    self.d[item] = load(item)\n", ["check-then-act"]),
        ("with self._mutex:\n    if item not in self.d:\n        self.d[item] = load(item)\n", []),
        ("if item not in self.d:\n    other = load(item)\n", []),
        ("self.add(item)\n\ndef add(self, item):\n    self.n += item\n", ["lost-update"]),
        ("with self.lock:\n    self.add(item)\n\ndef add(self, item):\n    self.n += item\n", []),
    ],
)
def test_in_threads(lines, found):
    assert body(THREADS, lines) == found


def test_one_thread_a_process_pool_and_no_threads_at_all_are_no_race():
    code = textwrap.dedent(THREADS) + "        self.n += item\n"
    assert forms(code) == ["lost-update"]
    assert forms(code.replace("ThreadPoolExecutor", "ProcessPoolExecutor")) == []
    assert forms(code.replace("list(pool.map(self.one, items))", "[self.one(item) for item in items]")) == []
    one = "Thread(target=self.one, args=(items,)).start()"
    assert forms(code.replace("list(pool.map(self.one, items))", one)) == []
    assert forms(code.replace("list(pool.map(self.one, items))", f"[{one} for _ in items]")) == [
        "lost-update"
    ]


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ("old = self.n\nawait wait()\nself.n = old + item\n", ["stale-read"]),
        ("self.n += await wait()\n", ["stale-read"]),
        ("self.n = self.n + await wait()\n", ["stale-read"]),
        ("self.n = await wait() + self.n\n", []),
        ("new = await wait()\nself.n = self.n + new\n", []),
        ("self.n += 1\nawait wait()\n", []),
        ("async with self.lock:\n    old = self.n\n    await wait()\n    self.n = old + item\n", []),
        ("if self.t is None:\n    self.t = await log_in()\n", ["check-then-act"]),
        ("if self.t is None:\n    self.t = log_in()\n", []),
        ("async with self.lock:\n    if self.t is None:\n        self.t = await log_in()\n", []),
    ],
)
def test_in_tasks(lines, found):
    assert body(TASKS, lines) == found


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("f\"SELECT a FROM b WHERE c = '{x}'\"", ["sql-text"]),
        ('"SELECT a FROM b WHERE c = \'" + x + "\'"', ["sql-text"]),
        ("\"SELECT a FROM b WHERE c = '%s'\" % x", ["sql-format"]),
        ("\"DELETE FROM b WHERE c = '{}'\".format(x)", ["sql-format"]),
        ("f\"SELECT a FROM b WHERE c IN ({','.join(x)})\"", ["sql-join"]),
        ("f\"SELECT a FROM b WHERE c IN ({','.join('?' * len(x))})\", x", []),
        ('f"SELECT a FROM {x} WHERE c = ?"', []),
        ('f"SELECT a FROM b LIMIT ({int(x)})"', []),
        ("f\"SELECT a FROM b WHERE c = '{LIMIT}'\"", []),
        ("f\"SELECT a FROM b WHERE c = '{x.replace(chr(39), x)}'\"", ["sql-text"]),
        ('"SELECT a FROM b WHERE c = \'" + x.replace("\'", "\'\'") + "\'"', []),
        ("f\"Select a line from the list, '{x}'\"", []),
        ('"SELECT a FROM b WHERE c = ?", (x,)', []),
    ],
)
def test_in_statements(statement, found):
    assert forms(f"def f(db, x):\n    return db.execute({statement})\n") == found


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("def f(a, x=[]):\n    x.append(a)\n", ["mutable-default"]),
        ("def f(*, x={}):\n    x[1] = 2\n", ["mutable-default"]),
        ("class A:\n    def __init__(self, x=[]):\n        self.x = x\n    def f(self):\n        self.x.append(1)\n", ["mutable-default"]),
        ("class A:\n    def __init__(self, x=[]):\n        self.x = list(x)\n    def f(self):\n        self.x.append(1)\n", []),
        ("def f(x=[]):\n    return len(x)\n", []),
        ("def f(a, cache={}):\n    cache[a] = 1\n", []),
        ("def f(x=None):\n    x = x or []\n    x.append(1)\n", []),
        ("class A:\n    x = {}\n    def f(self):\n        self.x[1] = 2\n", ["class-level-container"]),
        ("class A:\n    x = {}\n    def __init__(self):\n        self.x = {}\n    def f(self):\n        self.x[1] = 2\n", []),
        ("class A:\n    x: ClassVar[dict] = {}\n    def f(self):\n        self.x[1] = 2\n", []),
        ("class A:\n    x = {}\n    def f(self):\n        return self.x.get(1)\n", []),
        ("def f(price: float): ...\n", ["money-as-float"]),
        ("def f(x):\n    return float(x.amount)\n", ["money-as-float"]),
        ("def f(price: Decimal, ratio: float): ...\n", []),
    ],
)  # fmt: skip
def test_in_defaults_classes_and_money(code, found):
    assert forms(code) == found


@pytest.mark.parametrize(
    ("lines", "offer"),
    [
        ("with self._lock:\n    self.n += 1\n", {"A.f": "holds its own lock"}),
        ("with self._lock:\n    n = self.n\nself.n = n\n", {"A.f": "changes its object without a lock"}),
        ("self.d.append(1)\n", {"A.f": "changes its object without a lock"}),
        ("return self.n\n", {}),
        ('return "\'" + x.replace("\'", "\'\'") + "\'"\n', {"A.f": "escapes quotes"}),
        ('return "\'" + x + "\'"\n', {"A.f": "does not escape quotes"}),
    ],
)
def test_what_a_method_offers(lines, offer):
    assert offers_of("class A:\n    def f(self, x):\n" + textwrap.indent(lines, " " * 8)) == offer
