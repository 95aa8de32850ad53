from __future__ import annotations

from dataclasses import replace

import pytest

from blemish.experiments import pair_training
from blemish.experiments.pair_training import LOOKS, fit, plan_of
from blemish.experiments.protocol import FAST, PAPER

PAPERS_CLASSIFIER = replace(PAPER.classifier, iterations=150 * 1000 * 2 // 8)
COURSES = {
    "fast localiser": FAST.localiser,
    "fast classifier": FAST.classifier,
    "paper localiser": PAPER.localiser,
    "paper classifier": PAPERS_CLASSIFIER,
    "constant rate": replace(PAPER.localiser, decay=0.0),
}


def looks(course) -> list[int]:
    """Return the iterations after which a course is validated."""
    plan, total = plan_of(course), course.iterations
    return [i for i in range(1, total + 1) if plan.validates(i, total, plan.validations)]


@pytest.mark.parametrize("name", COURSES)
def test_five_looks_fall_where_weights_may_be_chosen(name):
    course = COURSES[name]
    plan = plan_of(course)
    choosing = [i for i in looks(course) if plan.settling(i, course.iterations)]
    assert len(choosing) == LOOKS == 5


def test_the_papers_localiser_is_looked_at_eleven_times_as_the_docs_say():
    assert len(looks(PAPER.localiser)) == 11


def test_a_network_is_trained_by_the_plan_of_its_course(tmp_path, monkeypatch):
    class StopError(Exception):
        pass

    asked = []

    def run(_, plan, *__, **___):
        asked.append(plan)
        raise StopError

    monkeypatch.setattr(pair_training, "Run", run)
    with pytest.raises(StopError):
        fit(None, PAPER.localiser, tmp_path, pair_training.torch.device("cpu"))
    assert asked == [plan_of(PAPER.localiser)]
