"""`make live` from end to end, with the stand-in over loopback HTTP as if it were the API, and a made-up key."""

import dataclasses
import json
import os

import anthropic
import nbformat
import pytest
from loopback import KEY, respond

import memory_demo.live.__main__ as live
from memory_demo.live.comparison import load_answers, save_answers
from memory_demo.live.notebook_run import run_notebook
from memory_demo.live.probes import PROBES
from memory_demo.live.recordings import About, Exchange, RecordingFailed, add, load, secret_in, start
from memory_demo.offline import OfflineAPI
from memory_demo.settings import RECORD, REPLAY, connect, load_settings

HEADERS_OF_A_PERSON = (
    "x-api-key",
    "authorization",
    "user-agent",
    "x-stainless",
    "request-id",
    "organization",
)


class ChangedAPI(OfflineAPI):
    """Clears, and reports one use less than it cleared; and says something else to one broken request."""

    def handle(self, method, path, headers, body):
        answer = super().handle(method, path, headers, body)
        if not isinstance(answer.body, bytes):
            return answer
        changed = answer.body.replace(b'"cleared_tool_uses": 3', b'"cleared_tool_uses": 2')
        changed = changed.replace(b"Tool names must be unique.", b"Two tools have one name.")
        return dataclasses.replace(answer, body=changed)


@pytest.fixture
def outputs():
    def read(path):
        cells = nbformat.read(path, as_version=4).cells
        return ["".join(output.get("text", "") for output in cell.outputs) for cell in cells]

    return read


