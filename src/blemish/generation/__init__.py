"""AnomalyDiffusion put together: a few defect photos in, labelled pairs out.

Masks come from those of the real defects (`masks`, `warps`) and go where such defects like to be on
a good photo (`habits`, `placement`); the network sees a square around them and only what it made inside
the mask is kept (`crops`); each pair is measured (`measures`, `quality`), written (`output`) and
described (`manifest`). Pair i of a type is a pure function of the run, the type and i.
"""

from blemish.generation.crops import Painting, Window, paste, window_around
from blemish.generation.generator import Generator
from blemish.generation.goods import settled
from blemish.generation.habits import Habit, habit
from blemish.generation.learning import few_shot, learn, small_plan
from blemish.generation.manifest import Entry, Run, read_manifest
from blemish.generation.masks import Template, largest_extent, read_templates
from blemish.generation.output import Made, comparison, include_good, write_pairs
from blemish.generation.placement import Placed, place, region_of_interest, suited
from blemish.generation.proposals import mask_files, write_masks
from blemish.generation.quality import (
    Chosen,
    Gate,
    Judge,
    Scores,
    Verdict,
    encoder_features,
    first_accepted,
)
from blemish.generation.warps import STILL, Jitter

__all__ = [
    "STILL",
    "Chosen",
    "Entry",
    "Gate",
    "Generator",
    "Habit",
    "Jitter",
    "Judge",
    "Made",
    "Painting",
    "Placed",
    "Run",
    "Scores",
    "Template",
    "Verdict",
    "Window",
    "comparison",
    "encoder_features",
    "few_shot",
    "first_accepted",
    "habit",
    "include_good",
    "largest_extent",
    "learn",
    "mask_files",
    "paste",
    "place",
    "read_manifest",
    "read_templates",
    "region_of_interest",
    "settled",
    "small_plan",
    "suited",
    "window_around",
    "write_masks",
    "write_pairs",
]
