from __future__ import annotations

import numpy as np
import pytest

from blemish.metrics.scored import Scored


def scored(good: list[float], defects: dict[str, list[float]]) -> Scored:
    found = Scored()
    for label, scores in {"good": good, **defects}.items():
        for score in scores:
            found.add(label, score, np.zeros((2, 2), np.float32), None)
    return found


def test_a_perfect_order_of_few_photos_leaves_room_for_doubt():
    few, most = [0.1, 0.2], {"dent": [0.7, 0.8], "cut": [0.9, 0.9, 0.9]}
    assert scored(few, most).interval() == pytest.approx((0.025**0.5, 1))
    assert scored(few * 10, {"dent": [0.7]}).interval() == pytest.approx((0.025, 1))
    upside_down = scored([0.9, 0.8, 0.7], {"dent": [0.1] * 5})
    assert upside_down.interval() == pytest.approx((0, 1 - 0.025 ** (1 / 3)))


def test_any_other_figure_has_the_interval_of_redrawn_photos():
    low, high = scored([0.1, 0.5, 0.3], {"dent": [0.4, 0.8]}).interval()
    assert low < 5 / 6 < high == 1


@pytest.mark.parametrize("defects", [{}, {"dent": [0.5, 0.5]}])
def test_where_photos_tell_nothing_there_is_no_interval(defects):
    assert scored([0.5, 0.5], defects).interval() is None
