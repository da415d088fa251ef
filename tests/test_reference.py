"""The reference in docs/reference says what the code says."""

import pytest

from stream_processor.settings import Settings
from tests.reference import FOLDER, pages

PAGES = pages()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_of_this_code(name: str) -> None:
    """Who changes a key, an option or a route runs scripts/reference."""
    written = (FOLDER / name).read_text(encoding="utf-8")
    assert written == PAGES[name], "run scripts/reference, and look at what changed"


def test_no_page_is_left_over() -> None:
    """Each is one of them."""
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(PAGES)


def test_every_key_of_a_task_is_there() -> None:
    """Tables and keys as they stand in a file."""
    page = PAGES["configuration.md"]
    for title in ("[[source]]", "[tasks.NAME]", "[drift]", "[[features.rolling]]", "[serve]"):
        assert f"## `{title}`\n" in page
    row = next(line for line in page.splitlines() if line.startswith("| `checkpoint_every` |"))
    assert row.endswith('| `"30s"` |')
    assert len(PAGES["http.md"].splitlines()) > 20
    assert Settings().state.checkpoint_every == 30 * 10**6
