"""One pass over a recording: counters per device and channel, a sample, and what cleaners flag."""

import numpy as np

from ingest.rejects import Rejects
from serving.profile.sample import Sample, Stretches
from serving.profile.steps import Steps
from stream_processor.admit import Admit
from stream_processor.flag_counts import FlagCounts
from stream_processor.operator import Operator
from stream_processor.settings.channels import ChannelSettings
from stream_processor.settings.cleaning import build_cleaners
from stream_processor.settings.devices import DeviceSettings
from stream_processor.settings.fields import Options, PluginUse
from stream_processor.settings.model import Settings
from streamgauge.arrays import Ints
from streamgauge.batch import Batch, Features
from streamgauge.delivery import Readings
from streamgauge.devices import Devices
from streamgauge.schema import Kind, Schema
from streamgauge.words import Flag, Verdict

__all__ = ["STUCK", "Gathered"]

STUCK = 30
"""Equal values in a row that count as stuck; no default of the cleaner's fits every channel."""
MOST_DEVICES = 2_000
MOST_SERIES = 20_000
"""Devices times channels that have counters of their own, 2.3 KB each."""
SAMPLE = 2_000_000
"""Values in the sample, over all channels."""
MOST_SAMPLED = 100_000
STRETCHES, STRETCH = 16, 4_096
"""Devices, and readings of each, that autocorrelation rests on."""


class Gathered:
    """What one pass counts; `add` takes the recording piece by piece, the cut means nothing."""

    def __init__(self, schema: Schema) -> None:
        k = len(schema)
        self.schema = schema
        limit = max(1, min(MOST_DEVICES, MOST_SERIES // (k + 1)))
        self.devices = Devices(limit)
        self.rejects = Rejects()
        self.left_out = 0
        self.verdicts = np.zeros((limit, len(Verdict)), np.int64)
        self.present = np.zeros((limit, k), np.int64)
        self.total = np.zeros((limit, k))
        self.low = np.full(k, np.inf)
        self.high = np.full(k, -np.inf)
        self.begin = np.full(limit, np.iinfo(np.int64).max)
        self.end = np.full(limit, np.iinfo(np.int64).min)
        self.steps = Steps(limit, k + 1)
        self.sample = Sample(min(MOST_SAMPLED, SAMPLE // k), k)
        self.stretches = Stretches(STRETCHES, STRETCH, k)
        self._flags = FlagCounts(schema, limit)
        admit = Admit(schema, limit, max_ahead_us=DeviceSettings().max_ahead)
        cleaners = [operator for _, operator in build_cleaners(_policies(schema), schema, limit)]
        self._admit: Operator = admit
        self._cleaners: list[Operator] = [*cleaners, self._flags]
        self._nothing = Features((), (), 1)

    def add(self, readings: Readings) -> None:
        """The next readings."""
        row = np.array(self.devices.rows(readings.devices), np.int64)
        kept = row >= 0
        self.left_out += int((~kept).sum())
        batch = Batch(max(1, int(kept.sum())), len(self.schema))
        batch.n = int(kept.sum())
        batch.row[: batch.n] = row[kept]
        batch.time[: batch.n] = readings.time[kept]
        batch.received[: batch.n] = readings.received[kept]
        batch.values[: batch.n] = readings.values[kept]
        self._admit.call(batch, self._nothing).run(n=batch.n)
        self._count(batch)
        for operator in self._cleaners:
            operator.call(batch, self._nothing).run(n=batch.n)

    def _count(self, batch: Batch) -> None:
        """Everything that is counted before cleaning changes a value."""
        verdict = batch.verdict[: batch.n]
        np.add.at(self.verdicts, (batch.row[: batch.n], verdict), 1)
        good = verdict == int(Verdict.ADMITTED)
        row = batch.row[: batch.n][good].astype(np.int64)
        time = batch.time[: batch.n][good]
        values = batch.values[: batch.n][good]
        np.minimum.at(self.begin, row, time)
        np.maximum.at(self.end, row, time)
        there = np.isfinite(values)
        self.low = np.minimum(self.low, np.where(there, values, np.inf).min(0, initial=np.inf))
        self.high = np.maximum(self.high, np.where(there, values, -np.inf).max(0, initial=-np.inf))
        np.add.at(self.present, row, there)
        np.add.at(self.total, row, np.where(there, values, 0.0))
        for c in range(len(self.schema)):
            self.steps.add(row[there[:, c]], c, time[there[:, c]])
        self.steps.add(row, len(self.schema), time)
        self.sample.add(row, time, values)
        self.stretches.add(row, values)

    def flagged(self, flag: Flag) -> Ints:
        """int64[devices, k]: values that cleaning flagged so."""
        counts = self._flags.blocks["device"].view("counts")[: len(self.devices)]
        return counts[:, :, int(flag).bit_length() - 1].astype(np.int64)


def _policies(schema: Schema) -> Settings:
    """The cleaners whose work is counted, with their own defaults."""
    number = ChannelSettings(
        spike=Options(), stuck=Options({"readings": STUCK}), outlier=PluginUse("hampel")
    )
    switch = ChannelSettings(kind=Kind.BOOLEAN, stuck=Options({"readings": STUCK}))
    return Settings(
        channels={
            channel.name: switch if channel.kind is Kind.BOOLEAN else number
            for channel in schema.channels
        }
    )
