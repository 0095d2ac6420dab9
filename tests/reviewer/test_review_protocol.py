"""What the reviewer does with its tools, driven by a small loop and dictionaries."""

import textwrap

import pytest

from memory_demo.offline.prompt import Prompt
from memory_demo.reviewer.desk import MAX_ASKS
from memory_demo.reviewer.forms import RACES, SQL
from memory_demo.reviewer.notes import form_line, forms_in, lesson
from memory_demo.reviewer.reviewer import review

MEMORY = {"type": "memory_20250818", "name": "memory"}
READ = {"name": "read_source"}
REPORT = {"name": "report_finding"}

RACY = textwrap.dedent("""\
    from concurrent.futures import ThreadPoolExecutor

    class Tally:
        def __init__(self):
            self.count = 0

        def run(self, items):
            with ThreadPoolExecutor() as pool:
                list(pool.map(self._one, items))

        def _one(self, item):
            self.count += len(item)
    """)
RACY_ASYNC = textwrap.dedent("""\
    import asyncio

    class Wallet:
        def __init__(self):
            self.balance = 0

        async def run(self, amounts):
            await asyncio.gather(*(self.add(amount) for amount in amounts))

        async def add(self, amount):
            before = self.balance
            await asyncio.sleep(0)
            self.balance = before + amount
    """)
CLEAN = "def double(x):\n    return 2 * x\n"
RACE_FILE = f"/memories/{RACES.file}"
RACE_NOTE = lesson(RACES, [])


def fenced(code, name="tally.py"):
    return f"`{name}`:\n\n```python\n{code}```\n"


def learn(conversation, memory, code=RACY):
    return conversation(memory).ask(f"The count differs between runs. Why?\n{fenced(code)}")


def test_looks_at_memory_before_anything_else(conversation):
    talk = conversation()
    talk.ask(f"Please review {fenced(CLEAN)}")
    assert talk.uses[0] == ("memory", {"command": "view", "path": "/memories"})


def test_a_symptom_makes_it_look_report_and_record(conversation):
    memory = {}
    talk = conversation(memory)
    answer = talk.ask(f"Fewer results than expected; the count differs between runs.\n{fenced(RACY)}")
    assert "tally.py, line 12 (race conditions)" in answer
    [report] = [given for name, given in talk.uses if name == "report_finding"]
    assert report["line"] == 12
    assert "`self.count`" in report["cause"]
    assert list(memory) == [RACE_FILE]


def test_the_lesson_tells_cause_and_place_and_the_related_forms_but_not_the_file(conversation):
    memory = {}
    learn(conversation, memory)
    note = memory[RACE_FILE]
    assert (
        "Seen: `_one`, which several threads run, reads `self.count` and writes it back with no lock" in note
    )
    assert set(forms_in(note)) == {form.key for form in RACES.forms}
    assert "tally" not in note.lower()


def test_without_symptom_and_lesson_it_misses_the_race_and_says_what_it_left_out(conversation):
    memory = {}
    answer = conversation(memory).ask(f"Please review this.\n{fenced(RACY_ASYNC, 'wallet.py')}")
    assert "not examined for anything" in answer
    assert "Not looked for, as neither the request nor memory speaks of it: race conditions, SQL" in answer
    assert memory == {}


def test_with_the_lesson_in_memory_it_finds_another_form(conversation):
    memory = {}
    learn(conversation, memory)
    noted = dict(memory)
    answer = conversation(memory).ask(f"Please review this.\n{fenced(RACY_ASYNC, 'wallet.py')}")
    assert "wallet.py, lines 11-13 (race conditions)" in answer
    assert f"because {RACE_FILE} describes it" in answer
    assert memory == noted


def test_a_lesson_of_another_category_does_not_help(conversation):
    memory = {f"/memories/{SQL.file}": lesson(SQL, [])}
    answer = conversation(memory).ask(f"Please review this.\n{fenced(RACY_ASYNC)}")
    assert "Nothing found" in answer
    assert list(memory) == [f"/memories/{SQL.file}"]


def test_a_lesson_is_recorded_once(conversation):
    memory = {}
    learn(conversation, memory)
    noted = dict(memory)
    learn(conversation, memory)
    assert memory == noted


