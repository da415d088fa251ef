"""Models of several outputs, regressors and classifiers, for the one target of a task."""

from typing import Any

from river import base

from models.last_step import last_step

__all__ = ["OneOutput", "has_several"]

Features = dict[Any, Any]


class OneOutput:
    """Gives the model its target by name, and takes the target's part out of each answer."""

    def __init__(self, model: Any, target: str) -> None:
        self.model, self.target = model, target

    def learn_one(self, x: Features, y: Any) -> None:
        """One target, by its name."""
        self.model.learn_one(x, {self.target: y})

    def predict_one(self, x: Features) -> Any:
        """The target's own answer; None before the model has met it."""
        return self.model.predict_one(x).get(self.target)

    def predict_proba_one(self, x: Features) -> Features:
        """The target's own probabilities; none before the model has met it."""
        found: Features = self.model.predict_proba_one(x).get(self.target, {})
        return found


def has_several(estimator: Any) -> bool:
    """Whether it learns and answers several outputs by name."""
    kinds = (base.MultiTargetRegressor, base.MultiLabelClassifier)
    return isinstance(last_step(estimator), kinds)
