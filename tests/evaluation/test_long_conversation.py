"""A long review with and without clearing, and what it costs."""

import json

import pytest
from anthropic.types.beta import BetaMessage

from memory_demo.costs import TARIFFS, bill, billed_for, cost, cost_without_cache
from memory_demo.demo_helpers import Turn
from memory_demo.evaluation.figures import long_review_figure
from memory_demo.evaluation.long_conversation import (
    TRIGGER,
    cumulative_input,
    long_review,
    sizes_up_to,
    standard_library_files,
    summarise_size,
)
from memory_demo.evaluation.report import costs_table, long_json, long_report
from memory_demo.offline import offline_client
from memory_demo.reviewer import review
from memory_demo.settings import Connection

MODEL = "claude-sonnet-5-5"
FILES = 15


def connection(responder=review):
    return Connection(offline_client(responder, max_retries=0), MODEL, offline=True)


@pytest.fixture(scope="module")
def runs():
    shared, files = connection(), standard_library_files(FILES)
    return [
        long_review(shared, files, clearing=False),
        long_review(shared, files, clearing=True),
        long_review(shared, files, clearing=True, clear_at_least=60_000),
    ]


def test_every_file_is_reviewed_with_the_same_findings_and_memory_intact(runs):
    for run in runs:
        summary = summarise_size(run, FILES)
        assert (summary.files, summary.reviewed, summary.memory_intact) == (FILES, FILES, True)
        assert [r.review.findings for r in run.records] == [r.review.findings for r in runs[0].records]
        assert run.stopped == ""


def test_the_largest_request_stays_flat_with_clearing_and_grows_without(runs):
    without, clearing = ([summarise_size(run, size).peak for size in (10, FILES)] for run in runs[:2])
    assert without[1] > 1.3 * without[0]
    assert clearing[1] == clearing[0] <= TRIGGER


def test_clearing_saves_and_the_more_the_longer_it_gets(runs):
    savings = []
    for size in (10, FILES):
        without, clearing = (summarise_size(run, size).input_tokens for run in runs[:2])
        savings.append(1 - clearing / without)
    assert 0 < savings[0] < savings[1]


def test_what_was_sent_and_what_was_cleared_add_up_to_the_whole_history(runs):
    """A run's own name is all that differs between the prompts of two runs, a few tokens a request."""
    for full, edited in zip(runs[0].turns(), runs[1].turns(), strict=True):
        assert abs(edited.input_tokens + edited.cleared_input_tokens - full.input_tokens) < 5


def test_nothing_is_cleared_before_clear_at_least_is_met(runs):
    cleared = [turn.cleared_input_tokens for turn in runs[2].turns() if turn.cleared_input_tokens]
    assert min(cleared) >= 60_000
    assert len(cleared) < sum(turn.cleared_input_tokens > 0 for turn in runs[1].turns())


def test_cached_and_uncached_tokens_are_the_whole_prompt_and_no_run_reads_another_ones_cache(runs):
    for run in runs:
        first, *others = run.turns()
        assert billed_for(first).cache_read_input_tokens == 0
        assert any(billed_for(turn).cache_read_input_tokens for turn in others)
        for turn in run.turns():
            assert billed_for(turn).whole_input == turn.input_tokens


def test_clearing_rewrites_the_cached_prefix(runs):
    written = [sum(billed_for(turn).cache_creation_input_tokens for turn in run.turns()) for run in runs]
    assert written[1] > written[2] > written[0]


def test_the_start_of_a_long_review_is_a_shorter_review(runs):
    short = long_review(connection(), standard_library_files(5), clearing=False)
    assert [turn.input_tokens for turn in short.turns()] == [turn.input_tokens for turn in runs[0].turns(5)]


