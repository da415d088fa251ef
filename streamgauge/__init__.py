"""The words that every room shares: schema, devices, batches, schedules, predictions, state.

Nothing here imports ingest, models, monitoring, stream_processor or serving.
"""

__version__ = "0.1.0"
