"""How often the signals that are not of errors and channels alarm on whole recordings.

A forecast of the next reading of the first channel by the default model, and means of ten readings
of it as a feature; the detectors are those that the how-to names. Alarms are per 100,000 readings
of one device, of all devices of a recording together. Some of them are changes: see the benchmark
`drift`, whose stretches these are. `missing` and `flagged` count only where values are missing.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.drift import DATA, SEEN, UNSEEN, Stretch, table
from stream_processor.pipeline import Pipeline
from stream_processor.settings import load_text
from streamgauge.delivery import Readings

CONFIG = """
[devices]
timezone = "{zone}"
limit = 100
[channels]
{channels}
[features]
rolling = [{{ of = ["{first}"], window = {{ readings = 10 }}, stats = ["mean"] }}]
[tasks.ahead]
kind = "forecast"
target = "{first}"
horizons = [{{ readings = 1 }}]
[drift]
detector = "adwin"
level = "cusum"
noise = "none"
shape = "none"
feature = "cusum"
prediction = "cusum"
label = "cusum"
relation = "cusum"
missing = "adwin"
flagged = "adwin"
"""
RELATION = 'relation = "cusum"\n'
SIGNALS = ("error", "level", "feature", "prediction", "label", "relation", "missing", "flagged")


def run() -> list[dict[str, Any]]:
    """A row per recording."""
    return [_row(stretch) for stretch in (*SEEN, *UNSEEN) if (DATA / stretch.file).exists()]


def _row(stretch: Stretch) -> dict[str, Any]:
    row, time, values = table(stretch)
    order = np.argsort(time, kind="stable")
    devices = [f"d{k}" for k in row[order].tolist()]
    readings = Readings(devices, time[order], time[order], values[order])
    text = (CONFIG if len(stretch.channels) > 1 else CONFIG.replace(RELATION, "")).format(
        zone=stretch.zone,
        channels="\n".join(f"{name} = {{}}" for name in stretch.channels),
        first=stretch.channels[0],
    )
    made = Pipeline(load_text(text, Path("signals.toml"), {}, for_replay=True))
    found = Counter(
        event.signal for output in made.record(readings) for event in output.events if event.signal
    )
    on = f"{stretch.file.removesuffix('.csv.gz')} {stretch.channels[0]}"
    alarms = {name: found[name] * 1e5 / len(readings) for name in SIGNALS}
    return {"stream": on, "readings": len(readings), **alarms}