def test_reading_is_part_of_having_reviewed():
    def reads_nothing(prompt):
        reply = review(prompt)
        kept = tuple(block for block in reply.content if block.get("name") != "read_source")
        return type(reply)(kept, reply.thinking)

    run = long_review(connection(reads_nothing), standard_library_files(2), clearing=False)
    assert [record.review.problem for record in run.records] == ["the file was not read"] * 2
    assert summarise_size(run, 2).reviewed == 0


def test_memory_that_loses_a_line_is_not_intact():
    def deletes_what_it_learnt(prompt):
        last = prompt.messages[-1]["content"][-1]
        if last.get("type") == "text" and "web_scraper" not in last["text"]:
            forget = {"command": "delete", "path": "/memories/race_conditions.md"}
            return type(review(prompt))(({"type": "tool_use", "name": "memory", "input": forget},))
        return review(prompt)

    run = long_review(connection(deletes_what_it_learnt), standard_library_files(2), clearing=False)
    assert not summarise_size(run, 2).memory_intact


def test_a_run_that_the_api_ends_keeps_what_it_has():
    answered = 0

    def gives_up(prompt):
        nonlocal answered
        answered += 1
        if answered > 10:
            raise RuntimeError("enough")
        return review(prompt)

    run = long_review(connection(gives_up), standard_library_files(5), clearing=True)
    assert "HTTP 500" in run.stopped
    assert 0 < len(run.records) < 5
    assert "INCOMPLETE" in long_report([run])


def test_the_files_are_real_modules_in_a_fixed_order():
    files = standard_library_files(30)
    assert list(files) == sorted(files)[:30]
    assert list(standard_library_files(5)) == list(files)[:5]
    assert all(10_000 <= path.stat().st_size <= 25_000 and path.suffix == ".py" for path in files.values())


@pytest.mark.parametrize(
    ("files", "sizes"),
    [(100, [10, 30, 100]), (40, [10, 30, 40]), (30, [10, 30]), (5, [5]), (200, [10, 30, 100, 200])],
)
def test_sizes_are_capped_by_the_number_of_files(files, sizes):
    assert sizes_up_to(files) == sizes


def test_report_and_json_hold_the_numbers(runs):
    text, data = long_report(runs), json.loads(json.dumps(long_json(runs, standard_library_files(FILES))))
    assert "84%" in text
    assert "not Claude" in text
    for run, saved in zip(runs, data["runs"], strict=True):
        turns = [
            *saved["lesson"]["turns"],
            *(t for record in saved["records"] for t in record["turns"]),
        ]
        tokens = [turn["input_tokens"] for turn in turns]
        assert tokens == [turn.input_tokens for turn in run.turns()]
        assert cumulative_input(run.turns())[-1] == sum(tokens)
        assert saved["context_management"] == run.context_management
    assert f"{summarise_size(runs[0], FILES).peak:,}" in text
    assert set(data["files"]) == {record["file"] for record in data["runs"][0]["records"]}


def test_the_cheapest_setting_is_the_one_with_the_lowest_bill(runs):
    tariff = TARIFFS[MODEL]
    table = costs_table(runs, tariff)
    cheapest = min(runs, key=lambda run: cost(run.turns(), tariff))
    assert list(table[table[""] == "cheapest"].index) == [cheapest.name]
    assert f"Cheapest: {cheapest.name}" in long_report(runs)


def test_a_setting_that_never_cleared_is_not_the_cheapest():
    """Its bill is that of the run without clearing, give or take the length of the run's name."""
    shared, files = connection(), standard_library_files(3)
    runs = [long_review(shared, files, clearing) for clearing in (False, True)]
    assert not any(turn.cleared_tool_uses for run in runs for turn in run.turns())
    assert "Clearing never fired" in long_report(runs)
    assert "cheapest" not in costs_table(runs, TARIFFS[MODEL])[""].tolist()