def test_a_live_run_and_its_replay(serve, environment, notebook, outputs, tmp_path, monkeypatch, capsys):
    environment(serve())
    monkeypatch.setattr(live, "NOTEBOOK", notebook)
    assert live.main(["--yes", "--budget", "5.00"]) == 0
    said = capsys.readouterr().out
    facts = [probe for probe in PROBES if probe.kind == "fact"]
    assert f"{len(PROBES)} small requests" in said and "It costs $5.00 at most" in said
    assert "The stand-in answered, not Claude." in said
    assert f"{len(facts)} of {len(facts)} facts agree." in said
    assert "tokens: tokens-english: API 2,220, stand-in 2,220 (+0.0%)" in said
    assert said.count(" labelled bugs found, ") == 3
    assert "Done: probes, notebook, evaluation. It cost $" in said

    (directory,) = (tmp_path / "recordings").iterdir()
    assert load_answers(directory / "probes.json")[0] == "claude-sonnet-5-5"
    written = "".join(path.read_text(encoding="utf-8") for path in directory.iterdir())
    assert KEY not in written
    exchanges = load(directory)
    assert not any(
        header in json.dumps(exchange.headers) for exchange in exchanges for header in HEADERS_OF_A_PERSON
    )
    assert not any(exchange.withheld for exchange in exchanges)
    costs = [
        json.loads(line) for line in (directory / "costs.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert f"It cost ${sum(cost['dollars'] for cost in costs):.4f}" in said

    # The replay needs neither key nor server. It runs the notebook's cell in this process, for speed.
    live_text = outputs(directory / notebook.name)
    assert live_text[0].splitlines()[-1] == "     1\tthe door code is on the blue card"
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    monkeypatch.delenv("ANTHROPIC_BASE_URL")
    monkeypatch.setenv(REPLAY, str(directory))
    exec(nbformat.read(notebook, as_version=4).cells[0].source, {})
    assert capsys.readouterr().out == live_text[0]
    variables = {REPLAY: str(directory), "MEMORY_COOKBOOK_OFFLINE": "1"}
    replay = connect(load_settings(variables, tmp_path / ".env"))
    with pytest.raises(anthropic.BadRequestError, match="has no answer to this request"):
        replay.client.messages.create(
            model=replay.model, max_tokens=500, messages=[{"role": "user", "content": "Where is it?"}]
        )


def test_a_changed_answer_is_reported(serve, environment, monkeypatch, capsys):
    environment(serve(ChangedAPI(respond)))
    monkeypatch.setattr(live, "PARTS", {"probes": live.PARTS["probes"]})
    assert live.main(["--yes"]) == 0
    said = capsys.readouterr().out
    facts = [probe for probe in PROBES if probe.kind == "fact"]
    differing = [line for line in said.splitlines() if line.startswith("  differs: ")]
    wrong = [f"cleared-{length}" for length in (55, 56, 58, 62, 80, 160, 320)]
    assert [line.split()[1] for line in differing] == [*wrong, "same-tool-twice"]
    assert f"{len(facts) - len(differing)} of {len(facts)} facts agree." in said
    assert "    API:      2\n    stand-in: 3" in said
    assert "Two tools have one name." in said


def test_a_budget_ends_a_run_cleanly(serve, environment, notebook, monkeypatch, capsys):
    api = OfflineAPI(respond)
    environment(serve(api))
    monkeypatch.setattr(live, "NOTEBOOK", notebook)
    assert live.main(["--yes", "--budget", "0.05"]) == 1
    said = capsys.readouterr().out
    (spent,) = [line for line in said.splitlines() if "It cost $" in line]
    assert float(spent.split("$")[1].rstrip(".")) <= 0.05
    assert said.splitlines()[-1].startswith("The budget ended the probes: $0.0")
    assert "Traceback" not in said
    assert "facts agree." in said


def test_a_client_of_the_notebook_records_and_keeps_to_the_budget(serve, environment, tmp_path):
    environment(serve())
    run = live.Run(load_settings(), tmp_path / "recording", 0.001, "2026-11-24", live.NOTEBOOK)
    live.start(run.directory, live.About(run.date, run.settings.model))
    connection = connect(load_settings(run.environ(), tmp_path / ".env"))
    assert [exchange.path for exchange in load(run.directory)] == ["/v1/models/claude-sonnet-5-5"]
    with pytest.raises(live.BudgetSpent):
        connection.client.messages.create(
            model=connection.model, max_tokens=1_000, messages=[{"role": "user", "content": "Hello"}]
        )


def test_without_a_notebook_the_rest_is_done(serve, environment, monkeypatch, tmp_path, capsys):
    environment(serve())
    monkeypatch.setattr(live, "NOTEBOOK", tmp_path / "none.ipynb")
    monkeypatch.setattr(
        live, "PARTS", {"notebook": live.PARTS["notebook"], "other": lambda run, outcome: None}
    )
    assert live.main(["--yes"]) == 1
    said = capsys.readouterr().out
    assert "The notebook ended early: there is no " in said
    assert "Done: other." in said


def test_without_a_key_it_does_not_start(environment, monkeypatch, capsys):
    environment("", key="")
    assert live.main(["--yes"]) == 2
    assert capsys.readouterr().err.startswith("A live run needs a key, and there is no ANTHROPIC_API_KEY")


@pytest.mark.parametrize(("answer", "started"), [("y", True), ("n", False), ("", False)])
def test_it_asks_first(serve, environment, monkeypatch, capsys, tmp_path, answer, started):
    environment(serve())
    monkeypatch.setattr(live, "PARTS", {})
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda prompt: answer)
    assert live.main([]) == (0 if started else 2)
    assert (tmp_path / "recordings").exists() == started


def test_nobody_to_ask_means_no(serve, environment, monkeypatch, capsys, tmp_path):
    environment(serve())
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    assert live.main([]) == 2
    assert "add --yes" in capsys.readouterr().err
    assert not (tmp_path / "recordings").exists()


@pytest.mark.parametrize("budget", ["0", "-1", "nan", "much"])
def test_a_budget_is_a_sum_of_dollars(budget, capsys):
    with pytest.raises(SystemExit):
        live.main([f"--budget={budget}"])
    assert "is not a sum of dollars" in capsys.readouterr().err


def test_an_api_that_is_not_there_is_said(environment, monkeypatch, capsys):
    environment("http://127.0.0.1:9")
    monkeypatch.setattr(live, "PARTS", {"probes": live.PARTS["probes"]})
    monkeypatch.setattr(live.Run, "client", lambda run: connect_without_retries(run))
    assert live.main(["--yes"]) == 1
    assert "The probes ended with an error: Connection error." in capsys.readouterr().out


def connect_without_retries(run):
    return connect_client(run).with_options(max_retries=0)


def connect_client(run):
    return live.recording_client(run.directory, run.budget, api_key="k", base_url=run.settings.base_url)


@pytest.mark.parametrize("variable", [REPLAY, RECORD])
def test_a_recording_that_is_not_there_is_one_sentence(tmp_path, variable):
    environ = {variable: str(tmp_path / "none"), "ANTHROPIC_API_KEY": "sk-ant-" + 20 * "k"}
    with pytest.raises(ValueError, match="is not a recording; give the directory of one"):
        load_settings(environ, tmp_path / ".env")


@pytest.fixture
def recording(tmp_path):
    start(tmp_path / "recording", About("2026-11-24", "claude-sonnet-5-5"))
    return tmp_path / "recording"


def test_the_plan_shows_no_password(environment, monkeypatch, capsys):
    environment("https://reader:canary-word@gateway.invalid/claude")
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    assert live.main([]) == 2
    said = capsys.readouterr().out
    assert "at https://gateway.invalid/claude, because" in said and "canary-word" not in said


def test_a_paid_run_whose_recording_cannot_be_read_is_reported(environment, monkeypatch, capsys):
    def damage(run, outcome):
        (run.directory / "exchanges.jsonl").write_text("{}\n", encoding="utf-8")

    environment("http://offline.invalid")
    monkeypatch.setattr(live, "PARTS", {"probes": damage})
    assert live.main(["--yes"]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[-2] == "Done: probes. It cost $0.0000." and said[-1].endswith("make it anew.")


def test_a_text_with_a_line_separator_does_not_end_a_run(environment, monkeypatch, capsys):
    def part(run, outcome):
        request = {"messages": [{"role": "user", "content": "one\u2028two"}]}
        add(run.directory, Exchange("POST", "/v1/messages", (), request, 200, {}, {}))

    environment("http://offline.invalid")
    monkeypatch.setattr(live, "PARTS", {"probes": part})
    assert live.main(["--yes"]) == 0


@pytest.mark.parametrize("fault", [RecordingFailed("No space is left."), OSError("No space is left.")])
def test_a_full_disk_ends_a_run_with_its_report(environment, monkeypatch, capsys, fault):
    def fail(run, outcome):
        run.client()
        (run.directory / "costs.jsonl").write_text('{"model":"cla', encoding="utf-8")
        raise fault

    environment("http://offline.invalid")
    monkeypatch.setattr(live, "PARTS", {"notebook": fail})
    assert live.main(["--yes"]) == 1
    said = capsys.readouterr().out
    assert "What it cost is not known." in said and "No space is left." in said


def test_what_was_lost_is_named_beside_what_it_may_have_cost(serve, environment, monkeypatch, capsys):
    class NoBill(OfflineAPI):
        def handle(self, method, path, headers, body):
            answer = super().handle(method, path, headers, body)
            return dataclasses.replace(answer, body=answer.body.replace(b'"usage"', b'"used"'))

    def ask(run, outcome):
        hello = [{"role": "user", "content": "Hello"}]
        run.client().messages.create(model="claude-sonnet-5-5", max_tokens=1_000, messages=hello)

    environment(serve(NoBill(respond)))
    monkeypatch.setattr(live, "PARTS", {"probes": ask})
    assert live.main(["--yes"]) == 0
    said = capsys.readouterr().out
    assert "It cost $0.01" in said
    assert "Answers without a bill, counted at their highest price: 1." in said


def test_no_secret_is_saved_with_the_notebook(recording, tmp_path):
    cells = [
        "key = 'AKIA' + 'IOSFODNN7QRSTUVW'",
        "print(f'Claude: I noted {key}.')",
        "from IPython.display import HTML\nHTML(f'<b>{key}</b>')",
        f"known = '{'AKIA' + 'IOSFODNN7QRSTUVW'}'",
        "print('This stays.')",
        "raise ValueError(key)",
    ]
    document = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    nbformat.write(document, tmp_path / "keys.ipynb")
    assert run_notebook(tmp_path / "keys.ipynb", recording, dict(os.environ)).startswith("ValueError: ")
    written = (recording / "keys.ipynb").read_text(encoding="utf-8")
    assert "AKIA" + "IOSFODNN7QRSTUVW" not in written
    saved = nbformat.read(recording / "keys.ipynb", as_version=4)
    nbformat.validate(saved)
    assert written.count("The output was not kept: it holds what looks like a secret") == 3
    assert saved.cells[3].source.startswith("# The source was not kept: it holds what looks like a secret")
    assert saved.cells[4].outputs[0].text == "This stays.\n"


def test_the_colours_of_a_traceback_hide_no_password(recording, tmp_path):
    source = "db_password = " + '"Tr0ub4dor&3x"' + "; raise ValueError"
    document = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    nbformat.write(document, tmp_path / "raises.ipynb")
    assert run_notebook(tmp_path / "raises.ipynb", recording, dict(os.environ)).startswith("ValueError")
    assert "Tr0ub4dor&3x" not in (recording / "raises.ipynb").read_text(encoding="utf-8")


def test_nothing_of_our_notebook_looks_like_a_secret():
    cells = nbformat.read(live.NOTEBOOK, as_version=4).cells
    assert not any(secret_in([cell.source, cell.get("outputs")]) for cell in cells)


def test_an_answer_that_holds_a_secret_is_not_saved(recording):
    answers = {"one": {"refused": "AKIA" + "IOSFODNN7QRSTUVW is not a key"}, "two": 2}
    assert load_answers(save_answers(recording, "m", "2026-11-24", answers)) == ("m", {"two": 2})
