"""A simulated fleet of pumps, to try things on: a pure function of seed and time.

Each pump fills and empties its tank in turn, on top of a demand that swells and ebbs over minutes;
power, flow, pressure, vibration and, some seconds later, temperature follow that load. Messages get
lost, come twice, or lack a channel. While you watch, the bearing of one pump begins to fail: it
shakes, runs hot and draws power unevenly. Later the cooling water of the whole site grows warmer,
which changes what temperature means for every pump.
"""

import json
import math
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from ingest.rejects import Rejects
from ingest.source import Source
from streamgauge.brokers import address_of
from streamgauge.delivery import Delivery, Position
from streamgauge.durations import microseconds
from streamgauge.schema import Schema

__all__ = ["Fleet", "name", "open", "publish", "worn"]

CODEC = "json"
"""What reads the messages where the configuration names nothing else."""

FILLING_SECONDS, SWING_SECONDS, DEMAND_SECONDS = 20.0, 7.0, 600.0
COOLING_LAG_SECONDS = 5.0
LOST, TWICE, INCOMPLETE = 0.01, 0.005, 0.005
SILENT_EVERY, SILENT_FOR = 180.0, 20.0
MOST_TICKS_BEHIND = 60
CHANNELS = ("temperature", "pressure", "flow", "vibration", "power")
_NOISE = np.array([0.15, 0.02, 0.4, 0.05, 0.25])
_NOISE_WORN = np.array([0.3, 0.05, 2.0, 1.5, 4.0])
"""What a bearing that is worn out adds to the noise."""

Message = tuple[str, bytes]
"""Topic and payload."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """What the pumps do. Times are microseconds UTC; `begin` is when the show starts."""

    devices: int = 20
    interval: int = 1_000_000
    seed: int = 7
    begin: int = 0
    start_fault: int = 60_000_000
    """After `begin`: the bearing of one pump fails, see :func:`worn`."""
    start_drift: int = 90_000_000
    """After `begin`: the cooling water grows 10 degrees warmer within five seconds."""

    def messages(self, now: int) -> list[Message]:
        """What the pumps send in the interval that `now` lies in: `pumps/<id>/telemetry`, JSON."""
        tick = now // self.interval
        chance = np.random.default_rng((self.seed, tick))
        noise = _NOISE + np.outer(self._wear(tick), _NOISE_WORN)
        values = self.values(tick) + chance.standard_normal((self.devices, len(CHANNELS))) * noise
        luck = chance.random((self.devices, 3))
        which = chance.integers(0, len(CHANNELS), self.devices)
        silent = self._silent(tick)
        sent: list[Message] = []
        for pump in range(self.devices):
            if luck[pump, 0] < LOST or pump == silent:
                continue
            time = tick * self.interval - pump * self.interval // (2 * self.devices)
            body = dict(zip(CHANNELS, values[pump].round(3).tolist(), strict=True))
            if luck[pump, 2] < INCOMPLETE:
                del body[CHANNELS[which[pump]]]
            payload = json.dumps({"time": time // 1_000} | body).encode()
            sent += [(f"pumps/{name(pump)}/telemetry", payload)] * (1 + (luck[pump, 1] < TWICE))
        return sent

    def values(self, tick: int) -> NDArray[np.float64]:
        """float64[devices, 5]: the channels at a tick, free of noise."""
        seconds = tick * self.interval / 1e6
        since = (tick * self.interval - self.begin) / 1e6
        load, lagged = self._load(seconds), self._load(seconds - COOLING_LAG_SECONDS)
        wear = self._wear(tick)
        warmer = 10.0 * _ramp(since, self.start_drift / 1e6, 5.0)
        return np.column_stack(
            [
                24.0 + 38.0 * lagged + 18.0 * wear + warmer,
                5.0 + 4.5 * load - 0.8 * wear,
                110.0 * load * (1.0 - 0.2 * wear),
                1.2 + 4.0 * load + 11.0 * wear,
                8.0 + 42.0 * load * (1.0 + 0.15 * wear),
            ]
        )

    def _wear(self, tick: int) -> NDArray[np.float64]:
        """float64[devices]: 0 = a sound bearing, 1 = one worn out, which takes a minute."""
        since = (tick * self.interval - self.begin) / 1e6
        wear = np.zeros(self.devices)
        wear[_worn(self.devices)] = _ramp(since, self.start_fault / 1e6, 60.0)
        return wear

    def _load(self, seconds: float) -> NDArray[np.float64]:
        """float64[devices]: share of each pump's capacity in use."""
        phase = np.random.default_rng(self.seed).uniform(0.0, 2 * math.pi, (3, self.devices))
        turn = 2 * math.pi * seconds
        return np.asarray(
            0.55
            + 0.24 * np.sin(turn / FILLING_SECONDS + phase[0])
            + 0.02 * np.sin(turn / SWING_SECONDS + phase[1])
            + 0.03 * np.sin(turn / DEMAND_SECONDS + phase[2])
        )

    def _silent(self, tick: int) -> int:
        """The pump whose radio link is down just now, -1 where there is none."""
        seconds = (tick * self.interval - self.begin) / 1e6
        down = seconds >= SILENT_EVERY / 2 and seconds % SILENT_EVERY < SILENT_FOR
        return 5 % self.devices if down else -1


