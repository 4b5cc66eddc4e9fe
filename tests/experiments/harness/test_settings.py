"""Every number of a configuration is held to the range of its field."""

import dataclasses
from typing import Annotated

import pytest

from experiments.harness import Settings, Within, experiment
from experiments.harness.usage import UsageError


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    hidden: int = 3
    rate: float = 0.1
    depths: tuple[int, ...] = (1, 2)
    features: Annotated[int, Within(32)] = 200
    share: Annotated[float, Within(0, 1, above=True)] = 0.5
    times: Annotated[tuple[int, ...], Within(3, 9)] = (3, 9)
    everything: bool = False
    name: str = ""


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hidden": 0}, "--hidden must be at least 1, got 0"),
        ({"hidden": 2**31}, "--hidden must be at most 2147483647, got 2147483648"),
        ({"rate": -0.1}, "--rate must be at least 0, got -0.1"),
        ({"rate": float("nan")}, "--rate must be at least 0, got nan"),
        ({"rate": float("inf")}, "--rate must be at most 3.4e+38, got inf"),
        ({"depths": ()}, "--depths must be one or more values, got none"),
        ({"depths": (0, 20)}, "--depths must be at least 1, got 0 20"),
        ({"features": 31}, "--features must be at least 32, got 31"),
        ({"features": 2**31}, "--features must be at most 2147483647, got 2147483648"),
        ({"share": 0.0}, "--share must be above 0 and at most 1, got 0.0"),
        ({"share": 1.5}, "--share must be above 0 and at most 1, got 1.5"),
        ({"times": (3, 10)}, "--times must be at least 3 and at most 9, got 3 10"),
    ],
)
def test_a_value_outside_its_range_is_refused_where_it_is_made(fields, message):
    with pytest.raises(UsageError) as refused:
        Config(**fields)
    assert str(refused.value) == message


def test_the_ends_of_a_range_are_in_it():
    Config(hidden=2**31 - 1, rate=0.0, features=32, share=1.0, times=(9, 3), everything=True)


@pytest.mark.parametrize("name", experiment.names("experiments"))
def test_presets_are_within_their_ranges(name):
    config = experiment.load("experiments", name).Config
    assert config.quick() != config.paper()
