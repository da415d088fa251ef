"""How often cleaning did what to whose values: counts by flag, channel and device."""

from collections.abc import Mapping

from streamgauge.arrays import Bytes, Floats, Ints, Rows, Words
from streamgauge.batch import Batch, Features
from streamgauge.calls import Call, Now
from streamgauge.kernels import kernel
from streamgauge.schema import Schema
from streamgauge.state import Block, Field, Keys
from streamgauge.words import Flag

__all__ = ["FlagCounts"]

_FLAGS = len(Flag)
_CLEANED = Flag.RATE | Flag.STUCK | Flag.SPIKE | Flag.OUTLIER | Flag.CAPPED | Flag.FILLED
"""The others are set by codecs and admission, which counts them."""


@kernel
def _count(
    n: int,
    row: Rows,
    verdict: Bytes,
    flags: Words,
    fleet: Floats,
    devices: Floats,
) -> None:
    channels = fleet.shape[1] // _FLAGS
    for i in range(n):
        if verdict[i] != 0:
            continue
        for c in range(channels):
            flag = flags[i, c]
            if flag == 0:
                continue
            for bit in range(_FLAGS):
                if (flag >> bit) & 1:
                    fleet[0, c * _FLAGS + bit] += 1.0
                    devices[row[i], c * _FLAGS + bit] += 1.0


class FlagCounts:
    """Counts the flags of admitted readings, once cleaning is done.

    Blocks "fleet" and "device", field `counts[k, f]`: by channel and by flag in the order of
    `Flag`. A device whose values need no cleaning costs no memory.
    """

    def __init__(self, schema: Schema, capacity: int) -> None:
        counts = [Field("counts", (len(schema), _FLAGS), along="channels")]
        fleet = Block(counts, 1, keys=Keys.FLEET)
        devices = Block(counts, capacity)
        self.names = schema.names
        self.blocks: Mapping[str, Block] = {"fleet": fleet, "device": devices}

    def call(self, batch: Batch, features: Features) -> Call:
        """See `stream_processor.operator.Operator`."""
        columns = (batch.row, batch.verdict, batch.flags)
        return Call(_count, (Now.N, *columns, *(b.array for b in self.blocks.values())))

    def totals(self) -> Ints:
        """int64[f]: values so far by flag, of those that only cleaning sets."""
        counts: Ints = self.blocks["fleet"].view("counts")[0].sum(axis=0).astype("int64")
        counts[[flag not in _CLEANED for flag in Flag]] = 0
        return counts

    def by_channel(self, row: int = -1) -> dict[str, dict[str, int]]:
        """Values so far by channel and flag, of one device or (-1) of all; those that occurred."""
        block, at = (self.blocks["fleet"], 0) if row < 0 else (self.blocks["device"], row)
        counts: Ints = block.view("counts")[at].astype("int64")
        return {
            name: {str(flag.name).lower(): n for flag, n in zip(Flag, of, strict=True) if n}
            for name, of in zip(self.names, counts.tolist(), strict=True)
            if any(of)
        }
