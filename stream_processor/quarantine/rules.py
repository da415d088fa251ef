"""The setting that refuses a reading or drops a value, as text: whether it was corrected since."""

import json
from dataclasses import asdict

from stream_processor.losses import DROPPING
from stream_processor.settings.fields import Options
from stream_processor.settings.model import Settings

__all__ = ["rule"]


def rule(settings: Settings, reason: str, channel: str) -> str:
    """The rule behind a reason as the settings have it now; "" where there is none."""
    if reason == "future":
        return _text("devices.max_ahead", settings.devices.max_ahead)
    if reason == "device_limit":
        return _text("devices.limit", settings.devices.limit)
    found = settings.channels.get(channel)
    if found is None:
        return ""
    if reason == "out_of_range":
        bounds = _text(f"channels.{channel}.range", found.range)
        return f"{bounds}, outside = {json.dumps(found.outside)}"
    if reason in DROPPING:
        use = getattr(found, reason)
        options = use.options if isinstance(use, Options) else use and asdict(use)
        return _text(f"channels.{channel}.{reason}", options)
    return "no quantity is larger than 1e24" if reason == "extreme" else ""


def _text(key: str, value: object) -> str:
    return f"{key} = {json.dumps(value, sort_keys=True, default=str)}"
