"""A device that is told of after all others: what its model's beginning is worth."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from stream_processor.pipeline import Pipeline
from stream_processor.settings import load_text
from streamgauge.arrays import Floats
from tests.known_tasks import Forecast

__all__ = ["FIRST", "LATER", "LEFT_OUT", "LeftOut", "left_out"]

FIRST, LATER = 100, 2_000
"""Labels that are a device's first, and after which its own model should be settled."""
LEFT_OUT = (
    Forecast("beijing_air", "PM2.5", "1h", "10m"),
    Forecast("keti_rooms", "co2", "15m", "2m"),
    Forecast("cmapss_train", "s04", "1h", "10m"),
)


@dataclass(frozen=True)
class LeftOut:
    """Absolute errors of one device by label: begun as the fleet, begun empty, last value."""

    device: str
    fleet: Floats
    empty: Floats
    last: Floats


def left_out(task: Forecast, data: pd.DataFrame, model: str = "") -> Iterator[LeftOut]:
    """Each device in turn, told of when all others have been learned; by `model`, as TOML writes
    it, over the target's last values, or by the default.

    The others' readings come whole weeks before, so that the time of day and of the week stays.
    """
    columns = [c for c in data if c not in ("device", "time", "label", "split")]
    data = data[["device", "time", *columns]]
    data = data.assign(time=pd.to_datetime(data["time"], utc=True))
    span = pd.Timedelta(weeks=(data["time"].max() - data["time"].min()).days // 7 + 1)
    text = "[channels]\n" + "".join(f'"{c}" = {{}}\n' for c in columns)
    named = f"model = {model}\n" if model else ""
    if model:
        text += f'[features]\nlags = {{ "{task.target}" = [1, 2, 3] }}\n'
    for device in data["device"].unique():
        own, others = data[data["device"] == device], data[data["device"] != device]
        others = others.assign(time=others["time"] - span)
        told = {}
        for begins, before in (("fleet", others), ("empty", others[:0])):
            made = text + task.toml(f'start = "{begins}"\n{named}')
            pipeline = Pipeline(load_text(made, Path("p.toml"), {}, for_replay=True))
            if len(before):
                pipeline.replay(before)
            table = pipeline.replay(own)
            table = table[(table["device"] == device) & table["residual"].notna()]
            told[begins] = table
        value = own.set_index("time")[task.target].ffill().reindex(told["empty"]["made_at"])
        yield LeftOut(
            device,
            told["fleet"]["residual"].abs().to_numpy(),
            told["empty"]["residual"].abs().to_numpy(),
            np.abs(told["empty"]["label"].to_numpy() - value.to_numpy()),
        )
