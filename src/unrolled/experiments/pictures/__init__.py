"""The figures of the experiments: from results to pictures."""

from unrolled.experiments.pictures.counting import counting
from unrolled.experiments.pictures.exploding import exploding
from unrolled.experiments.pictures.memory import memory
from unrolled.experiments.pictures.speed import speed
from unrolled.experiments.pictures.vanishing import vanishing

__all__ = ["counting", "exploding", "memory", "speed", "vanishing"]