def test_a_form_that_a_lesson_lacks_is_added_to_it_wherever_it_stands(conversation):
    memory = {"/memories/lessons.md": f"# Lessons\n\n{form_line('check-then-act')}"}
    learn(conversation, memory)
    assert list(memory) == ["/memories/lessons.md"]
    assert set(forms_in(memory["/memories/lessons.md"])) == {"check-then-act", "lost-update"}


def test_works_without_any_tool(conversation):
    talk = conversation(tools=())
    answer = talk.ask(f"Is there a race condition?\n{fenced(RACY)}")
    assert "line 12" in answer
    assert talk.uses == []


def test_words_in_the_code_and_in_file_names_are_no_symptoms(conversation):
    code = "# race condition, intermittent, differs between runs\n" + RACY
    answer = conversation().ask(f"Please review {fenced(code, 'race_condition.py')}")
    assert "Looked for: nothing" in answer


def test_words_in_the_name_of_a_file_to_read_are_no_symptoms(conversation):
    answer = conversation(files={"src/race_condition.py": RACY}).ask("Please review src/race_condition.py")
    assert "Looked for: nothing" in answer


def test_a_block_without_a_language_is_code_only_if_it_parses(conversation):
    talk = conversation(tools=())
    log = "```\nTraceback (most recent call last):\n  File x\n```\n"
    answer = talk.ask(f"Any race?\n{log}\n```\n{RACY}```")
    assert answer.count("Rule-based review of") == 1
    assert "line 12" in answer


def test_reads_the_files_that_a_request_names(conversation):
    talk = conversation(files={"src/tally.py": RACY, "clean.py": CLEAN})
    answer = talk.ask("The count differs between runs: look at src/tally.py and clean.py.")
    assert talk.commands("read_source") == [("src/tally.py",), ("clean.py",)]
    assert "src/tally.py, line 12" in answer
    assert "Rule-based review of clean.py:\nNothing found." in answer


def test_a_file_is_read_anew_for_each_request(conversation):
    files = {"tally.py": RACY}
    talk = conversation(files=files)
    assert "line 12" in talk.ask("Any race condition in tally.py?")
    files["tally.py"] = CLEAN
    assert "Nothing found" in talk.ask("And now, any race condition in tally.py?")


def test_a_file_that_begins_like_an_error_is_no_error(conversation):
    talk = conversation(files={"a.py": f"Error = OSError\n{RACY}"})
    assert "a.py, line 13" in talk.ask("Any race in a.py?")


def test_a_file_that_cannot_be_read_is_named_with_the_reason(conversation):
    talk = conversation(files={})
    assert "It could not be read: gone.py is not a file of this folder." in talk.ask("Review gone.py")
    assert talk.commands("read_source") == [("gone.py",)]


def test_a_file_name_without_a_tool_to_read_it(conversation):
    assert "no tool to read it" in conversation(tools=(MEMORY,)).ask("Review gone.py")


def test_code_that_is_no_python(conversation):
    answer = conversation().ask(f"Any race?\n{fenced('def broken(:')}")
    assert "could not be parsed as Python (line 1" in answer


def test_no_code_at_all(conversation):
    answer = conversation().ask("Hello")
    assert "rule-based reviewer, not Claude" in answer


def test_nothing_to_answer():
    reply = review(Prompt("", (), ()))
    assert "rule-based" in reply.content[0]["text"]


@pytest.mark.parametrize("command", ["view", "create", "insert"])
def test_an_error_of_the_memory_tool_is_reported_and_not_repeated(conversation, command):
    memory = {RACE_FILE: form_line("stale-read")} if command == "insert" else {}
    talk = conversation(memory, broken={command: "The disk is full"})
    answer = talk.ask(f"Any race condition?\n{fenced(RACY)}")
    assert "line 12" in answer
    assert f"Memory answered {command} with an error: The disk is full" in answer
    assert sum(given["command"] == command for name, given in talk.uses if name == "memory") == 1


def test_opens_at_most_eight_files_and_no_huge_one(conversation):
    memory = {f"/memories/note_{n:02}.md": "Nothing of interest." for n in range(20)}
    memory["/memories/log.md"] = "x" * 2_000_000
    memory[RACE_FILE] = RACE_NOTE
    talk = conversation(memory)
    answer = talk.ask(f"Review {fenced(RACY)}")
    opened = [path for command, path in talk.commands() if command == "view"][1:]
    assert len(opened) == 8
    assert opened[0] == RACE_FILE
    assert "/memories/log.md" not in opened
    assert "line 12" in answer


