"""Tasks on real recordings, and the best figures known for them before (the recordings' README)."""

import math
from dataclasses import dataclass

__all__ = ["CLASSES", "FORECASTS", "Classes", "Forecast"]


@dataclass(frozen=True)
class Forecast:
    """A channel some time ahead; `tolerance` is how late a reading still is the label."""

    recording: str
    target: str
    horizon: str
    tolerance: str
    mae: float = math.inf
    rmse: float = math.inf

    @property
    def id(self) -> str:
        return f"{self.recording} {self.target} {self.horizon}"

    def toml(self, more: str = "") -> str:
        """The whole configuration: all numeric columns are channels, no model is named."""
        return (
            f'[tasks.t]\nkind = "forecast"\ntarget = "{self.target}"\n'
            f'horizons = ["{self.horizon}"]\ntolerance = "{self.tolerance}"\n{more}'
            '[drift]\ndetector = "none"\n'
        )


FORECASTS = (
    Forecast("beijing_air", "PM2.5", "1h", "10m", 11.12, 19.97),
    Forecast("beijing_air", "PM2.5", "6h", "40m"),
    Forecast("beijing_air", "PM2.5", "24h", "2h"),
    Forecast("keti_rooms", "temperature", "15m", "2m"),
    Forecast("keti_rooms", "co2", "15m", "2m", 8.93),
    Forecast("vic_electricity", "demand", "24h", "1h", 303.9),
    Forecast("steel_energy", "Usage_kWh", "15m", "2m", 6.262),
    Forecast("appliances_energy", "Appliances", "10m", "2m", 29.46, 67.6),
    Forecast("appliances_energy", "Appliances", "60m", "10m", 56.71, 103.1),
    Forecast("air_quality_uci", "C6H6(GT)", "1h", "10m", 2.362),
)


@dataclass(frozen=True)
class Classes:
    """A recording's `label`, known so late; `accuracy` of the best known before."""

    recording: str
    delay: str
    accuracy: float

    def toml(self, classes: str, more: str = "") -> str:
        """The whole configuration; `classes` are listed as in TOML, no model is named."""
        return (
            f'[tasks.t]\nkind = "classification"\nclasses = {classes}\n{more}'
            f'label = {{ from = "column:label", delay = {self.delay} }}\n'
            '[drift]\ndetector = "none"\n'
        )


CLASSES = (
    Classes("elec2", "{ readings = 48 }", 0.7877),
    Classes("steel_energy", '"1d"', 0.8565),
    Classes("noaa_weather", '"30d"', 0.7788),
    Classes("occupancy_detection", '"60m"', 0.9812),
    Classes("sea", "{ readings = 1000 }", 0.8773),
)
