"""Between codec and admission: readings in order of event time, messages assembled into rows."""

from stream_processor.arrange.stage import Arrange

__all__ = ["Arrange"]
