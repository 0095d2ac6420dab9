"""The labelled set of attacks and look-alikes."""

import json

from memory_demo.evaluation import marks

ATTACKS = json.loads(marks.OWN.read_text("utf-8"))
