"""The Kafka source against a real Kafka: places, transactions, gaps, retention, outages, logins."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition

from streamgauge.delivery import Delivery
from tests.kafka_reader import Reader, produce, reading
from tests.services.kafka import PASSWORD, USER, Kafka, kafka, new_topic, shared
from tests.services.ports import wait_for


def numbered(start: int, stop: int) -> list[bytes]:
    """A payload for each number."""
    return [b"%d" % k for k in range(start, stop)]


def test_every_record_once_in_the_order_of_its_partition() -> None:
    """All records of all partitions come, and the runs say where each of them stands."""
    bootstrap = shared()
    topic = new_topic(bootstrap, partitions=4)
    produce(bootstrap, topic, numbered(0, 2_000), partitions=4)
    with reading(bootstrap, topic) as reader:
        reader.until(lambda: len(reader.payloads) >= 2_000)
        assert sorted(reader.payloads) == sorted(numbered(0, 2_000))
        assert [4 * offset + part for part, offset in reader.places] == list(
            map(int, reader.payloads)
        )
        position = reader.deliveries[-1].position
        assert position is not None
        assert position["offsets"] == {topic: {str(k): 500 for k in range(4)}}
        wait_for(lambda: reader.state["partitions"] == 4)
        assert reader.state["lag"] == 0


def test_a_position_counts_more_than_what_the_group_knows() -> None:
    """A source that resumes goes on after its position, behind or before what was committed."""
    bootstrap = shared()
    topic = new_topic(bootstrap)
    produce(bootstrap, topic, numbered(0, 10))
    with reading(bootstrap, topic) as first:
        first.until(lambda: len(first.payloads) >= 10)
    position = first.deliveries[-1].position
    assert position is not None
    for offset in (4, 10):
        position["offsets"][topic]["0"] = offset
        second = Reader(bootstrap, topic)
        second.source.resume(position)
        second.source.start()
        produce(bootstrap, topic, [b"new"])
        second.until(lambda: b"new" in second.payloads)  # noqa: B023  # used within the round
        second.source.stop()
        assert second.places[0] == (0, offset)


def test_a_new_instance_goes_on_where_its_group_is() -> None:
    """Without a position, what was acknowledged is not read again and what was not, is."""
    bootstrap = shared()
    topic = new_topic(bootstrap)
    produce(bootstrap, topic, numbered(0, 10))
    with reading(bootstrap, topic) as first:
        wait_for(lambda: first.state["queued"] == 10)
        assert first.take(acknowledge=False, limit=6) == 6
        first.source.acknowledge(first.deliveries[0].tokens)
        first.until(lambda: len(first.payloads) == 10, acknowledge=False)
    with reading(bootstrap, topic) as second:
        second.until(lambda: len(second.payloads) >= 4)
        assert second.payloads == numbered(6, 10)


def test_latest_begins_behind_what_is_there() -> None:
    """A group that never read the topic begins at its end, and stays there over a restart."""
    bootstrap = shared()
    topic = new_topic(bootstrap)
    produce(bootstrap, topic, numbered(0, 10))
    with reading(bootstrap, topic, start="latest") as first:
        wait_for(lambda: not first.source._member._unplaced)
    produce(bootstrap, topic, numbered(10, 13))
    with reading(bootstrap, topic, start="latest") as second:
        second.until(lambda: len(second.payloads) >= 3)
        assert second.payloads == numbered(10, 13)


def test_keys_headers_and_times() -> None:
    """What stands beside a payload is handed over, whatever bytes it has."""
    bootstrap = shared()
    topic = new_topic(bootstrap)
    headers = [("site", b"north"), ("odd", b"\xff")]
    with KafkaProducer(bootstrap_servers=bootstrap) as producer:
        producer.send(topic, b"1", key=b"p-17", headers=headers, timestamp_ms=1_772_366_400_123)
        producer.send(topic, b"2", key=b"\xff\x00", timestamp_ms=1_772_366_400_124)
        producer.send(topic, b"3", timestamp_ms=1_772_366_400_125)
    with reading(bootstrap, topic) as reader:
        reader.until(lambda: len(reader.payloads) >= 3)
        keys = [key for d in reader.deliveries for key in d.keys]
        assert keys == ["p-17", "\\xff\x00", ""]
        found = [each for d in reader.deliveries for each in d.headers]
        assert found == [{"site": "north", "odd": "\\xff"}, {}, {}]
        stamps = [stamp for d in reader.deliveries for stamp in d.stamps]
        assert stamps == [1_772_366_400_123_000 + 1_000 * k for k in range(3)]


def transactions(bootstrap: str, topic: str) -> None:
    """Write 0-4 and commit, 5-9 and abort, 10-14 and commit."""
    with KafkaProducer(bootstrap_servers=bootstrap, transactional_id=topic) as producer:
        producer.init_transactions()
        for start, end in ((0, producer.commit_transaction), (5, producer.abort_transaction)):
            producer.begin_transaction()
            for payload in numbered(start, start + 5):
                producer.send(topic, payload)
            producer.flush()
            end()
        producer.begin_transaction()
        for payload in numbered(10, 15):
            producer.send(topic, payload)
        producer.commit_transaction()


def test_aborted_transactions_are_not_read() -> None:
    """Committed records alone come; their runs leave the gaps out and are read again just so."""
    bootstrap = shared()
    topic = new_topic(bootstrap)
    transactions(bootstrap, topic)
    with reading(bootstrap, topic) as reader:
        reader.until(lambda: len(reader.payloads) >= 10)
        assert reader.payloads == [*numbered(0, 5), *numbered(10, 15)]
        assert reader.places == [(0, k) for k in (*range(5), *range(12, 17))]
    again = Reader(bootstrap, topic)
    assert [again.source.reread(d).payloads for d in reader.deliveries] == [
        d.payloads for d in reader.deliveries
    ]
    again.source.stop()
    with reading(bootstrap, topic, group="other", isolation_level="read_uncommitted") as all_:
        all_.until(lambda: len(all_.payloads) >= 15)
        assert all_.payloads == numbered(0, 15)


def test_tombstones_are_counted_not_read() -> None:
    """A record without a value leaves a gap in the runs."""
    bootstrap = shared()
    topic = new_topic(bootstrap)
    produce(bootstrap, topic, [b"0", None, b"2", None, None, b"5"])
    with reading(bootstrap, topic) as reader:
        reader.until(lambda: len(reader.payloads) >= 3)
        assert reader.payloads == [b"0", b"2", b"5"]
        assert [offset for _, offset in reader.places] == [0, 2, 5]
        assert reader.state["tombstones"] == 3


def test_a_slow_pipeline_pauses_the_fetching() -> None:
    """What waits has a bound; the rest comes, in order, once there is room."""
    bootstrap = shared()
    topic = new_topic(bootstrap, partitions=2)
    payloads = [b"%d" % k + b" " * 2_000 for k in range(8_000)]
    produce(bootstrap, topic, payloads, partitions=2)
    with reading(bootstrap, topic, queue=100) as reader:
        wait_for(lambda: reader.state["paused"])
        held = reader.state["queued"]
        assert held < 8_000
        reader.until(lambda: len(reader.payloads) >= 8_000)
        assert sorted(map(int, reader.payloads)) == list(range(8_000))
        for part in (0, 1):
            offsets = [offset for k, offset in reader.places if k == part]
            assert offsets == list(range(4_000))


@pytest.mark.parametrize("lost", [3, 20])
def test_what_retention_removed_is_told_by_a_restart(lost: int) -> None:
    """Records that the journal names and Kafka no longer has are an error that names them."""
    bootstrap = shared()
    topic = new_topic(bootstrap)
    produce(bootstrap, topic, numbered(0, 20))
    with reading(bootstrap, topic) as reader:
        reader.until(lambda: len(reader.payloads) >= 20)
    with KafkaAdminClient(bootstrap_servers=bootstrap) as admin:
        admin.delete_records({TopicPartition(topic, 0): lost})
    again = Reader(bootstrap, topic)
    with pytest.raises(OSError, match=rf"no longer has offset 0 of {topic}, partition 0.*folder"):
        again.source.reread(reader.deliveries[0])
    again.source.stop()


def test_what_retention_removed_before_it_was_read_is_counted() -> None:
    """A source whose place is gone goes on with the oldest there is."""
    bootstrap = shared()
    topic = new_topic(bootstrap)
    produce(bootstrap, topic, numbered(0, 20))
    with KafkaAdminClient(bootstrap_servers=bootstrap) as admin:
        admin.delete_records({TopicPartition(topic, 0): 12})
    reader = Reader(bootstrap, topic)
    reader.source.resume({"instance": "me", "offsets": {topic: {"0": 5}}})
    reader.source.start()
    reader.until(lambda: len(reader.payloads) >= 8)
    assert reader.payloads == numbered(12, 20)
    assert reader.state["lost"] == 7
    reader.source.stop()


def test_a_topic_made_anew_is_read_from_its_beginning() -> None:
    """A place behind the end of the topic means another topic: nothing of it may be missed."""
    bootstrap = shared()
    topic = new_topic(bootstrap)
    produce(bootstrap, topic, numbered(0, 5))
    reader = Reader(bootstrap, topic)
    reader.source.resume({"instance": "me", "offsets": {topic: {"0": 50}}})
    reader.source.start()
    reader.until(lambda: len(reader.payloads) >= 5)
    assert reader.payloads == numbered(0, 5)
    assert reader.state["rewound"] == 1
    reader.source.stop()


def made_anew(bootstrap: str, topic: str) -> None:
    """Delete the topic and make it again, with one partition."""
    with KafkaAdminClient(bootstrap_servers=bootstrap) as admin:
        admin.delete_topics([topic])
        wait_for(lambda: topic not in admin.list_topics(), 30.0, what="the topic to be gone")
        admin.create_topics({topic: {"num_partitions": 1, "replication_factor": 1}})
        wait_for(lambda: topic in admin.list_topics(), 30.0, what="the topic to be there")


def test_a_topic_made_anew_with_fewer_partitions() -> None:
    """Places in partitions that are no more keep nobody from reading what is there; what the
    journal names of them is an error that names it."""
    bootstrap = shared()
    topic = new_topic(bootstrap, partitions=4)
    produce(bootstrap, topic, numbered(0, 80), partitions=4)
    with reading(bootstrap, topic) as reader:
        reader.until(lambda: len(reader.payloads) >= 80)
    position = reader.deliveries[-1].position
    assert position is not None
    made_anew(bootstrap, topic)
    produce(bootstrap, topic, numbered(100, 105))
    again = Reader(bootstrap, topic)
    again.source.resume(position)
    again.source.start()
    again.until(lambda: len(again.payloads) >= 5)
    assert again.payloads == numbered(100, 105)
    wait_for(lambda: again.state["ok"], what=str(again.state))
    again.source.stop()
    third = Reader(bootstrap, topic)
    gone = Delivery(3, runs=[(topic, 2, 0, 20)])
    with pytest.raises(OSError, match=rf"no longer has offset 0 of {topic}, partition 2"):
        third.source.reread(gone)
    third.source.stop()


def test_an_unknown_topic_is_told() -> None:
    """A topic that is not there is named, and read once it is made."""
    with reading(shared(), "nowhere-to-be-found", ready=False) as reader:
        wait_for(lambda: "nowhere-to-be-found: no such topic" in reader.state["why"])
        assert not reader.state["ok"]


def test_nothing_is_lost_or_repeated_when_the_broker_is_killed(tmp_path: Path) -> None:
    """A reader outlives its broker, says so meanwhile, and goes on with the next record."""
    with kafka(tmp_path) as broker:
        topic = new_topic(broker.bootstrap, partitions=2)
        produce(broker.bootstrap, topic, numbered(0, 100), partitions=2)
        with reading(broker.bootstrap, topic) as reader:
            reader.until(lambda: len(reader.payloads) >= 100)
            broker.kill()
            wait_for(lambda: "is Kafka running?" in reader.state["why"])
            broker.start()
            produce(broker.bootstrap, topic, numbered(100, 200), partitions=2)
            reader.until(lambda: len(reader.payloads) >= 200)
            wait_for(lambda: reader.state["ok"])
            assert sorted(reader.payloads) == sorted(numbered(0, 200))


def test_a_stop_without_the_broker_leaves_no_thread(tmp_path: Path) -> None:
    """What was to be committed at the end cannot be; the client's thread ends all the same."""
    ours = "kafka-io-streamgauge"
    before = {one for one in threading.enumerate() if one.name == ours}
    with kafka(tmp_path) as broker:
        topic = new_topic(broker.bootstrap)
        produce(broker.bootstrap, topic, numbered(0, 10))
        with reading(broker.bootstrap, topic) as reader:
            reader.until(lambda: len(reader.payloads) >= 10, acknowledge=False)
            broker.kill()
            for delivery in reader.deliveries:
                reader.source.acknowledge(delivery.tokens)
        assert {one for one in threading.enumerate() if one.name == ours} <= before


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A broker that wants a login or TLS or both."""
    with kafka(tmp_path_factory.mktemp("secure"), secure=True) as broker:
        yield broker


@pytest.mark.parametrize("sasl", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
@pytest.mark.parametrize("tls", [False, True])
def test_logins(secure: Kafka, sasl: str, *, tls: bool) -> None:
    """Each mechanism lets us in, with TLS and without."""
    topic = new_topic(secure.bootstrap)
    produce(secure.bootstrap, topic, [b"in"])
    options: dict[str, Any] = {"tls": True, "ca": str(secure.ca)} if tls else {}
    where = secure.sasl_tls if tls else secure.sasl
    with reading(where, topic, sasl=sasl, username=USER, password=PASSWORD, **options) as reader:
        reader.until(lambda: reader.payloads == [b"in"])


def test_tls_without_a_login(secure: Kafka) -> None:
    """A broker whose certificate our authority signed is trusted."""
    topic = new_topic(secure.bootstrap)
    produce(secure.bootstrap, topic, [b"in"])
    with reading(secure.tls, topic, tls=True, ca=str(secure.ca)) as reader:
        reader.until(lambda: reader.payloads == [b"in"])


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"username": USER, "password": "wrong"}, "no login"),
        ({"tls": True}, "ertificate"),
    ],
)
def test_a_refusal_is_told(secure: Kafka, options: dict[str, Any], why: str) -> None:
    """A wrong password and an authority that we do not know are named; secrets are not."""
    where = secure.tls if "tls" in options else secure.sasl
    with reading(where, "readings", ready=False, **options) as reader:
        wait_for(lambda: why in reader.state["why"])
        assert not reader.state["ok"]
        assert "wrong" not in reader.state["why"]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"topics": []}, "at least one topic"),
        ({"bootstrap_servers": "kafka://h:9092"}, "host:9092"),
        ({"bootstrap_servers": "h:99999"}, "host:9092"),
        ({"bootstrap_servers": ""}, "host:9092"),
        ({"start": "now"}, "earliest"),
        ({"isolation_level": "serializable"}, "read_committed"),
        ({"session_timeout": "1ms"}, "at least 1s"),
        ({"session_timeout": "long"}, "duration"),
        ({"queue": 0}, "at least 1"),
        ({"sasl": "GSSAPI"}, "SCRAM-SHA-512"),
        ({"username": "u"}, "belong together"),
        ({"ca": "x.pem"}, "tls = true"),
        ({"tls": True, "ca": "/no/such.pem"}, "readable PEM"),
    ],
)
def test_options_that_mean_nothing(options: dict[str, Any], match: str) -> None:
    """A wrong option is refused before anything is connected, with what to write instead."""
    with pytest.raises(ValueError, match=match):
        Reader("localhost:9092", "t", **options)
