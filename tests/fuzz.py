"""Coverage-guided fuzzing of one codec: `scripts/fuzz [SECONDS] [CODEC ...]` runs it for each.

libFuzzer changes the real payloads of `tests/golden`, keeping what reaches new code. Whatever the
bytes are, a codec either reads or rejects them with a reason: no exception, at most 5 seconds and
1 GB. What broke it is written to the folder given and printed.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["ingest"]):
    from ingest.rejects import Rejects
    from streamgauge import plugins

    for _name in plugins.names("ingest.codecs"):
        plugins.load("ingest.codecs", _name)

from streamgauge.batch import Batch
from streamgauge.delivery import Delivery
from streamgauge.devices import Devices
from tests.contracts.golden import Golden, goldens

RECEIVED = 1_772_366_400_000_000


class Target:
    """One codec under fire, with the options and topics of one of its expectations."""

    def __init__(self, golden: Golden) -> None:
        self.golden = golden
        self.devices = Devices(100)
        module = plugins.load("ingest.codecs", golden.codec)
        self.codec = module.build(golden.schema, self.devices, **golden.options)
        self.topics = [topic for delivery in golden.deliveries for topic in delivery.topics]
        self.batch = Batch(16, golden.schema.width)

    def decode(self, choice: int, payload: bytes) -> None:
        """Decode one message; AssertionError where the codec itself failed."""
        rejects = Rejects()
        topic = self.topics[choice % len(self.topics)]
        self.codec.decode(Delivery(0, [payload], [topic], [RECEIVED]), self.batch, rejects)
        assert "codec_failed" not in rejects.counts, rejects.newest


def corpus(codec: str, folder: Path) -> None:
    """The real payloads as files; the first byte of an input chooses options and topic."""
    for k, golden in enumerate(goldens(codec)):
        for j, payload in enumerate(golden.payloads):
            (folder / f"{golden.name}-{j}").write_bytes(bytes([k % 256, j % 256]) + payload)


def main(codec: str, seconds: int, artifacts: Path) -> None:
    """Fuzz the codec; does not return: libFuzzer ends the process, 0 where nothing broke."""
    targets = [Target(golden) for golden in goldens(codec)]
    for target in targets:
        # What is loaded at first use, such as the units, is no time that a message takes.
        for choice, payload in enumerate(target.golden.payloads):
            target.decode(choice, payload)

    def one(data: bytes) -> None:
        if len(data) >= 2:
            targets[data[0] % len(targets)].decode(data[1], data[2:])

    artifacts.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        corpus(codec, Path(folder))
        limits = [f"-max_total_time={seconds}", "-timeout=5", "-rss_limit_mb=1024", "-max_len=4096"]
        where = f"-artifact_prefix={artifacts}/{codec}-"
        quiet = ["-verbosity=0", "-print_final_stats=1"]
        atheris.Setup([sys.argv[0], folder, *limits, where, *quiet], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
