"""The benchmark's score of anomalies is the published one."""

import math

import numpy as np
import pandas as pd
import pytest

from benchmarks.nab import nab_score
from tests.recordings import recording


def one_file(*detected: int) -> float:
    """Score of a file of 1,000 rows whose window is rows 500 to 599."""
    values = np.zeros(1000)
    values[list(detected)] = 1.0
    inside = np.zeros(1000, bool)
    inside[500:600] = True
    return nab_score([(values, inside)])[0]


def test_first_row_of_a_window_is_all_there_is() -> None:
    """A window found at its first row gives 100, later ones less, a second find nothing."""
    assert one_file(500) == pytest.approx(100)
    assert one_file(500, 550) == pytest.approx(100)
    assert 50 < one_file(590) < one_file(550) < 100


def test_false_alarms_cost() -> None:
    """A false alarm before a window costs 0.11 of the 2 between missed and found."""
    assert one_file(300, 500) == pytest.approx(100 * (2 - 0.11) / 2)
    behind = 2 / (1 + math.exp(5 * 10 / 99)) - 1
    assert one_file(500, 609) == pytest.approx(100 * (2 + 0.11 * behind) / 2)


def test_start_of_a_file_is_free() -> None:
    """What is detected in the first 15 % of a file neither costs nor counts."""
    assert one_file(*range(150), 500) == pytest.approx(100)


def test_equal_values_are_detected_together() -> None:
    """A threshold cannot part rows of one value, so flagging all is worth no more than nothing."""
    assert one_file(*range(1000)) == 0


def test_nan_and_no_window_are_refused() -> None:
    """A score of nothing would be a number without a meaning."""
    with pytest.raises(ValueError, match="nothing to detect"):
        nab_score([(np.zeros(9), np.zeros(9, bool))])
    with pytest.raises(ValueError, match="NaN"):
        nab_score([(np.full(9, np.nan), np.ones(9, bool))])


def windowed_gaussian(values: np.ndarray) -> np.ndarray:
    """The benchmark's own detector: tail probability under the last 6,400 values, moved by 100."""
    scores = np.zeros(len(values))
    for row in range(1, len(values)):
        end = row if row < 6400 else row - (row - 6400) % 100
        start = max(0, end - 6400)
        if row <= 6400 or (row - 6400) % 100 == 0:
            seen = values[start:end]
            mean, deviation = seen.mean(), seen.std() or 1e-6
        scores[row] = 1 - 0.5 * math.erfc(abs(values[row] - mean) / deviation / math.sqrt(2))
    return scores


@pytest.mark.slow
def test_windowed_gaussian_is_near_its_published_score() -> None:
    """The benchmark's windowed Gaussian scores 40.1 here; published is 39.6."""
    table = pd.read_csv(recording("nab.csv.gz"))
    files = [
        (windowed_gaussian(part["value"].to_numpy(float)), part["label"].to_numpy() > 0)
        for _, part in table.groupby("device", sort=False)
    ]
    assert nab_score(files)[0] == pytest.approx(40.13, abs=0.05)
