"""Measured answers: does what a note says matter, what does context editing save, how far do poisoned notes get.

All three run the shipped assistant. `compare_notes`, `long_review` and `compare_mitigations` run the experiments and return plain data; `figures` draws it, `report` prints and
saves it. The command line is `python -m memory_demo.evaluation`.
"""

from memory_demo.evaluation.ablation import AblationResult, compare_notes, summarise
from memory_demo.evaluation.figures import ablation_figure, long_review_figure
from memory_demo.evaluation.long_conversation import LongReview, long_review, standard_library_files
from memory_demo.evaluation.matching import Label, match
from memory_demo.evaluation.poisoning import PoisoningResult, compare_mitigations, gullible, poisoning_table
from memory_demo.evaluation.report import ablation_table

__all__ = [
    "AblationResult",
    "Label",
    "LongReview",
    "PoisoningResult",
    "ablation_figure",
    "ablation_table",
    "compare_mitigations",
    "compare_notes",
    "gullible",
    "long_review",
    "long_review_figure",
    "match",
    "poisoning_table",
    "standard_library_files",
    "summarise",
]
