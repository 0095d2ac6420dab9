"""What the notebook shows of a run: checks, texts that fit the page, tables and figures. No behaviour of its own."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence

import anthropic
import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Image, Markdown
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from memory_demo.costs import TARIFFS, cost, cost_without_cache
from memory_demo.demo_helpers import Turn
from memory_demo.evaluation.figures import CLEARED, GROUND, INK, KEPT

COLUMNS = 100

_DOLLAR = "&#36;"  # JupyterLab and GitHub take what stands between two dollar signs for a formula
_NUMBER = re.compile(f"({_DOLLAR})?[\\d,.]+")

_LINES = ((CLEARED, "--"), (KEPT, "-"), ("#00684a", "-."), ("#7d3468", ":"))


def checker(offline: bool) -> Callable[[bool, str], None]:
    """A check for what only a deterministic reviewer can promise: an assert offline, a remark with a live model."""

    def check(held: bool, claim: str) -> None:
        assert held or not offline, f"Not so: {claim}"
        print(f"{'Checked' if offline else 'This time' if held else 'Not this time'}: {claim}")

    return check


def spending(offline: bool, spend: bool, model: str, replay: bool = False) -> Callable[[str, int, int], bool]:
    """Whether a cell that makes many requests may run: always offline, live if `spend`. If not, it says what it takes.

    A `replay` costs nothing, and has these answers only if they were recorded.
    """

    def may_run(what: str, requests: int, input_tokens: int) -> bool:
        if offline or spend:
            return True
        if replay:
            print(wrapped(f"Skipped: {what}, as this recording was made with SPEND = False."))
            return False
        tariff = TARIFFS.get(model)
        dollars = f", ${input_tokens * tariff.price.input / 1e6:.2f} at most" if tariff else ""
        takes = f"about {requests:,} requests with {input_tokens:,} input tokens{dollars}"
        print(wrapped(f"Skipped: {what}, {takes}. To run it, set SPEND = True at the top."))
        return False

    return may_run


def models_that_clear(client: anthropic.Anthropic) -> list[str]:
    """The models that can clear tool uses, as the server describes them; none where it describes none."""
    try:
        described = {info.id: info.capabilities for info in client.beta.models.list()}
    except (anthropic.APIError, ValueError):
        return []
    edits = {name: can.context_management.clear_tool_uses_20250919 for name, can in described.items() if can}
    return [name for name, edit in edits.items() if edit and edit.supported]


def wrapped(text: str, indent: str = "") -> str:
    """Text as it is, with lines broken that are longer than the page is wide."""
    lines = (
        textwrap.wrap(
            line,
            COLUMNS,
            initial_indent=indent,
            subsequent_indent=f"{indent}    ",
            replace_whitespace=False,
            break_on_hyphens=False,
        )
        or [""]
        for line in text.expandtabs(4).splitlines()
    )
    return "\n".join(part for parts in lines for part in parts)


def print_notes(notes: Mapping[str, str]) -> None:
    """Every note: its path, and its text."""
    for path, text in notes.items():
        print(f"--- {path}\n{wrapped(text)}")


def python_code(source: str) -> Markdown:
    """Source code with highlighting, wherever the notebook is shown."""
    return Markdown(f"```python\n{textwrap.dedent(source).strip()}\n```")


def left(table: pd.DataFrame) -> Markdown:
    """A table whose texts are flush left and whose numbers are flush right with thousands separated; of no rows, nothing."""
    if table.empty:
        return Markdown("")
    columns = [str(table.index.name or ""), *map(str, table.columns)]
    rows = [[_cell(value) for value in row] for row in table.itertuples()]
    numeric = [all(map(_NUMBER.fullmatch, cells)) for cells in zip(*rows, strict=True)]
    lines = [columns, ["---:" if number else ":---" for number in numeric], *rows]
    return Markdown("\n".join(f"| {' | '.join(line)} |" for line in lines))


def _cell(value: object) -> str:
    text = f"{value:,}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
    return text.replace("|", "\\|").replace("\n", " ").replace("$", _DOLLAR)


def session_row(turns: Sequence[Turn], model: str) -> dict[str, object]:
    """What a session took: requests, input tokens, and dollars where the model's prices are known."""
    tokens = [turn.input_tokens for turn in turns]
    row: dict[str, object] = {
        "requests": len(turns),
        "input tokens": sum(tokens),
        "largest request": max(tokens, default=0),
    }
    tariff = TARIFFS.get(model)
    if tariff:
        row["bill, cached"] = f"${cost(turns, tariff):.2f}"
        row["bill, no cache"] = f"${cost_without_cache(turns, tariff):.2f}"
    return row


def show(figure: Figure, alt: str) -> Image:
    """A figure as an image with a text for who cannot see it, and the same bytes for the same figure."""
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=110, metadata={"Software": None}, facecolor=GROUND)
    plt.close(figure)
    return Image(data.getvalue(), alt=alt)


def plot_sessions(sessions: Mapping[str, Sequence[Turn]], title: str) -> Figure:
    """Input tokens of each request of some sessions, one line a session, named at its end."""
    figure, axes = plt.subplots(figsize=(9, 4.2))
    for (name, turns), (colour, line) in zip(sessions.items(), _LINES, strict=False):
        tokens = [turn.input_tokens for turn in turns]
        axes.plot(range(1, len(tokens) + 1), tokens, line, color=colour, linewidth=1.8)
        axes.annotate(
            name,
            (len(tokens), tokens[-1]),
            xytext=(6, 0),
            textcoords="offset points",
            color=colour,
            va="center",
        )
    axes.set_title(title, loc="left")
    axes.set_xlabel("request")
    axes.set_ylabel("input tokens of the request")
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0, right=axes.get_xlim()[1] * 1.22)
    _finish(axes)
    return figure


def plot_tokens_per_turn(turns: Sequence[Turn], trigger: int) -> Figure:
    """Input tokens of each request: what was sent, and on top of it what context editing took out."""
    numbers = range(1, len(turns) + 1)
    sent, cleared = _tokens(turns)
    without = sum(sent) + sum(cleared)
    figure, axes = plt.subplots(figsize=(9, 4))
    axes.bar(numbers, sent, color=KEPT, label="sent")
    axes.bar(numbers, cleared, bottom=sent, color=CLEARED, hatch="//", edgecolor=GROUND, label="cleared")
    axes.axhline(trigger, color=INK, linestyle="--", linewidth=1, label=f"trigger: {trigger:,} tokens")
    saved = sum(cleared) / without if without else 0
    axes.set_title(
        f"Clearing kept {saved:.0%} of this session's input tokens out of its requests", loc="left"
    )
    axes.set_xlabel("request")
    axes.set_ylabel("input tokens")
    axes.legend(frameon=False, labelcolor=INK, loc="upper left")
    _finish(axes)
    return figure


def _tokens(turns: Iterable[Turn]) -> tuple[list[int], list[int]]:
    pairs = [(turn.input_tokens, turn.cleared_input_tokens) for turn in turns]
    return [sent for sent, _ in pairs], [cleared for _, cleared in pairs]


def _finish(axes: Axes) -> None:
    """A ground of its own, dark text, thousands separated."""
    axes.patch.set_facecolor(GROUND)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.tick_params(colors=INK)
    for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
        text.set_color(INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    axes.get_figure().tight_layout()  # type: ignore[union-attr]  # axes made by subplots have a figure
