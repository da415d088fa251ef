"""Any text at all: what is no configuration is explained, never a crash."""

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from stream_processor.settings import Problems, load_text

HERE = Path("/somewhere/pipeline.toml")
BASE = """\
[channels.temperature]
range = [-40, 125]
[channels.power]
range = [0, 500]
[tasks.ahead]
kind = "forecast"
target = "power"
horizons = ["10m"]
model = ["preprocessing.StandardScaler", "linear_model.LinearRegression"]
"""


WORDS = """
stream name state dir checkpoint_every journal_max devices limit timezone evict_after source use
codec topics url password device path channels temperature range kind outside features raw lags
rolling of window stats calendar as readings tasks ahead target model horizons tolerance inputs
drift detector delta sink store keep serve api_keys port x
"""
TEXTS = """
mqtt file json influxdb forecast regression number 10m 0s 5GB UTC ../x ${A} ${ adwin hour mean *
linear_model.LinearRegression none never
"""
words = st.sampled_from(WORDS.split())
texts = words | st.sampled_from([*TEXTS.split(), "9" * 400 + "d"]) | st.text(max_size=5)
leaves = st.one_of(
    texts,
    st.booleans(),
    st.integers() | st.just(10**400),
    st.floats(),
    st.datetimes(),
    st.dates(),
    st.times(),
)
trees = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4),
    max_leaves=25,
)


def as_toml(value: Any) -> str:
    """Any value as an inline TOML value."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {as_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(letter):08x}" for letter in value) + '"'
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if hasattr(value, "isoformat") else repr(value)


def loads_or_explains(text: str) -> None:
    """Nothing but settings or problems comes of the text."""
    try:
        load_text(text, HERE, {"A": "a"})
        return
    except Problems as refused:
        found = refused.problems
    assert found
    assert all(p.key and p.message and p.remedy for p in found)
    assert all(p.line is None or 1 <= p.line <= text.count("\n") + 1 for p in found)


@settings(deadline=None)
@given(st.dictionaries(words, trees, max_size=6))
def test_any_document_is_settings_or_problems(tree: dict[str, Any]) -> None:
    """Whatever stands where, the answer is settings or problems with a place and a remedy."""
    loads_or_explains("\n".join(f"{key} = {as_toml(value)}" for key, value in tree.items()))


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            ["name", "limit", "of", "raw", "lags", "rolling", "calendar", "target", "kind"]
        ),
        trees,
    ),
    st.sampled_from(["stream", "devices", "features", "tasks.a", "channels.power", "drift"]),
)
def test_any_table_is_settings_or_problems(table: dict[str, Any], name: str) -> None:
    """The same with good settings around one arbitrary table."""
    added = "".join(f"{key} = {as_toml(value)}\n" for key, value in table.items())
    head = f"[{name}]\n" if f"[{name}]" not in BASE else f"[{name}x]\n"
    loads_or_explains(f"{head}{added}{BASE.replace('[channels.power]', '[channels.pow]')}")


@settings(deadline=None)
@given(st.text())
def test_any_text_is_settings_or_problems(text: str) -> None:
    """A file that is no TOML at all is a problem, too."""
    loads_or_explains(text)
