import math
from itertools import pairwise

import pytest

from unrolled.train.config import ScheduleName, TrainConfig
from unrolled.train.schedule import learning_rate


def rates(total: int, **settings: object) -> list[float]:
    config = TrainConfig(learning_rate=2.0, **settings)  # pyright: ignore[reportArgumentType]
    return [learning_rate(config, step, total) for step in range(total)]


def test_warmup_rises_linearly_to_the_peak():
    assert rates(8, schedule="constant", warmup=4) == [0.5, 1.0, 1.5, 2.0, 2.0, 2.0, 2.0, 2.0]


def test_linear_falls_to_its_last_rate_just_after_the_end():
    assert rates(4, schedule="linear", warmup=0) == [2.0, 1.5, 1.0, 0.5]
    assert rates(4, schedule="linear", warmup=0, final_rate=0.5) == [2.0, 1.75, 1.5, 1.25]


def test_cosine_is_half_way_down_at_half_the_steps():
    found = rates(100, schedule="cosine", warmup=0, final_rate=0.1)
    assert found[0] == 2.0
    assert found[50] == pytest.approx(1.1)
    assert found[25] == pytest.approx(0.2 + 1.8 * (0.5 + math.sqrt(0.125)))
    assert all(a > b for a, b in pairwise(found))


def test_plateau_halves_down_to_its_floor():
    config = TrainConfig(learning_rate=2.0, schedule="plateau", warmup=0, final_rate=0.2)
    found = [learning_rate(config, 9, 10, reductions) for reductions in range(5)]
    assert found == [2.0, 1.0, 0.5, 0.4, 0.4]


@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear", "plateau"])
def test_a_run_shorter_than_its_warmup_only_rises(schedule: ScheduleName):
    assert rates(3, schedule=schedule, warmup=10) == pytest.approx([0.2, 0.4, 0.6])
