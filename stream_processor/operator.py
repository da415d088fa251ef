"""The contract of an operator: what the walk calls between a codec and the label join."""

from collections.abc import Mapping
from typing import Protocol

from streamgauge.batch import Batch, Features
from streamgauge.calls import Call
from streamgauge.state import Block

__all__ = ["FeatureOperator", "Operator"]


class Operator(Protocol):
    """Works on one batch after the other; all that it remembers is in `blocks`.

    The result never depends on where a batch was cut: any split of a stream into batches gives
    the same bits in outputs and in state.
    """

    @property
    def blocks(self) -> Mapping[str, Block]:
        """State by name, empty for an operator that remembers nothing."""
        ...

    def call(self, batch: Batch, features: Features) -> Call:
        """The kernel call that works on readings 0 to N of this batch; it leaves the others, and
        other operators' columns, alone."""
        ...


class FeatureOperator(Operator, Protocol):
    """An operator that computes features.

    Its file in `stream_processor/features` offers `build(schema, capacity, column, *, options)`:
    `capacity` devices at most, `column` is the first column of `features.x` that it writes. It
    writes one column per name, NaN where the feature is absent and in readings not admitted, and
    never any other non-finite value.

    One that is made of other features takes `earlier` after `column`: their names in the order of
    the columns, from 0 on, and their channels. It comes behind all those that are not.

    One that looks at more than the device of a reading takes `devices` after `column`. Where it
    keeps state that several devices share it has `evict(rows)`, called before the rows of devices
    are given to others, unless what they taught stays, and `known_for`, microseconds in which no
    device may leave that was just heard; where that state depends on more than its options,
    `made_for` says on what, JSON-able.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its features, in the order of its columns."""
        ...

    @property
    def channels(self) -> tuple[frozenset[str], ...]:
        """For each feature, the channels that it is computed from."""
        ...
