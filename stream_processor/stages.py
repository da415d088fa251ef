"""What a walk is made of."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from models.learner import Learner
from models.selection import Selection
from monitoring.drift import Drift
from monitoring.scores import Scorer
from stream_processor.admit import Admit
from stream_processor.arrange import Arrange
from stream_processor.classify import Classify
from stream_processor.clocks import Clocks
from stream_processor.consequences import Consequences
from stream_processor.flag_counts import FlagCounts
from stream_processor.groups import Groups
from stream_processor.labels import LabelJoin
from stream_processor.operator import FeatureOperator, Operator
from stream_processor.retained import Retained
from stream_processor.silence import Silence
from streamgauge.calls import Call
from streamgauge.devices import Devices
from streamgauge.schedule import Lane, Schedule
from streamgauge.schema import Schema
from streamgauge.state import Block, Keys

__all__ = ["Stages"]


@dataclass(frozen=True, slots=True)
class Stages:
    """What a walk is made of, in the order of the walk."""

    schema: Schema
    devices: Devices
    clocks: Clocks
    admit: Admit
    silence: Silence
    cleaners: Mapping[str, Operator]
    """By a name that says channel and policy, in the order in which they work."""
    flags: FlagCounts
    retained: Retained
    features: Sequence[FeatureOperator]
    lanes: Sequence[Lane]
    join: LabelJoin
    learners: Sequence[Learner]
    scorer: Scorer
    drift: Drift
    classify: Classify
    groups: Groups
    """Of devices that share a model by a tag."""
    arrange: Arrange | None = None
    """Comes first where readings wait for each other; None: each goes on by itself."""
    selections: Sequence[Selection] = ()
    """Of the lanes whose models see some of their features."""
    consequences: Consequences | None = None
    """None where nothing is done about drift but to tell of it."""

    def taught(
        self, learner: Learner, schedule: Schedule
    ) -> tuple[list[Call], Callable[[Schedule], None]]:
        """The kernel calls that make the learner walk the schedule, none where Python has to; and
        what does it then."""
        repeated = self.consequences and self.consequences.repeats.of(learner, schedule)
        if repeated:
            return repeated.calls(), repeated.run
        call = learner.call(schedule)
        return [] if call is None else [call], learner.run

    def bytes_per_device(self) -> tuple[int, int]:
        """Bytes of state of one device: in its first readings, and with every window full and as
        many predictions pending as may be. River models come on top:
        `models.footprint`."""
        return _bytes(block for block in self.blocks().values() if block.keys is Keys.DEVICE)

    def bytes_per_group(self) -> tuple[int, int]:
        """The same for a group of devices that share models."""
        blocks = {k: block for k, block in self.blocks().items() if not k.startswith("features.")}
        return _bytes(block for block in blocks.values() if block.keys is Keys.GROUP)

    def models_of(self, lane: int, devices: Sequence[int]) -> list[int]:
        """Rows of the lane's models that serve these device rows, each once."""
        if self.lanes[lane].tag:
            return self.groups.rows(lane, devices)
        return list(devices) if self.lanes[lane].scope == "device" else [0]

    def models(self, lane: int) -> int:
        """How many models the lane has now."""
        own = self.devices.known if self.lanes[lane].scope == "device" else 1
        return self.groups.count(lane) or own

    def blocks(self) -> dict[str, Block]:
        """Every state block of the walk, by a name that stays the same between versions."""
        named: dict[str, Mapping[str, Block]] = {"clocks": self.clocks.blocks}
        named["admit"] = self.admit.blocks
        named["silence"] = self.silence.blocks
        named["retained"] = self.retained.blocks
        if self.arrange is not None:
            named["arrange"] = self.arrange.blocks
        named |= {f"clean.{name}": operator.blocks for name, operator in self.cleaners.items()}
        named |= {"flags": self.flags.blocks}
        named |= {f"features.{k}": op.blocks for k, op in enumerate(self.features)}
        named |= {"labels": self.join.blocks, "scores": self.scorer.blocks}
        if self.classify:
            named |= {"classes": self.classify.blocks}
        for learner in self.learners:
            named[f"models.{self.lanes[learner.lane].name}"] = learner.blocks
        for selection in self.selections:
            named[f"selection.{self.lanes[selection.lane].name}"] = selection.blocks
        named |= {f"drift.{name}": blocks for name, blocks in self.drift.blocks().items()}
        if self.consequences is not None:
            named["actions"] = self.consequences.blocks()
        return {f"{a}.{b}": block for a, blocks in named.items() for b, block in blocks.items()}


def _bytes(blocks: Iterable[Block]) -> tuple[int, int]:
    """Bytes of a row of all these blocks together: of one layer, and of all."""
    sizes = [(block.bytes_per_row, block.bytes_per_row * block.layers) for block in blocks]
    return sum(least for least, _ in sizes), sum(most for _, most in sizes)