def test_what_it_has_said_of_a_cleared_note_need_not_be_viewed_again(conversation, clear):
    memory = {RACE_FILE: RACE_NOTE}
    files = {f"module_{n}.py": RACY for n in range(4)}
    talk = conversation(memory, files, edit=clear(keep=2))
    for name in files:
        assert f"{name}, line 12" in talk.ask(f"Review {name}")
    assert talk.commands().count(("view", RACE_FILE)) == 1
    assert talk.commands("report_finding") == [(12,)] * 4


def test_a_file_whose_text_was_cleared_is_read_again(conversation, clear):
    talk = conversation({RACE_FILE: RACE_NOTE}, {"a.py": RACY, "b.py": RACY_ASYNC}, edit=clear(keep=1))
    answer = talk.ask("Review a.py and b.py")
    assert talk.commands("read_source").count(("a.py",)) == 2
    assert "a.py, line 12" in answer and "b.py, lines 11-13" in answer


def test_does_not_ask_again_for_what_is_there(conversation):
    files = {f"module_{n}.py": RACY for n in range(3)}
    talk = conversation({RACE_FILE: RACE_NOTE}, files)
    for name in files:
        talk.ask(f"Review {name}")
    assert talk.commands().count(("view", RACE_FILE)) == 1
    assert talk.commands().count(("view", "/memories")) == 1


@pytest.mark.parametrize("keep", [0, 1, 2, 3])
@pytest.mark.parametrize("clear_inputs", [False, True])
def test_comes_to_an_end_whatever_is_cleared(conversation, clear, keep, clear_inputs):
    memory = {f"/memories/note_{n}.md": "Prefer short names." for n in range(5)} | {RACE_FILE: RACE_NOTE}
    files = {"a.py": RACY, "b.py": RACY_ASYNC}
    talk = conversation(memory, files, edit=clear(keep, clear_tool_inputs=clear_inputs))
    answer = talk.ask("Review a.py and b.py", max_turns=40)
    assert max(talk.uses.count(use) for use in talk.uses) <= MAX_ASKS
    if keep == 0:
        assert "did not stay in context" in answer
    else:
        assert "a.py, line 12" in answer and "b.py, lines 11-13" in answer
        assert memory[RACE_FILE] == RACE_NOTE


def test_same_prompt_same_reply_and_a_thought_with_each(conversation):
    talk = conversation(files={"a.py": RACY})
    talk.ask("Any race in a.py?")
    assert all(reply.thinking and "\n" not in reply.thinking for reply in talk.replies)
    prompt = Prompt("", talk.tools, tuple(talk.messages))
    assert review(prompt) == review(prompt)


def test_tool_results_with_lists_of_blocks_are_read(conversation):
    talk = conversation(files={"a.py": RACY})
    talk.ask("Any race in a.py?")
    for message in talk.messages:
        for block in message["content"]:
            if block["type"] == "tool_result":
                block["content"] = [{"type": "text", "text": block["content"]}]
    again = review(Prompt("", talk.tools, tuple(talk.messages[:-1])))
    assert again == talk.replies[-1]


def test_remembers_a_sentence_and_quotes_it_later(conversation):
    memory = {}
    assert "Stored in /memories/notes.md" in conversation(memory).ask(
        "Please remember that Ada pays by invoice."
    )
    conversation(memory).ask("Note: Bob prefers e-mail.")
    assert memory["/memories/notes.md"].splitlines()[2:] == [
        "- Ada pays by invoice.",
        "- Bob prefers e-mail.",
    ]
    answer = conversation(memory).ask("How does Ada pay for invoices?")
    assert "quoting memory" in answer
    assert "> Ada pays by invoice." in answer and "Bob" not in answer


def test_a_note_file_too_large_to_open_is_left_alone(conversation):
    memory = {RACE_FILE: "x" * 2_000_000}
    answer = conversation(memory).ask(f"Any race condition?\n{fenced(RACY)}")
    assert f"Nothing was recorded in {RACE_FILE}" in answer
    assert memory == {RACE_FILE: "x" * 2_000_000}
