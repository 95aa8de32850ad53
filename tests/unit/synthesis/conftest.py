import numpy as np
import pytest


class Red:
    """A texture source that counts how often it was asked."""

    def __init__(self):
        self.count = 0

    def sample(self, height, width, _rng):
        self.count += 1
        return np.full((height, width, 3), (255, 0, 0), np.uint8)


@pytest.fixture
def red():
    return Red()
