"""The container files: held against each other and the configuration, their steps run for real."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from stream_processor.settings.load import load, load_text
from stream_processor.settings.model import Settings

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = re.compile(r"\$\{(\w+)")
USER_STEPS = ("useradd ", "install ")
"""Steps that only make the user and its folder; a test cannot run them, and needs no user."""


def _compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return document


def _steps() -> list[tuple[str, str]]:
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    parts = [line.split(maxsplit=1) for line in lines]
    return [(word, rest.strip()) for word, rest in parts]


def _one(instruction: str) -> str:
    return [rest for word, rest in _steps() if word == instruction][-1]


def _example() -> dict[str, str]:
    lines = (ROOT / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def _settings() -> Settings:
    names = _compose()["services"]["streamgauge"]["environment"]
    env = dict.fromkeys(names, "a-secret-of-this-test")
    return load(ROOT / "deploy/pipeline.toml", env, for_replay=False)


def test_compose_has_every_service_pinned_and_checked() -> None:
    """Each of the six services has a health check, and each image names its exact version."""
    services = _compose()["services"]
    others = {"mosquitto", "kafka", "influxdb", "prometheus", "grafana"}
    assert set(services) == {*others, "streamgauge"}
    for name, service in services.items():
        if name == "streamgauge":
            assert service["build"] == "."
            assert _one("HEALTHCHECK")
        else:
            assert re.search(r":v?\d+\.\d+\.\d+$", service["image"]), service["image"]
            assert service["healthcheck"]["test"][0] == "CMD"


def test_compose_publishes_on_loopback_only() -> None:
    """No port can be reached from another machine before its owner decides so."""
    for service in _compose()["services"].values():
        assert service["ports"]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_compose_names_and_mounts_exist() -> None:
    """Mounted files are in the tree, named volumes and waited-for services are declared."""
    compose = _compose()
    used = set()
    for service in compose["services"].values():
        assert set(service.get("depends_on", ())) <= set(compose["services"])
        for mount in service["volumes"]:
            source = mount.split(":")[0]
            if source.startswith("."):
                assert (ROOT / source).exists(), source
                assert mount.endswith(":ro")
            else:
                used.add(source)
    assert used == set(compose["volumes"])


def test_environment_example_is_complete_and_empty() -> None:
    """Every name that compose demands is in .env.example, nothing else is, and no value."""
    text = (ROOT / "docker-compose.yml").read_text()
    demanded = set(re.findall(r"\$\{(\w+):\?", text))
    assert demanded == set(REFERENCE.findall(text)), "a secret without :? would be empty silently"
    assert set(_example()) == demanded
    assert set(_example().values()) == {""}


def test_pipeline_gets_the_environment_it_names() -> None:
    """Compose hands the container every variable that the mounted pipeline.toml refers to."""
    named = set(REFERENCE.findall((ROOT / "deploy/pipeline.toml").read_text()))
    environment = _compose()["services"]["streamgauge"]["environment"]
    assert named <= set(environment)
    assert "STREAMGAUGE_API_KEY" in environment


def test_pipeline_loads_and_keeps_its_state_in_the_volume() -> None:
    """The mounted configuration is valid, and its state directory is the declared volume."""
    settings = _settings()
    state = settings.state.dir.as_posix()
    mounts = dict(m.split(":")[:2] for m in _compose()["services"]["streamgauge"]["volumes"])
    assert mounts["state"] == state == _one("VOLUME")
    assert mounts["./deploy/pipeline.toml"] == json.loads(_one("CMD"))[1]


def test_pipeline_addresses_are_services_on_their_ports() -> None:
    """The broker and the database are looked for where compose starts them."""
    compose, settings = _compose(), _settings()
    urls = [source.options["url"] for source in settings.sources]
    urls += [sink.options["url"] for sink in settings.sinks]
    assert len(urls) == 2
    for url in map(urlsplit, urls):
        ports = compose["services"][url.hostname]["ports"]
        assert [port.split(":")[-1] for port in ports] == [str(url.port)]
    broker = (ROOT / "deploy/mosquitto.conf").read_text()
    listener = re.search(r"^listener (\d+)", broker, re.MULTILINE)
    assert listener is not None
    assert int(listener[1]) == urlsplit(urls[0]).port


def test_the_kafka_of_compose_can_be_read() -> None:
    """The source that stands in the configuration as a comment is valid, and names the listener
    that Kafka has for the other services."""
    text = (ROOT / "deploy/pipeline.toml").read_text()
    live = re.sub(r"^# (\[\[source\]\]|\w+ = .*)$", r"\1", text, flags=re.MULTILINE)
    env = {"INFLUXDB_TOKEN": "a-secret-of-this-test", "STREAMGAUGE_API_KEY": "another"}
    settings = load_text(live, ROOT / "deploy/pipeline.toml", env)
    [_, source] = settings.sources
    assert source.use == "kafka"
    listeners = _compose()["services"]["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert f"INSIDE://{source.options['bootstrap_servers']}," in listeners


def test_sink_writes_where_compose_sets_influxdb_up() -> None:
    """The sink and Grafana use the organisation and bucket that the database starts with."""
    influx = _compose()["services"]["influxdb"]["environment"]
    place = (influx["DOCKER_INFLUXDB_INIT_ORG"], influx["DOCKER_INFLUXDB_INIT_BUCKET"])
    (sink,) = _settings().sinks
    assert (sink.options["org"], sink.options["bucket"]) == place
    source = _data_source("influxdb")
    # In InfluxQL a bucket is a database of its name; the token says which organisation it is in.
    assert source["jsonData"]["dbName"] == place[1]
    assert source["jsonData"]["version"] == "InfluxQL"
    assert source["jsonData"]["httpHeaderName1"] == "Authorization"
    assert source["secureJsonData"]["httpHeaderValue1"] == "Token $INFLUXDB_TOKEN"
    assert "INFLUXDB_TOKEN" in _compose()["services"]["grafana"]["environment"]
    assert source["url"] == sink.options["url"]


def _data_source(name: str) -> dict[str, Any]:
    text = (ROOT / f"deploy/grafana/datasources/{name}.yaml").read_text()
    (source,) = yaml.safe_load(text)["datasources"]
    return dict(source)


def test_grafana_asks_the_prometheus_that_scrapes_the_service() -> None:
    """Addresses are those of the services, and the key is a secret from the environment."""
    compose = _compose()
    services = compose["services"]
    asked = urlsplit(_data_source("prometheus")["url"])
    assert services[asked.hostname]["ports"] == [f"127.0.0.1:{asked.port}:{asked.port}"]
    (job,) = yaml.safe_load((ROOT / "deploy/prometheus.yml").read_text())["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"streamgauge:{_settings().serve.port}"]}]
    assert job.get("metrics_path", "/metrics") == "/metrics"
    (name,) = services[asked.hostname]["secrets"]
    assert job["authorization"]["credentials_file"] == f"/run/secrets/{name}"
    assert compose["secrets"][name] == {"environment": "STREAMGAUGE_API_KEY"}


def test_grafana_finds_its_dashboards() -> None:
    """They are looked for where compose mounts them."""
    text = (ROOT / "deploy/grafana/dashboards/streamgauge.yaml").read_text()
    (provider,) = yaml.safe_load(text)["providers"]
    mounts = dict(m.split(":")[:2] for m in _compose()["services"]["grafana"]["volumes"])
    assert mounts["./deploy/grafana/dashboards"] == provider["options"]["path"]
    assert list((ROOT / "deploy/grafana/dashboards").glob("*.json"))


def test_health_check_asks_the_port_that_is_served() -> None:
    """Configuration, exposed port, published port and health check agree."""
    serve = _settings().serve
    assert serve.host == "0.0.0.0"  # everything inside the container
    assert _one("EXPOSE") == str(serve.port)
    assert f"http://127.0.0.1:{serve.port}/livez" in _one("HEALTHCHECK")
    assert _compose()["services"]["streamgauge"]["ports"] == [f"127.0.0.1:8000:{serve.port}"]


def test_container_runs_as_a_user_without_rights() -> None:
    """The kernels are compiled, and the service is started, by the user that the image makes."""
    words = [f"{word} {rest}" for word, rest in _steps()]
    user = _one("USER")
    assert any("useradd" in word and word.endswith(user) for word in words)
    assert words.index(f"USER {user}") < words.index("RUN streamgauge compile-kernels")
    assert json.loads(_one("ENTRYPOINT")) == ["streamgauge"]


def _ignored(path: Path, rules: list[str]) -> bool:
    ignored = False
    for rule in rules:
        pattern = rule.removeprefix("!")
        if any(
            fnmatch(part.as_posix(), pattern) or fnmatch(part.name, pattern.removeprefix("**/"))
            for part in (path, *path.parents)
            if part.name
        ):
            ignored = not rule.startswith("!")
    return ignored


def _copy_context(target: Path) -> None:
    """Copy what the build context holds once .dockerignore was applied."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    roots = [rule.removeprefix("!") for rule in rules if rule.startswith("!")]
    for root in roots:
        start = ROOT / root
        for path in [start] if start.is_file() else start.rglob("*"):
            inside = path.relative_to(ROOT)
            if path.is_file() and not _ignored(inside, rules):
                (target / inside).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target / inside)


