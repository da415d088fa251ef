"""The stretches on which false alarms are counted follow from their rule, and from nothing else."""

import numpy as np
import pytest

from benchmarks.stationary import ZONES, chosen, kpss, listed, one_mean
from tests.recordings import recording


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name == "steel_energy" else pytest.mark.slow)
        for name in ZONES
    ],
)
def test_the_list_follows_from_the_rule(name: str) -> None:
    """No stretch was taken out because of what a detector says of it, and none put in."""
    recording(f"{name}.csv.gz")
    assert list(chosen(name)) == [one for one in listed() if one.file == name]


def test_there_are_enough() -> None:
    """Half a million values together, of more than one place."""
    assert sum(one.events for one in listed()) >= 500_000
    assert len({one.file for one in listed()}) >= 5


def test_what_moves_is_no_stretch() -> None:
    """Of what stays 10 % are rejected by KPSS and few by the other; both see what moves."""
    rng = np.random.default_rng(4)
    calm = rng.normal(size=(300, 112))
    assert 0.05 < np.mean([kpss(y) > 0.347 for y in calm]) < 0.15
    assert np.mean([one_mean(y) < 0.01 for y in calm]) < 0.1
    step, wave = np.repeat([0.0, 1.0], 56), np.sin(np.arange(112) * 2.0 * np.pi / 112)
    assert np.mean([kpss(y + step) > 0.347 for y in calm]) > 0.95
    assert np.mean([one_mean(y + wave) < 0.01 for y in calm]) > 0.95
