"""Every way of selection there is, and the checks that each must pass, over any steps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from river import linear_model, preprocessing

from models.clip import Clip
from models.compile import compile as compile_model
from streamgauge import plugins
from streamgauge.calls import Chain, Now
from streamgauge.schedule import ROW
from streamgauge.state import Block, Keys, put_rows, reset_rows, take_rows
from streamgauge.words import Step
from tests.contracts.invariance import Cut, assert_same_bits, assert_same_state, pieces, singles
from tests.contracts.learner_subjects import INPUTS, LANE, NAMES
from tests.contracts.schedules import FEATURES, ROWS, Steps

__all__ = [
    "SUBJECTS",
    "Subject",
    "check_alone",
    "check_chain",
    "check_cut",
    "check_fleet",
    "check_learning_alone_changes",
    "check_move",
    "check_only_leaves_out",
    "check_reset",
    "found",
    "play",
]

PACKAGE = "models.selections"
ELSEWHERE = (np.arange(ROWS) + 5) % ROWS
Floats = NDArray[np.float64]


def _model() -> Any:
    return preprocessing.StandardScaler() | Clip(4) | linear_model.LinearRegression()


class Chosen:
    """A selection and the models that it stands before."""

    def __init__(self, name: str, options: Mapping[str, Any], keys: Keys) -> None:
        columns = [f"f{column}" for column in range(FEATURES)]
        self.learner = compile_model(_model, LANE, INPUTS, columns, ROWS, keys).learner
        build = plugins.load(PACKAGE, name).build
        self.selection = build(self.learner, INPUTS, NAMES, ROWS, **options)
        self.blocks: dict[str, Block] = {f"own.{k}": b for k, b in self.selection.blocks.items()}
        if self.selection.includes is not None:
            self.blocks |= {f"model.{k}": b for k, b in self.learner.blocks.items()}


Build = Callable[[], Chosen]


@dataclass(frozen=True)
class Subject:
    """A way of selection, with options by which short streams make it decide."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def build(self, keys: Keys = Keys.DEVICE) -> Chosen:
        """A new one, for as many devices as a test has, or for the fleet."""
        return Chosen(self.name, self.options, keys)


SUBJECTS = (
    Subject("correlation", {"keep": 2}),
    Subject("importance", {"threshold": 0.2, "every": 2, "retry": 2}),
    Subject("mutual_information", {"keep": 2, "every": 2}),
    Subject("redundancy", {"threshold": 0.1, "every": 2}),
    Subject("variance", {"threshold": 0.5}),
)


def found() -> list[str]:
    """The files of the folder."""
    return plugins.names(PACKAGE)


def play(one: Chosen, steps: Steps, cut: Cut = (), *, chained: bool = False) -> Floats:
    """Send steps through a selection, cut into schedules; what the models then see, float64[n, f].
    Nothing else of the schedule changes but answers."""
    schedule = steps.schedule()
    call = one.selection.call(schedule)
    now = np.zeros(len(Now), np.int64)
    chain = Chain([call], now)
    seen = []
    for start, stop in pieces(len(steps), cut):
        steps.fill(schedule, start, stop)
        given = {name: getattr(schedule, name).copy() for name in ("codes", "numbers")}
        behind = schedule.x[schedule.n :].copy()
        now[Now.STEPS] = schedule.n
        if chained:
            chain.run()
        else:
            call.run(steps=schedule.n)
        assert_same_bits({name: getattr(schedule, name) for name in given}, given)
        assert_same_bits({"x": schedule.x[schedule.n :]}, {"x": behind})
        seen.append(schedule.x[: schedule.n].copy())
    return np.concatenate(seen)


def _same_x(ours: Floats, theirs: Floats) -> None:
    assert_same_bits({"x": ours}, {"x": theirs})


def check_cut(build: Build, steps: Steps, cut: Cut) -> None:
    """Choices and state are the same for the steps whole, one by one, and cut anywhere."""
    for other in (cut, singles(len(steps))):
        whole, parts = build(), build()
        _same_x(play(parts, steps, other), play(whole, steps))
        assert_same_state(parts.blocks, whole.blocks, np.arange(ROWS))


def check_chain(build: Build, steps: Steps, cut: Cut) -> None:
    """The bound kernel call does what the plain one does."""
    plain, chained = build(), build()
    _same_x(play(chained, steps, cut, chained=True), play(plain, steps, cut))
    assert_same_state(chained.blocks, plain.blocks, np.arange(ROWS))


def check_only_leaves_out(build: Build, steps: Steps) -> None:
    """A feature that the models see is the one that came; other lanes see all of theirs, and no
    state is anything but a number."""
    one = build()
    x = play(one, steps)
    columns = np.zeros(x.shape[1], np.bool_)
    columns[list(INPUTS)] = True
    own = steps.are(LANE, Step.PREDICT, Step.LEARN)[:, None] & columns
    assert_same_bits({"x": np.where(own, 0.0, x)}, {"x": np.where(own, 0.0, steps.x)})
    kept = own & ~np.isnan(x)
    assert_same_bits({"x": x[kept]}, {"x": steps.x[kept]})
    for name, block in one.selection.blocks.items():
        assert np.isfinite(block.array).all(), name


def check_alone(build: Build, steps: Steps) -> None:
    """A device fares the same in a fleet and alone, in whatever row it lives."""
    fleet = build()
    x = play(fleet, steps)
    for row in np.unique(steps.codes[:, ROW]):
        its = steps.codes[:, ROW] == row
        alone = build()
        _same_x(play(alone, steps.chosen(its).moved(ELSEWHERE)), x[its])
        assert_same_state(fleet.blocks, alone.blocks, np.array([row]), ELSEWHERE[[row]])


def check_learning_alone_changes(build: Build, steps: Steps) -> None:
    """Neither predictions, nor what taught nothing, nor other lanes change state."""
    noisy, taught = build(), build()
    play(noisy, steps)
    play(taught, steps.chosen(steps.are(LANE, Step.LEARN)))
    assert_same_state(noisy.blocks, taught.blocks, np.arange(ROWS))


def check_move(build: Build, steps: Steps, at: int, cut: Cut) -> None:
    """Some devices, moved into other rows of a used fleet, go on as if they had stayed."""
    here, there = build(), build()
    # Whoever lived in the target rows before must leave no trace.
    play(there, steps.moved(ELSEWHERE))
    play(here, steps.chosen(slice(0, at)))
    moving = np.unique(steps.codes[:, ROW])[::2]
    saved = take_rows(here.blocks, moving)
    rest = steps.chosen((np.arange(len(steps)) >= at) & np.isin(steps.codes[:, ROW], moving))
    stayed = play(here, rest)
    put_rows(there.blocks, ELSEWHERE[moving], saved)
    inside = tuple(place for place in cut if place < len(rest))
    _same_x(play(there, rest.moved(ELSEWHERE), inside), stayed)


def check_reset(build: Build, steps: Steps) -> None:
    """A row whose device was forgotten is like a row that never had one."""
    used, fresh = build(), build()
    play(used, steps)
    rows = np.unique(steps.codes[:, ROW])
    reset_rows(used.blocks, rows)
    assert_same_state(used.blocks, fresh.blocks, rows)
    _same_x(play(used, steps), play(fresh, steps))


def check_fleet(build: Callable[[Keys], Chosen], steps: Steps, cut: Cut) -> None:
    """A selection that the fleet shares is that of one device that has all the steps."""
    shared, single = build(Keys.FLEET), build(Keys.DEVICE)
    together = steps.shared()
    _same_x(play(shared, together, cut), play(single, together))
