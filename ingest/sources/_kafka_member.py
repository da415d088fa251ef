"""One member of a consumer group: the thread that fetches, takes partitions and gives them up."""

import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

from kafka import TopicPartition
from kafka.consumer.subscription_state import AsyncConsumerRebalanceListener
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import (
    FencedInstanceIdError,
    KafkaError,
    LogTruncationError,
    OffsetOutOfRangeError,
    RebalanceInProgressError,
)
from kafka.structs import OffsetAndMetadata

from ingest.sources._kafka_arrivals import Arrivals, Token
from ingest.sources._kafka_client import CLOSE_MS, Consumer, close, connected, consumer

__all__ = ["Member"]

POLL_MS = 200
LOOK_EVERY = 1.0
"""Seconds between two commits and two looks at how we are."""
ASK_EVERY = 3.0
"""Seconds between two tries to get partitions where we have none."""
SETTLE = 5.0
"""Seconds that a partition is held back until what was taken of it is durable. Heartbeats rest
meanwhile."""
ANSWER_MS = 5_000
LAST_TRIES = 5
RETRY = 1.0
"""Seconds between two tries to reach Kafka."""


class Member:
    """Fetches into `arrivals` until stopped. `first` is "earliest" or "latest": where a partition
    begins that the group has never read."""

    def __init__(
        self,
        settings: dict[str, Any],
        topics: Sequence[str],
        arrivals: Arrivals,
        clock: Callable[[], int],
        first: str,
    ) -> None:
        self._settings, self._topics, self._arrivals = settings, list(topics), arrivals
        self._clock, self._first = clock, first
        self._where = ",".join(settings["bootstrap_servers"])
        self.why = f"not connected to {self._where} yet"
        self.counts = dict.fromkeys(("received", "lost", "rewound", "rebalances", "unsettled"), 0)
        self.lag = 0
        self.partitions = 0
        self.paused = False
        self._owned: set[TopicPartition] = set()
        self._unplaced: set[TopicPartition] = set()
        """Assigned, and paused until it is known where to begin."""
        self._absent: set[TopicPartition] = set()
        """Of those, the ones that the topic does not have: it was made anew with fewer."""
        self._looked = self._asked = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kafka", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Leave the group as far as it answers; what is durable is committed."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
        self.why = "stopped"

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._once()
            except FencedInstanceIdError:
                self.why = (
                    f"another process has joined the group {self._settings['group_id']!r} as "
                    f"instance {self._settings['group_instance_id']!r}; give each its own instance"
                )
                return
            except (KafkaError, OSError) as failed:
                self.why = f"cannot read from Kafka at {self._where}: {_said(failed)}"
                self._stopping.wait(RETRY)

    def _once(self) -> None:
        """From joining to an error or the end."""
        # The assignor remembers what its one member had: it must be that member's own.
        strategy = {"partition_assignment_strategy": [CooperativeStickyAssignor()]}
        made = consumer(self._settings | strategy)
        try:
            # Known before we join: whoever leads the group divides the partitions it knows.
            for topic in self._topics:
                made.partitions_for_topic(topic)
            made.subscribe(self._topics, listener=_Listener(self, made))
            while not self._stopping.is_set():
                self._round(made)
        finally:
            self._give_up(made)

    def _give_up(self, made: Consumer) -> None:
        try:
            try:
                if self._stopping.is_set():
                    self._commit_last(made)
            finally:
                close(made)
        except KafkaError as failed:
            self.why = f"Kafka at {self._where}: {_said(failed)}"
        finally:
            # What waits and was not taken is fetched again by whoever reads these next.
            self._arrivals.drop(self._owned)
            self._owned, self._unplaced, self._absent, self.paused = set(), set(), set(), False

    def _commit_last(self, made: Consumer) -> None:
        """Tell the group what is durable before we leave, once a rebalance under way is over."""
        for _ in range(LAST_TRIES):
            token = self._arrivals.due(self._owned - self._absent)
            try:
                if token:
                    made.commit(self._commits(token), timeout_ms=CLOSE_MS)
                    self._arrivals.committed(token)
                return
            except RebalanceInProgressError:
                made.poll(timeout_ms=POLL_MS)

    def _round(self, made: Consumer) -> None:
        self._place(made)
        self._press(made)
        try:
            found = made.poll(timeout_ms=POLL_MS)
        except OffsetOutOfRangeError as gone:
            self._unplace(made, gone.args[0])
            return
        except LogTruncationError as cut:
            self._unplace(made, cut.divergent_offsets)
            return
        if found:
            received = self._clock()
            for chunks in found.values():
                self.counts["received"] += sum(map(len, chunks))
                self._arrivals.put(chunks, received)
        now = time.monotonic()
        if now - self._looked >= LOOK_EVERY:
            self._looked = now
            self._commit(made)
            self._look(made)

    def _press(self, made: Consumer) -> None:
        """Stop fetching while too much waits; polling goes on, or the group would think us dead."""
        if not self.paused and self._arrivals.full:
            made.pause(*self._owned)
            self.paused = True
        elif self.paused and self._arrivals.eased:
            made.resume(*(self._owned - self._unplaced))
            self.paused = False

    def _place(self, made: Consumer) -> None:
        """Find out where to begin the partitions that are new to us, and begin."""
        if not self._unplaced:
            return
        there = {tp.topic: made.partitions_for_topic(tp.topic) or set() for tp in self._unplaced}
        self._absent = {tp for tp in self._unplaced if tp.partition not in there[tp.topic]}
        if self._absent:
            # A static member is given back what it had, without a look at the topic.
            self._ask_again(made)
        new = sorted(self._unplaced - self._absent)
        if not new:
            return
        begins = made.beginning_offsets(new, timeout_ms=ANSWER_MS)
        ends = made.end_offsets(new, timeout_ms=ANSWER_MS)
        for tp in new:
            made.seek(tp, self._beginning(made, tp, begins[tp], ends[tp]))
            self._unplaced.discard(tp)
            if not self.paused:
                made.resume(tp)

    def _beginning(self, made: Consumer, tp: TopicPartition, begin: int, end: int) -> int:
        known = made.committed(tp, metadata=True, timeout_ms=ANSWER_MS)
        offset, by = (known.offset, known.metadata) if known else (None, "")
        at = self._arrivals.begin(tp, offset, by)
        if at is None:
            at = begin if self._first == "earliest" else end
            # Kept and committed: a restart before the first record must not move it.
            self._arrivals.stand(tp, at)
        if at < begin:
            self.counts["lost"] += begin - at
        if at > end:
            # Another topic of the same name, or one that lost its end. Nothing there may be missed.
            self.counts["rewound"] += 1
        return begin if at < begin or at > end else int(at)

    def _unplace(self, made: Consumer, partitions: Collection[TopicPartition]) -> None:
        """These are not where we thought; paused until `_place` has looked."""
        for tp in self._owned & set(partitions):
            made.pause(tp)
            made.seek(tp, 0)
            self._unplaced.add(tp)

    def _commits(self, token: Token) -> dict[TopicPartition, OffsetAndMetadata]:
        by = self._arrivals.instance
        return {TopicPartition(*p): OffsetAndMetadata(at, by, -1) for p, at in token.items()}

    def _commit(self, made: Consumer) -> None:
        """Tell the group what is durable, without waiting."""
        token = self._arrivals.due(self._owned - self._unplaced)
        if token:
            told = made.commit_async(self._commits(token))
            told.add_callback(lambda _: self._arrivals.committed(token))

    def _look(self, made: Consumer) -> None:
        self.partitions = len(self._owned)
        highs = [(tp, made.highwater(tp)) for tp in self._owned - self._unplaced]
        self.lag = sum(high - made.position(tp) for tp, high in highs if high is not None)
        if not connected(made):
            self.why = f"no connection to {self._where}; is Kafka running?"
        elif self._owned:
            self.why = ""
        else:
            there = [topic for topic in self._topics if made.partitions_for_topic(topic)]
            absent = sorted(set(self._topics) - set(there))
            if there:
                self._ask_again(made)
            self.why = (
                f"{', '.join(absent)}: no such topic at {self._where}, or not for us to read; "
                "create it, or allow us to read it"
                if absent
                else self.why and "no partition assigned yet"
            )

    def _ask_again(self, made: Consumer) -> None:
        """Divide the partitions anew where we lead the group and have none, or such as the topic
        does not have: the client does so before it knows them, and then never again."""
        coordinator = made._coordinator  # noqa: SLF001  # it has no public way to ask
        now = time.monotonic()
        if coordinator._is_leader and now - self._asked >= ASK_EVERY:  # noqa: SLF001  # see above
            self._asked = now
            coordinator.request_rejoin()

    # What follows runs in the client's thread, while ours waits in `poll` or `close`.

    def assigned(self, made: Consumer, partitions: Collection[TopicPartition]) -> None:
        """These are ours from now on."""
        self.counts["rebalances"] += 1
        self._owned |= set(partitions)
        self._unplace(made, partitions)

    async def revoked(self, made: Consumer, partitions: Collection[TopicPartition]) -> None:
        """These are taken from us: commit what is durable, forget what only waits."""
        self.lost(partitions)
        self.counts["unsettled"] += not self._arrivals.settle(
            partitions, 0.0 if self._stopping.is_set() else SETTLE
        )
        token = self._arrivals.due(set(partitions) - self._absent)
        if token:
            await made.commit_async(self._commits(token))
            self._arrivals.committed(token)

    def lost(self, partitions: Collection[TopicPartition]) -> None:
        """These were taken from us while we were away: it is too late to commit."""
        self._owned -= set(partitions)
        self._unplaced -= set(partitions)
        self._arrivals.drop(partitions)


class _Listener(AsyncConsumerRebalanceListener):  # type: ignore[misc]  # the client has no stubs
    def __init__(self, member: Member, made: Consumer) -> None:
        self._member, self._made = member, made

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        self._member.assigned(self._made, assigned)

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        await self._member.revoked(self._made, revoked)

    async def on_partitions_lost(self, lost: Collection[TopicPartition]) -> None:
        self._member.lost(lost)


def _said(failed: BaseException) -> str:
    name, said = type(failed).__name__, str(failed)
    return said if said.startswith(name) else f"{name}: {said}" if said else name
