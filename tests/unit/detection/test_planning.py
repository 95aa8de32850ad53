"""How long a detector trains."""

import pytest

from blemish.config import TrainingConfig
from blemish.detection import Length

TRAINING = TrainingConfig(normals=3, defects=1, decay=0.25, ema=0.9, validations=7, patience=2)


@pytest.mark.parametrize(
    ("epochs", "photos", "iterations"), [(1, 12, 3), (2, 12, 6), (1, 13, 3), (3, 13, 9), (1, 2, 1)]
)
def test_epochs_are_passes_of_global_batches_over_the_good_photos(epochs, photos, iterations):
    assert Length(epochs=epochs).plan(TRAINING, photos).iterations == iterations


def test_a_plan_steps_as_the_settings_say():
    plan = Length(iterations=900).plan(TRAINING, 12, trackers=("mlflow",))
    assert (plan.iterations, plan.seconds, plan.trackers) == (900, None, ("mlflow",))
    assert (plan.decay, plan.ema, plan.validations, plan.patience) == (0.25, 0.9, 7, 2)
    plan = Length(seconds=90.0).plan(TRAINING, 12)
    assert (plan.iterations, plan.seconds) == (None, 90.0)


@pytest.mark.parametrize(
    ("length", "words"),
    [
        (Length(900), "900 iterations"),
        (Length(epochs=3000), "3000 epochs"),
        (Length(seconds=0.5), "0.5 seconds"),
    ],
)
def test_a_length_says_its_unit(length, words):
    assert str(length) == words
