"""Batch in, predictions out: the walk from admitted readings to records."""

from stream_processor.pipeline import Pipeline

__all__ = ["Pipeline"]
