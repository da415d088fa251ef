"""Pure computation: the contract of a learner, compiled fleets, River's models."""

import importlib

from streamgauge.late_imports import late

_LATE = (
    "scipy.integrate",
    "scipy.io",
    "scipy.io.arff",
    "scipy.io.arff._arffread",
    "scipy.ndimage",
    "scipy.sparse",
    "scipy.special",
    "scipy.stats",
    "sqlalchemy",
)
"""What River's packages, which import one another, bring along and few models use."""
_RIVER = (
    "anomaly",
    "cluster",
    "compose",
    "linear_model",
    "naive_bayes",
    "optim",
    "preprocessing",
    "tree",
)

with late(*_LATE):
    for _name in _RIVER:
        importlib.import_module(f"river.{_name}")
