"""A real Prometheus on a free loopback port, which scrapes one address."""

import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.services.ports import free_port, listening, program, wait_for

__all__ = ["Prometheus", "prometheus"]

CONFIG = """
global:
  scrape_interval: 200ms
  scrape_timeout: 200ms
scrape_configs:
  - job_name: streamgauge
    static_configs:
      - targets: ["{target}"]
"""


class Prometheus:
    """The server's API."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ready(self) -> bool:
        """Whether it takes queries."""
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=10):
                return True
        except urllib.error.HTTPError as refused:
            refused.close()
            return False

    def query(self, query: str) -> list[dict[str, Any]]:
        """The instant vector that the query gives: `metric` and `value` of each series."""
        found: list[dict[str, Any]] = self._ask("query", query=query)["result"]
        return found

    def label_values(self, metric: str, label: str) -> list[str]:
        """The values that a label of a metric has had."""
        return list(self._ask(f"label/{label}/values", **{"match[]": metric}))

    def target(self) -> dict[str, Any]:
        """The address that is scraped: its `health` and `lastError`."""
        (found,) = self._ask("targets")["activeTargets"]
        return dict(found)

    def metadata(self) -> dict[str, list[dict[str, str]]]:
        """`type`, `help` and `unit` by the name of the metric."""
        return dict(self._ask("metadata"))

    def _ask(self, what: str, **parameters: str) -> Any:
        address = f"{self.url}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(address, timeout=10) as answer:
            return json.loads(answer.read())["data"]


@contextmanager
def prometheus(folder: Path, scrapes: str, text: str = CONFIG) -> Iterator[Prometheus]:
    """One that scrapes `/metrics` of that url, in the place of `{target}` in the text of its
    configuration; skips the test where it is not installed."""
    port, path = free_port(), program("prometheus", "prometheus")
    config = folder / "prometheus.yml"
    config.write_text(text.replace("{target}", urlsplit(scrapes).netloc), encoding="utf-8")
    command = [
        path,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        server = Prometheus(f"http://127.0.0.1:{port}")
        wait_for(lambda: listening(port) and server.ready(), what=f"Prometheus, see {folder}/log")
        yield server
    finally:
        process.terminate()
        process.wait()
