"""Which changes of known streams detectors of errors find: F1 beside false alarms and delay.

A Gaussian naive Bayes is tested on each reading, then learns it; it starts anew at an alarm. A
change is found by the first alarm within 1,000 readings of it; every other alarm is false. Ours are
counted where the error rose. Those that River has too give the same alarms as River's, which the
tests hold; ADWIN stands there twice because River's does not say in which direction the mean moved,
FHDDM because we have none. Those of frouros and CapyMOA (MOA) run in environments of their own.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from river import drift

from benchmarks._other_libraries import DETECTORS, environment, opened
from benchmarks.drift import DATA
from streamgauge import plugins
from streamgauge.calls import Chain, Now
from streamgauge.events import KIND, EventKind, Events
from streamgauge.signal import TIME, UNIT, VALUE, Kind, Signal

WITHIN, BLOCK = 1_000, 250
SEA = (12_500, 25_000, 37_500)
OURS = (
    "adwin", "page_hinkley", "ddm", "eddm", "hddm_a", "hddm_w", "kswin", "window_ks", "psi",
)  # fmt: skip
RIVER: Mapping[str, Callable[[], Any]] = {
    "River ADWIN": drift.ADWIN,
    "River FHDDM": drift.binary.FHDDM,
}

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Stream = tuple[Floats, Ints, list[int]]
Watch = Callable[[float], bool]
"""Takes an error and says whether it is an alarm."""


@numba.njit
def _error(state: Floats, x: Floats, label: int) -> float:
    """Whether naive Bayes is wrong about a reading, which it then learns.

    `state` is float64[classes, 1 + 2k]: count, means, and squares around them.
    """
    k, best, said = len(x), -np.inf, 0
    for c in range(len(state)):
        own = state[c]
        if own[0] < 2.0:
            continue
        chance = np.log(own[0])
        for j in range(k):
            variance = own[1 + k + j] / own[0] + 1e-9
            chance -= 0.5 * (np.log(variance) + (x[j] - own[1 + j]) ** 2 / variance)
        if chance > best:
            best, said = chance, c
    own = state[label]
    own[0] += 1.0
    for j in range(k):
        miss = x[j] - own[1 + j]
        own[1 + j] += miss / own[0]
        own[1 + k + j] += miss * (x[j] - own[1 + j])
    return 1.0 if said != label else 0.0


def ours(name: str) -> Watch:
    """A detector of this project that is given one error a second."""
    signal, events = Signal(Kind.ERROR, "lanes", ["errors"], 1), Events(1)
    built = plugins.load("monitoring.detectors", name).build(signal, 1)
    chain = Chain([built.call(signal, events)], np.zeros(len(Now), np.int64))
    signal.count[0], signal.numbers[0, UNIT] = 1, 1.0

    def watch(error: float) -> bool:
        signal.numbers[0, VALUE] = error
        signal.codes[0, TIME] += 1_000_000
        chain.run()
        rose = bool(events.count[0]) and events.codes[0, KIND] == EventKind.DRIFT_UP
        events.clear()
        return rose

    return watch


def by_river(made: Callable[[], Any]) -> Watch:
    """River's, as it is."""
    detector = made()

    def watch(error: float) -> bool:
        detector.update(error)
        return bool(detector.drift_detected)

    return watch


def streams() -> dict[str, Stream]:
    """Features, labels and where each stream changes; those that are there."""
    found = {}
    if (DATA / "sea.csv.gz").exists():
        table = pd.read_csv(DATA / "sea.csv.gz")
        found["sea"] = (*_columns(table), list(SEA))
    if (DATA / "drift_synth.csv.gz").exists():
        table = pd.read_csv(DATA / "drift_synth.csv.gz")
        for name, rows in table.groupby("device"):
            changes = np.flatnonzero(np.diff(rows["drift"].to_numpy(), prepend=0) > 0)
            found[str(name).partition("_")[0]] = (*_columns(rows), changes.tolist())
    return found


def _columns(table: pd.DataFrame) -> tuple[Floats, Ints]:
    inputs = [name for name in table.columns if name[0] == "x" and table[name].notna().all()]
    labels = pd.factorize(table["label"])[0].astype(np.int64)
    return table[inputs].to_numpy(np.float64), labels


def alarms(watch: Watch, x: Floats, labels: Ints) -> list[int]:
    """Readings at which a detector alarms."""
    state, found = np.zeros((int(labels.max()) + 1, 1 + 2 * x.shape[1])), []
    for i, label in enumerate(labels.tolist()):
        if watch(_error(state, x[i], label)):
            found.append(i)
            state[:] = 0.0
    return found


def alarms_of_blocks(
    watch: Callable[[list[float]], tuple[int, bool]], x: Floats, labels: Ints
) -> list[int]:
    """The same of a detector that is asked of many errors at a time, up to its first alarm."""
    state, found, at = np.zeros((int(labels.max()) + 1, 1 + 2 * x.shape[1])), list[int](), 0
    while at < len(x):
        block = range(at, min(at + BLOCK, len(x)))
        taken, alarm = watch([_error(state, x[i], labels[i]) for i in block])
        at += taken
        if alarm:
            found.append(at - 1)
            # With it goes what was learned beyond the alarm.
            state[:] = 0.0
    return found


def judged(found: list[int], changes: list[int]) -> dict[str, Any]:
    """How well alarms tell changes."""
    delays = []
    for change in changes:
        late = [at - change for at in found if change <= at < change + WITHIN]
        delays += late[:1]
    false, missed = len(found) - len(delays), len(changes) - len(delays)
    return {
        "F1": 2 * len(delays) / max(2 * len(delays) + false + missed, 1),
        "found": f"{len(delays)} of {len(changes)}",
        "false": false,
        "delay": float(np.median(delays)) if delays else "",
    }


def run() -> list[dict[str, Any]]:
    """A row per detector and stream."""
    made = {name: (lambda name=name: ours(name)) for name in OURS}
    made |= {name: (lambda make=make: by_river(make)) for name, make in RIVER.items()}
    found = streams()
    rows = [
        {"detector": name, "stream": on, **judged(alarms(watch(), x, labels), changes)}
        for on, (x, labels, changes) in found.items()
        for name, watch in made.items()
    ]
    for library, detectors in DETECTORS.items() if found else ():
        python = environment(library)
        rows += [
            row for name in detectors if python for row in _of_others(python, library, name, found)
        ]
    return rows


def _of_others(
    python: Path, library: str, name: str, found: Mapping[str, Stream]
) -> Iterator[dict[str, Any]]:
    for on, (x, labels, changes) in found.items():
        with opened(python, library, name) as watch:
            said = judged(alarms_of_blocks(watch, x, labels), changes)
        yield {"detector": f"{library} {name}", "stream": on, **said}