def test_context_holds_the_product_and_nothing_else(tmp_path: Path) -> None:
    """Secrets, tests, environments and caches never reach an image; every room does."""
    _copy_context(tmp_path)
    top = {path.name for path in tmp_path.iterdir()}
    files = {"pyproject.toml", "constraints.txt", "README.md", "LICENSE"}
    rooms = {"streamgauge", "ingest", "models", "monitoring", "stream_processor", "serving"}
    assert top == files | rooms
    assert not list(tmp_path.rglob("__pycache__"))


@pytest.mark.slow
def test_dockerfile_steps_work_in_a_fresh_folder(tmp_path: Path) -> None:
    """Every step installs and compiles what it should, and the entry point then answers."""
    app, state, cache = tmp_path / "app", tmp_path / "state", tmp_path / "cache"
    for folder in (app, state, cache):
        folder.mkdir()
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "python"], check=True)
    places = {"/app": app, "/var/lib/streamgauge": state, "/var/cache/streamgauge": cache}
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "STREAMGAUGE_"))}
    env = kept | {"PATH": f"{tmp_path / 'python' / 'bin'}:{os.environ['PATH']}"}
    here = app

    def run(command: list[str]) -> str:
        done = subprocess.run(
            command, cwd=here, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    for word, rest in _steps():
        if word == "ENV":
            pairs = dict(pair.split("=", 1) for pair in shlex.split(rest))
            env |= {name: str(places.get(value, value)) for name, value in pairs.items()}
            env["PIP_NO_CACHE_DIR"] = "0"  # in a test, a cache on this machine is welcome
        elif word == "WORKDIR":
            here = places[rest]
        elif word == "COPY":
            _copy_context(app)
        elif word == "RUN" and not rest.startswith(USER_STEPS):
            run(["sh", "-c", rest])
    assert list(cache.rglob("*.nbc")), "no compiled kernel in STREAMGAUGE_CACHE_DIR"
    assert "run" in run([*json.loads(_one("ENTRYPOINT")), "--help"])
