"""What the pages under docs/how-to show is what the product takes."""

import re
from functools import partial
from pathlib import Path

import pytest

from stream_processor.settings import load_text
from streamgauge.output import SCORE_COLUMNS
from tests.services.mosquitto import certificates

REST = '\n[[source]]\nuse = "mqtt"\ntopics = ["a"]\n[channels.a]\n'
"""What a page on one table need not show."""
PAGES = sorted((Path(__file__).parent.parent / "docs" / "how-to").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_configuration_loads(page: Path, tmp_path: Path) -> None:
    """Each block of TOML is a whole configuration, or one without its sources, with whatever
    secrets, certificates and tags it names."""
    (tmp_path / "incoming").mkdir()
    certificates(tmp_path)
    (tmp_path / "fleet.csv").write_text("device,hall,type\np1,north,big\np2,north,small\n")
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert blocks
    for shown in blocks:
        env = dict.fromkeys(re.findall(r"\$\{(\w+)\}", shown), "a-secret-of-this-test")
        block = re.sub(r'^(ca|cert|key) = ".*"', partial(_pem, tmp_path), shown, flags=re.MULTILINE)
        whole = block if "[[source]]" in block else block + REST
        load_text(whole, tmp_path / "pipeline.toml", env)


def _pem(folder: Path, option: re.Match[str]) -> str:
    """The same option with a file that is there."""
    name = {"ca": "ca.pem", "cert": "client.pem", "key": "client.key"}[option[1]]
    return f'{option[1]} = "{folder / name}"'


def test_every_score_is_explained() -> None:
    """The page on scores names each one that there is, and no other."""
    (page,) = (page for page in PAGES if page.stem == "scores")
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z0-9_]+)`", text))
    others = {"confusion", "half_life", "per_class", "replay", "window"}
    assert named - others == set(SCORE_COLUMNS)
