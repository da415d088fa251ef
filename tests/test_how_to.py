"""What the pages under docs/how-to show is what the product takes."""

import re
from pathlib import Path

import pytest

from stream_processor.settings import load_text

PAGES = sorted((Path(__file__).parent.parent / "docs" / "how-to").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_configuration_loads(page: Path, tmp_path: Path) -> None:
    """Each block of TOML is a whole configuration, with whatever secrets it names."""
    (tmp_path / "incoming").mkdir()
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert blocks
    for block in blocks:
        env = dict.fromkeys(re.findall(r"\$\{(\w+)\}", block), "a-secret-of-this-test")
        load_text(block, tmp_path / "pipeline.toml", env)