@pytest.mark.parametrize("answers", [0, 2])
def test_a_run_that_ends_within_its_lesson_says_nothing_of_memory_or_savings(answers):
    answered = 0

    def gives_up(prompt):
        nonlocal answered
        answered += 1
        if answered > answers:
            raise RuntimeError("enough")
        return review(prompt)

    files = standard_library_files(1)
    whole, stopped = long_review(connection(), files, False), long_review(connection(gives_up), files, True)
    for runs in ([stopped], [whole, stopped]):
        text = long_report(runs)
        assert "INCOMPLETE (clearing)" in text
        assert "DAMAGED" not in text and "saved by clearing" not in text and "Every file" not in text


def test_the_figure_states_the_largest_requests(runs):
    figure = long_review_figure(runs[:2])
    peaks = [summarise_size(run, FILES).peak for run in runs[:2]]
    assert all(f"{peak:,}" in figure.get_suptitle() for peak in peaks)
    lines = figure.axes[0].get_lines()
    assert [max(line.get_ydata()) for line in lines] == peaks


def turn(uncached=0, written=0, read=0, output=0, iterations=None):
    usage = {
        "input_tokens": uncached,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens": output,
    }
    if iterations is not None:
        none = dict.fromkeys(usage, 0)
        usage["iterations"] = [{"type": "message", **usage}, {"type": "compaction", **none, **iterations}]
    message = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [],
        "usage": usage,
    }
    return Turn(BetaMessage.model_validate(message), [], [])


@pytest.mark.parametrize(
    ("model", "record", "dollars"),
    [
        (MODEL, turn(uncached=1_000_000), 2.00),
        (MODEL, turn(written=1_000_000), 2.50),
        (MODEL, turn(read=1_000_000), 0.20),
        (MODEL, turn(output=1_000_000), 10.00),
        (MODEL, turn(1_000, 2_000, 30_000, 400), 0.002 + 0.005 + 0.006 + 0.004),
        (MODEL, turn(uncached=1_000, iterations={"input_tokens": 50_000, "output_tokens": 100}), 0.103),
        ("claude-haiku-5-5", turn(uncached=100_000), 0.01),
        ("claude-haiku-5-5", turn(uncached=1, read=100_000), 0.0050005),
    ],
)
def test_a_bill_by_hand(model, record, dollars):
    assert bill(billed_for(record), TARIFFS[model]) == pytest.approx(dollars)
    assert cost([record, record], TARIFFS[model]) == pytest.approx(2 * dollars)


def test_a_bill_without_caching_takes_every_token_at_the_price_of_input():
    assert cost_without_cache([turn(1_000, 2_000, 30_000, 400)], TARIFFS[MODEL]) == pytest.approx(
        0.066 + 0.004
    )


@pytest.mark.parametrize(("ttl", "dollars"), [("5m", 12.50), ("1h", 20.00)])
def test_a_cache_write_costs_what_the_price_list_says_for_its_lifetime(ttl, dollars):
    """Claude Fable 5.1 on the price list: $12.50 and $20 a million tokens."""
    text = "word " * 20_000
    marked = [{"type": "text", "text": text, "cache_control": {"type": "ephemeral", "ttl": ttl}}]
    model = "claude-fable-5-1"
    response = offline_client().beta.messages.create(
        model=model, max_tokens=100, system=marked, messages=[{"role": "user", "content": "Hello"}]
    )
    usage, price = response.usage, TARIFFS[model].price
    written = usage.cache_creation_input_tokens
    assert written > 20_000
    rest = usage.input_tokens * price.input + usage.output_tokens * price.output
    assert cost([Turn(response, [], [])], TARIFFS[model]) == pytest.approx((written * dollars + rest) / 1e6)


def test_an_iteration_pays_for_a_long_prompt_if_its_own_is_long():
    """Two prompts below the threshold of 100,000 tokens, which together are above it."""
    record = turn(uncached=50_000, iterations={"input_tokens": 60_000})
    assert cost([record], TARIFFS["claude-haiku-5-5"]) == pytest.approx(110_000 * 0.10 / 1e6)