def name(pump: int) -> str:
    """Id of a pump."""
    return f"pump-{pump + 1:03d}"


def worn(devices: int) -> str:
    """Id of the pump whose bearing fails, in a fleet of so many."""
    return name(_worn(devices))


def _worn(devices: int) -> int:
    return min(3, devices - 1)


def open(  # noqa: A001  # the contract of a source's file
    schema: Schema,
    source_index: int,
    clock: Callable[[], int],
    rejects: Rejects,
    *,
    devices: int = 20,
    interval: str = "1s",
    seed: int = 7,
    start_fault: str = "60s",
    start_drift: str = "90s",
) -> Source:
    """The fleet inside this process, without a broker: JSON on topics `pumps/<id>/telemetry`, with
    `time` and the channels temperature, pressure, flow, vibration and power.

    The show begins when the source starts. ValueError on options that mean nothing.
    """
    if devices < 1 or microseconds(interval) < 1_000:
        raise ValueError("devices must be at least 1 and interval at least 1ms")
    fleet = Fleet(
        devices,
        microseconds(interval),
        seed,
        0,
        microseconds(start_fault),
        microseconds(start_drift),
    )
    return _SimulatorSource(fleet, source_index, clock)


class _SimulatorSource:
    finished = False

    def __init__(self, fleet: Fleet, source_index: int, clock: Callable[[], int]) -> None:
        self._fleet, self._source, self._clock = fleet, source_index, clock
        self._due: deque[Message] = deque()
        self._next = 0
        self._received = 0
        self._stopped = threading.Event()

    def start(self) -> None:
        fleet, now = self._fleet, self._clock()
        self._next = now // fleet.interval
        self._fleet = Fleet(
            fleet.devices, fleet.interval, fleet.seed, now, fleet.start_fault, fleet.start_drift
        )

    def resume(self, position: Position) -> None:
        """There is nothing to go on with: what is past was lost."""

    def take(self, limit: int, timeout: float) -> Delivery | None:
        """See `ingest.source.Source`."""
        while not self._due:
            if not self._tick(timeout):
                return None
        sent = [self._due.popleft() for _ in range(min(limit, len(self._due)))]
        topics, payloads = [topic for topic, _ in sent], [payload for _, payload in sent]
        received = [self._clock()] * len(sent)
        self._received += len(sent)
        return Delivery(self._source, payloads, topics, received)

    def _tick(self, timeout: float) -> bool:
        """Whether the next tick came within the time; then its messages are due."""
        interval = self._fleet.interval
        ahead = (self._next * interval - self._clock()) / 1e6
        if ahead > 0:
            self._stopped.wait(min(ahead, timeout))
        now = self._clock()
        if self._stopped.is_set() or self._next * interval > now:
            return False
        self._next = max(self._next, now // interval - MOST_TICKS_BEHIND)
        self._due.extend(self._fleet.messages(self._next * interval))
        self._next += 1
        return True

    def acknowledge(self, tokens: list[Any]) -> None:
        """Nobody waits for it."""

    def state(self) -> dict[str, Any]:
        """See `ingest.source.Source`."""
        return {"ok": True, "why": "", "received": self._received, "devices": self._fleet.devices}

    def stop(self) -> None:
        self._stopped.set()


def publish(
    url: str, fleet: Fleet, stop: threading.Event, clock: Callable[[], int], *, qos: int = 1
) -> None:
    """Publish what the fleet sends to a broker (MQTT 3.1.1), tick by tick, until `stop` is set.

    Blocks: give it a thread. A broker that is away is tried again; what is due meanwhile is lost.
    """
    address = address_of(url, tls=None)
    client = Client(CallbackAPIVersion.VERSION2, client_id=f"pumps-{fleet.seed}-{clock()}")
    client.reconnect_delay_set(1, 5)
    client.connect_async(address.host, address.port)
    client.loop_start()
    tick = clock() // fleet.interval
    try:
        while not stop.wait(max(0.0, (tick * fleet.interval - clock()) / 1e6)):
            if client.is_connected():
                for topic, payload in fleet.messages(tick * fleet.interval):
                    client.publish(topic, payload, qos)
            tick = max(tick + 1, clock() // fleet.interval)
    finally:
        client.disconnect()
        client.loop_stop()


def _ramp(now: float, start: float, length: float) -> float:
    """0 before `start`, 1 after `start + length`, a straight line between."""
    return min(1.0, max(0.0, (now - start) / length))
