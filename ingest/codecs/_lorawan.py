"""What LoRaWAN networks say of the link to a device."""

from typing import Any

__all__ = ["best_link"]


def best_link(gateways: Any) -> dict[str, Any]:
    """`rssi` and `snr` at the gateway that heard the device best; None where no gateway says.

    Networks leave out what is 0, as a signal-to-noise ratio may be.
    """
    heard = [one for one in gateways if isinstance(one, dict)] if isinstance(gateways, list) else []
    levels = [(one["rssi"], one.get("snr", 0.0)) for one in heard if _is_number(one.get("rssi"))]
    rssi, snr = max(levels, key=lambda level: level[0], default=(None, None))
    return {"rssi": rssi, "snr": snr}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
