"""The broker of the tests: what is written survives its being killed."""

from pathlib import Path

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from tests.services.kafka import kafka, new_topic


def test_a_killed_broker_still_has_what_it_acknowledged(tmp_path: Path) -> None:
    """A record that was acknowledged is read after SIGKILL and a new start."""
    with kafka(tmp_path) as broker:
        topic = new_topic(broker.bootstrap)
        with KafkaProducer(bootstrap_servers=broker.bootstrap) as producer:
            producer.send(topic, b"kept").get(30)
        broker.kill()
        broker.start()
        with KafkaConsumer(bootstrap_servers=broker.bootstrap) as consumer:
            consumer.assign([TopicPartition(topic, 0)])
            consumer.seek_to_beginning()
            assert next(iter(consumer)).value == b"kept"
