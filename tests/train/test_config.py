import math

import pytest

from unrolled.errors import TrainingError
from unrolled.train.config import FIXED, TrainConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs is a number from 1 up, not 0"),
        ({"max_steps": -1}, "max_steps is a number from 1 up, not -1"),
        ({"max_minutes": 0.0}, "max_minutes is a number above 0, not 0.0"),
        ({"learning_rate": -0.1}, "learning_rate is a number above 0, not -0.1"),
        ({"learning_rate": math.nan}, "learning_rate is a number above 0, not nan"),
        ({"weight_decay": math.inf}, "weight_decay is a number from 0 up, not inf"),
        ({"clip": math.nan}, "clip is a number from 0 up, not nan"),
        ({"momentum": 1.0}, "momentum is at least 0 and less than 1, not 1.0"),
        ({"final_rate": 1.5}, "final_rate is a fraction, at most 1, not 1.5"),
        ({"seed": -1}, "seed is a number from 0 up, not -1"),
    ],
)
def test_a_value_out_of_range_is_refused(settings: dict[str, float], message: str):
    with pytest.raises(TrainingError) as caught:
        TrainConfig(**settings)  # pyright: ignore[reportArgumentType]
    assert str(caught.value) == message


def test_steps_are_those_of_the_epochs_or_fewer():
    assert TrainConfig(epochs=3).total_steps(10) == 30
    assert TrainConfig(epochs=3, max_steps=7).total_steps(10) == 7
    assert TrainConfig(epochs=3, max_steps=70).total_steps(10) == 30


def test_the_fixed_settings_are_settings():
    assert set(TrainConfig.__dataclass_fields__) > FIXED
