"""A real Apache Kafka on free loopback ports: one process that is broker and controller (KRaft).

Its jars are resolved by Maven, once, into the user's cache folder; `python -m tests.services.kafka`
does only that. Where KAFKA_BOOTSTRAP is set, `shared` uses the Kafka that it names instead.
"""

import atexit
import base64
import fcntl
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from kafka import KafkaAdminClient
from kafka.admin import NewTopic

from tests.services.mosquitto import certificates
from tests.services.ports import free_port, listening, program, wait_for

__all__ = ["PASSWORD", "USER", "Kafka", "kafka", "new_topic", "resolved", "shared"]

VERSION = "4.1.0"
USER, PASSWORD = "gauge", "gauge-secret"
"""Who may enter by the SASL listeners."""
_JAVA = (
    "-Xmx256m", "-Xms128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
)  # fmt: skip
_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tests</groupId><artifactId>kafka</artifactId><version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId>
      <version>{VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
"""
_SETTINGS = r"""
process.roles=broker,controller
node.id=1
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=400
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
num.network.threads=2
num.io.threads=2
background.threads=2
log.cleaner.dedupe.buffer.size=2000000
log.cleaner.backoff.ms=200
log.retention.check.interval.ms=300
log.segment.delete.delay.ms=100
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,BEHIND:PLAINTEXT,\
 SASL_PLAINTEXT:SASL_PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
"""


def resolved() -> Path:
    """The folder of Kafka's jars; resolves them where that was not done yet."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "streamgauge-tests"
    root.mkdir(parents=True, exist_ok=True)
    folder = root / f"kafka-{VERSION}"
    with (root / "kafka.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _resolve(folder)
    return folder


def _resolve(folder: Path) -> None:
    maven = program("mvn", "maven")
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        (Path(scratch) / "pom.xml").write_text(_POM, encoding="utf-8")
        command = [maven, "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=libs"]
        done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"Maven cannot resolve Kafka {VERSION}: {done.stdout[-2000:]}")
        (Path(scratch) / "libs").rename(folder)


class Kafka:
    """One broker; `bootstrap` is its plain listener. It can be stopped, killed and started again.

    With `secure` it has three more: `sasl` (SASL without TLS), `tls` and `sasl_tls`, each
    "127.0.0.1:PORT"; certificates are signed by `ca`. `settings` are lines of server.properties.
    With `behind` = (inside, outside) another one is at the port inside and sends its clients to the
    port outside: a proxy is to stand there.
    """

    def __init__(
        self,
        folder: Path,
        *,
        secure: bool = False,
        behind: tuple[int, int] | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._java = program("java", "openjdk-17-jre-headless")
        self._libs = resolved()
        self.folder, self.ca = folder, folder / "ca.pem"
        folder.mkdir(parents=True, exist_ok=True)
        names = ["PLAINTEXT", *(["SASL_PLAINTEXT", "SSL", "SASL_SSL"] if secure else [])]
        at = {name: f"127.0.0.1:{free_port()}" for name in [*names, "CONTROLLER"]}
        self.bootstrap = at["PLAINTEXT"]
        self.sasl, self.tls, self.sasl_tls = (
            at.get(name, "") for name in ("SASL_PLAINTEXT", "SSL", "SASL_SSL")
        )
        self._process: subprocess.Popen[bytes] | None = None
        told = {name: where for name, where in at.items() if name != "CONTROLLER"}
        if behind is not None:
            at["BEHIND"], told["BEHIND"] = (f"127.0.0.1:{port}" for port in behind)
        lines = [
            *_SETTINGS.strip().splitlines(),
            f"controller.quorum.bootstrap.servers={at['CONTROLLER']}",
            *(
                f"{setting}={','.join(f'{name}://{where}' for name, where in those.items())}"
                for setting, those in (("listeners", at), ("advertised.listeners", told))
            ),
            f"log.dirs={folder}/data",
            *(self._security() if secure else []),
            *(f"{name}={value}" for name, value in (settings or {}).items()),
        ]
        (folder / "server.properties").write_text("\n".join(lines) + "\n", encoding="utf-8")
        self._format(secure)

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command("kafka.Kafka", "server.properties"),
                stdout=log, stderr=log, cwd=self.folder,
            )  # fmt: skip
        port = int(self.bootstrap.rpartition(":")[2])
        wait_for(lambda: listening(port), 60.0, what=f"Kafka, see {self.folder}/log")

    def stop(self) -> None:
        """Stop it in good order."""
        self._end(kill=False)

    def kill(self) -> None:
        """SIGKILL: it has no moment left. What it holds is in its files."""
        self._end(kill=True)

    def restart(self) -> None:
        """Stop and start again on the same ports with the same files."""
        self.stop()
        self.start()

    def _end(self, *, kill: bool) -> None:
        if self._process is not None:
            (self._process.kill if kill else self._process.terminate)()
            self._process.wait()
            self._process = None

    def _command(self, *arguments: str) -> list[str]:
        return [self._java, *_JAVA, "-cp", f"{self._libs}/*", *arguments]

    def _format(self, secure: bool) -> None:
        user = f"[name={USER},password={PASSWORD}]"
        users = [f"--add-scram=SCRAM-SHA-{bits}={user}" for bits in (256, 512)] if secure else []
        identity = ["-t", _short_id(), "-c", "server.properties"]
        command = self._command("kafka.tools.StorageTool", "format", "--standalone", *identity)
        done = subprocess.run(
            [*command, *users], cwd=self.folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(
                f"cannot format Kafka's folder: {(done.stdout + done.stderr)[-2000:]}"
            )

    def _security(self) -> list[str]:
        certificates(self.folder)
        pair = [
            (self.folder / f"server.{end}").read_text(encoding="utf-8") for end in ("key", "pem")
        ]
        (self.folder / "keystore.pem").write_text("".join(pair), encoding="utf-8")
        plain = "org.apache.kafka.common.security.plain.PlainLoginModule required"
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        lines = [
            "ssl.keystore.type=PEM",
            f"ssl.keystore.location={self.folder}/keystore.pem",
            "ssl.truststore.type=PEM",
            f"ssl.truststore.location={self.ca}",
            "ssl.client.auth=requested",
        ]
        for name in ("sasl_plaintext", "sasl_ssl"):
            login = f'{plain} user_{USER}="{PASSWORD}";'
            lines.append(f"listener.name.{name}.plain.sasl.jaas.config={login}")
            lines += [
                f"listener.name.{name}.scram-sha-{bits}.sasl.jaas.config={scram}"
                for bits in (256, 512)
            ]
        return lines


@contextmanager
def kafka(
    folder: Path,
    *,
    secure: bool = False,
    behind: tuple[int, int] | None = None,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Kafka]:
    """A broker of the test's own, which it may stop and kill; skips the test where there is none.

    Starting one takes seconds: `shared` does where a test only reads and writes.
    """
    broker = Kafka(folder, secure=secure, behind=behind, settings=settings)
    try:
        broker.start()
        yield broker
    finally:
        broker.kill()


@cache
def shared() -> str:
    """Bootstrap address of the one broker for all tests of this process, which only read and write
    topics of their own (`new_topic`)."""
    given = os.environ.get("KAFKA_BOOTSTRAP")
    if given:
        return given
    folder = Path(tempfile.mkdtemp(prefix="streamgauge-kafka-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    broker = Kafka(folder)
    atexit.register(broker.kill)
    broker.start()
    return broker.bootstrap


def new_topic(
    bootstrap: str, *, partitions: int = 1, settings: Mapping[str, str] | None = None
) -> str:
    """Make a topic of a name that no other test has."""
    name = f"readings-{uuid.uuid4().hex[:12]}"
    # Records of an old time stay: the broker would delete them a week after their time.
    configs = {"retention.ms": "-1", **(settings or {})}
    with KafkaAdminClient(bootstrap_servers=bootstrap) as admin:
        admin.create_topics([NewTopic(name, partitions, 1, topic_configs=configs)])
    return name


def _short_id() -> str:
    """A cluster id as Kafka writes them: 22 characters of base64."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode().replace("-", "A")


if __name__ == "__main__":
    print(resolved())  # noqa: T201  # says where they are
