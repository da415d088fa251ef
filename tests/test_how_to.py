"""What the pages on durability and order show is a configuration that loads."""

import re
from pathlib import Path

import pytest

from stream_processor.settings import load_text

PAGES = Path(__file__).parent.parent / "docs" / "how-to"
CHANNEL = "\n[channels.a]\n"


@pytest.mark.parametrize("name", ["durability", "order"])
def test_what_the_page_shows_loads(name: str) -> None:
    """Each piece of configuration, as it stands and with what it offers instead."""
    text = (PAGES / f"{name}.md").read_text()
    shown = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert shown
    for piece in shown:
        load_text(piece + CHANNEL, Path("p.toml"), {}, for_replay=True)
        instead = re.sub(r"^assemble.*\n# assemble", "assemble", piece, flags=re.MULTILINE)
        load_text(instead + CHANNEL, Path("p.toml"), {}, for_replay=True)
