"""What a review of many files takes, offline: time and input tokens must grow with the work and not with its square.

Targets: 120 modules of the standard library take at most 4.4 times what 30 of them take, in time and in tokens; 500 files
of one line take less than 20 seconds. Exit code 1 where a target is missed. Run as ``python benchmarks/bench_review.py``.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from memory_demo.assistant import CodeReviewAssistant, guarded_memory
from memory_demo.evaluation.long_conversation import standard_library_files
from memory_demo.evaluation.records import SAMPLES, SYMPTOMS
from memory_demo.offline import offline_client
from memory_demo.review_report import total_cost

FEW, MANY, SMALL = 30, 120, 500
MOST_GROWTH, MOST_SECONDS = 4.4, 20.0
LEARN_FROM = "web_scraper_v1.py"


class Taken(NamedTuple):
    """What a review of some files took."""

    seconds: float
    requests: int
    input_tokens: int
    conversations: int


def review(files: Mapping[str, Path]) -> Taken:
    """Review files after a lesson, in conversations as the assistant sees fit."""
    with tempfile.TemporaryDirectory() as folder:
        assistant = CodeReviewAssistant(client=offline_client(), memory_handler=guarded_memory(folder))
        assistant.review_file(SAMPLES / LEARN_FROM, SYMPTOMS[LEARN_FROM], name=LEARN_FROM)
        assistant.start_new_session()
        begun, started = assistant.conversations, time.perf_counter()
        reviews = assistant.review_files(files)
        seconds = time.perf_counter() - started
    assert not any(one.problem for one in reviews)
    cost = total_cost(reviews)
    return Taken(seconds, cost.requests, cost.input_tokens, assistant.conversations - begun + 1)


def small_files(folder: Path, count: int) -> dict[str, Path]:
    files = {f"module_{number:03}.py": folder / f"module_{number:03}.py" for number in range(count)}
    for number, path in enumerate(files.values()):
        path.write_text(f"VALUE = {number}\n", encoding="utf-8")
    return files


def main() -> int:
    modules = standard_library_files(MANY)
    # Every fourth, so that few and many are of the same sizes.
    rows = {
        f"{FEW} modules": review(dict(list(modules.items())[:: MANY // FEW])),
        f"{MANY} modules": review(modules),
    }
    with tempfile.TemporaryDirectory() as folder:
        rows[f"{SMALL} files of one line"] = review(small_files(Path(folder), SMALL))
    print(f"{'':<26}{'seconds':>8}{'requests':>10}{'input tokens':>14}{'conversations':>15}")
    for name, row in rows.items():
        numbers = f"{row.requests:>10,}{row.input_tokens:>14,}{row.conversations:>15}"
        print(f"{name:<26}{row.seconds:>8.1f}{numbers}")
    few, many, small = rows.values()
    in_time, in_tokens = many.seconds / few.seconds, many.input_tokens / few.input_tokens
    print(f"{MANY} modules take {in_time:.1f} times the time and {in_tokens:.1f} times the tokens of {FEW};")
    print(f"at most {MOST_GROWTH} is the target, and {MOST_SECONDS:.0f} s for {SMALL} files of one line.")
    return int(max(in_time, in_tokens) > MOST_GROWTH or small.seconds > MOST_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
