"""What a line of a note switches on, and what it does not."""

import pytest

from memory_demo.reviewer.forms import CATEGORIES, FORMS
from memory_demo.reviewer.notes import facts_in, file_line, form_line, forms_in, lesson

SHA256 = "37f23d8aea5554efabd4e7f406b1c32ccf34c94bad178a5dfe9c9edf52df6c09"


@pytest.mark.parametrize("key", FORMS)
def test_the_line_of_a_form_switches_on_that_form_and_no_other(key):
    assert list(forms_in(form_line(key))) == [key]


@pytest.mark.parametrize("category", CATEGORIES, ids=lambda category: category.key)
def test_each_line_of_a_lesson_does_what_it_says(category):
    note = lesson(category, [])
    assert set(forms_in(note)) == {form.key for form in category.forms}
    for line in note.splitlines():
        gone = set(forms_in(note)) - set(forms_in(note.replace(line, "")))
        assert gone == set(forms_in(line))


@pytest.mark.parametrize(
    ("line", "keys"),
    [
        ("- Read-modify-write in pool workers (`self.n[k] = self.n.get(k, 0) + v`) without a lock.", {"lost-update"}),
        ("* Race condition: several threads increment a shared counter that no lock protects.", {"lost-update"}),
        ("1. Stale value: reads an attribute, then `await`s, then writes the attribute.", {"stale-read"}),
        ("Lost updates in asyncio code: shared dict read before an await, updated after it.", {"stale-read"}),
        ("- Lazy init: `if self._x is None: self._x = load()` in threads that hold no lock.", {"check-then-act"}),
        ("- TOCTOU: it checks a shared dict and inserts later; other tasks run in between.", {"check-then-act"}),
        ("- SQL injection by f-strings: a query that interpolates caller-supplied values.", {"sql-text"}),
        ("- Queries formatted with `%` or .format() from user input.", {"sql-format"}),
        ("- IN lists made with ', '.join(values) inside the query.", {"sql-join"}),
        ("- SQL injection: f-string, .format() or join() puts a value into a statement.", {"sql-text", "sql-format", "sql-join"}),
        ("- Mutable default arguments (`tags=[]`) that the function appends to.", {"mutable-default"}),
        ("- Class-level dict or list used through self: every instance shares it.", {"class-level-container"}),
        ("We never store amounts as float; use Decimal.", {"money-as-float"}),
    ],
)  # fmt: skip
def test_lines_in_other_words_are_understood(line, keys):
    assert set(forms_in(line)) == keys


@pytest.mark.parametrize(
    "text",
    [
        "race",
        "injection",
        "# Race conditions",
        "## Lost update: threads read shared state and write it back without a lock",
        "We watched a race on Sunday.",
        "On Sunday a lost update hit the worker threads: totals were read and written without a lock.",
        "We had a lost update: two threads wrote one counter.",
        "Race conditions are dangerous. Be careful with threads.",
        "Somebody mentioned SQL injection in the stand-up.",
        "Hold one lock over the read and the write.",
        "> Lost update: threads read and write shared state with no lock.",
        "Prefer dataclasses. Keep functions short.",
        "Stale read: a read before an await and a write after it is harmless, as asyncio has one thread.",
        "~~Check-then-act: `if key not in d: d[key] = ...` in workers, and no lock covers both.~~",
        "- ~~Check-then-act: `if key not in d: d[key] = ...` in workers, and no lock covers both.~~",
        "<!-- Check-then-act: `if key not in d: d[key] = ...` in workers, and no lock covers both. -->",
        "<!--\nCheck-then-act: `if key not in d: d[key] = ...` in workers, and no lock covers both.\n-->",
        "Do not search for this: Check-then-act: `if key not in d: d[key] = ...` in workers, and no lock covers both.",
        "Retracted, this was wrong: Check-then-act: `if key not in d: d[key] = ...` in workers, and no lock covers both.",
        "Amounts may be floats in this prototype.",
        "Do not report lost updates of threads that read and write without a lock.",
    ],
)
def test_titles_stories_words_and_denials_switch_on_nothing(text):
    assert forms_in(text) == {}


def test_a_fence_of_tildes_strikes_nothing_out():
    line = "Check-then-act: `if key not in d: d[key] = ...` in workers, and no lock covers both."
    assert forms_in(f"~~~\n{line}\n~~~\n") == forms_in(line) != {}


def test_a_bullet_goes_on_in_indented_lines():
    assert list(
        forms_in("- **Lost update**: threads read shared state\n  and write it back, with no lock.\n")
    ) == ["lost-update"]
    assert forms_in("- **Lost update**: threads read shared state\nand write it back, with no lock.\n") == {}


@pytest.mark.parametrize(
    ("line", "facts"),
    [
        ("`Ledger.add` holds its own lock, seen in ledger.py", [("ledger.py", "", "Ledger.add", "holds its own lock")]),
        (
            "- `shop/sqltext.py`: `literal()` doubles quotes, but `pattern` does not escape them.",
            [("shop/sqltext.py", "", "literal", "escapes quotes"), ("shop/sqltext.py", "", "pattern", "does not escape quotes")],
        ),
        ("`Ledger.add` takes no lock (ledger.py)", [("ledger.py", "", "Ledger.add", "changes its object without a lock")]),
        ("`Ledger.add` holds its own lock", []),
        ("ledger.py is long", []),
        ("On Friday `Ledger.add` in ledger.py took a lock: it holds its own lock", []),
    ],
)  # fmt: skip
def test_what_a_line_says_of_a_file(line, facts):
    assert [(f.file, f.sha256, f.name, f.offer) for f in facts_in("/memories/a.md", line)] == facts


def test_what_is_written_of_a_file_is_read_back():
    offers = {"Ledger.add": "holds its own lock", "literal": "escapes quotes"}
    facts = facts_in("/memories/a.md", file_line("a/b.py", SHA256, offers))
    assert {fact.name: fact.offer for fact in facts} == offers
    assert {(fact.file, fact.sha256) for fact in facts} == {("a/b.py", SHA256)}
    [nothing] = facts_in("/memories/a.md", file_line("b.py", SHA256, {}))
    assert (nothing.file, nothing.sha256, nothing.name) == ("b.py", SHA256, "")
