"""The settings of a stream: read from TOML, checked as a whole, every problem reported at once."""

from stream_processor.settings.load import load, load_text, with_channels
from stream_processor.settings.model import Settings
from stream_processor.settings.problems import Problem, Problems

__all__ = ["Problem", "Problems", "Settings", "load", "load_text", "with_channels"]
