"""Choosing what to try next, by Optuna; what was tried is kept in a file and gone on with."""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

from serving.tune.space import Option

__all__ = ["Ended", "Study", "Tried"]

STARTUP = 5
"""Trials that run to their end before any is stopped early."""


class Ended(Exception):
    """This trial is behind the others and not worth going on with."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One trial: `score` is None where it was stopped early or came to nothing."""

    number: int
    values: Mapping[str, Any]
    """By key of the option."""
    score: float | None
    ended: str
    """Why there is no score; empty where there is one."""


class Study:
    """Trials of one space with one question, `identity`; in the same `file` it goes on."""

    def __init__(
        self,
        file: Path,
        identity: str,
        options: Sequence[Option],
        by: Literal["bayesian", "random", "grid"],
        *,
        better: int,
    ) -> None:
        """ImportError where Optuna is not installed; ValueError where a grid has no end."""
        endless = [option.key for option in options if not option.choices]
        if by == "grid" and endless:
            raise ValueError(
                f'tune.by = "grid" needs a list of values for each option; {endless[0]!r} has none'
            )
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        self._optuna = optuna
        optuna.logging.set_verbosity(logging.ERROR)
        self._options, self._by, self._better = options, by, better
        name = hashlib.blake2b(identity.encode(), digest_size=10).hexdigest()
        storage = JournalStorage(JournalFileBackend(str(file)))
        self._study = optuna.create_study(
            storage=storage, study_name=name, load_if_exists=True,
            direction="maximize" if better > 0 else "minimize",
            pruner=_pruner(optuna, by),
        )  # fmt: skip
        # A sampler that begins anew would give what it gave before.
        self._study.sampler = _sampler(optuna, by, len(self._study.trials))

    def run(
        self,
        trials: int,
        work: Callable[[Mapping[str, Any], Callable[[int, float], None]], float],
        told: Callable[[], None],
    ) -> None:
        """Try until so many trials are done in all, those of earlier runs counted."""

        def objective(trial: Any) -> float:
            values = {option.key: _suggested(trial, option) for option in self._options}

            def so_far(step: int, score: float) -> None:
                if score == score:
                    trial.report(score, step)
                    if trial.should_prune():
                        raise self._optuna.TrialPruned

            try:
                return work(values, so_far)
            except Ended as ended:
                trial.set_user_attr("ended", str(ended))
                raise self._optuna.TrialPruned from None

        left = trials - len(self.tried())
        if self._by == "grid":
            left = self._enqueued(left)
        if left > 0:
            self._study.optimize(objective, n_trials=left, callbacks=[lambda *_: told()])

    def _enqueued(self, most: int) -> int:
        """Put the first points of the grid that were not tried in line; how many there are."""
        kept = self._optuna.trial.TrialState
        known = [
            one.system_attrs["fixed_params"] if one.state == kept.WAITING else one.params
            for one in self._study.trials
            if one.state in (kept.COMPLETE, kept.PRUNED, kept.WAITING)
        ]
        keys = [option.key for option in self._options]
        labels = [[_label(choice) for choice in option.choices] for option in self._options]
        points = (dict(zip(keys, point, strict=True)) for point in product(*labels))
        missing = [point for point in points if point not in known][: max(0, most)]
        for point in missing:
            self._study.enqueue_trial(point)
        waiting = sum(one.state == kept.WAITING for one in self._study.trials)
        return min(waiting, max(0, most))

    def tried(self) -> list[Tried]:
        """All trials that came to an end, the best first."""
        states = self._optuna.trial.TrialState
        done = [one for one in self._study.trials if one.state in (states.COMPLETE, states.PRUNED)]
        found = [
            Tried(
                one.number,
                {option.key: _value(option, one.params[option.key]) for option in self._options},
                one.value if one.state == states.COMPLETE else None,
                ""
                if one.state == states.COMPLETE
                else one.user_attrs.get("ended", "stopped early: others were better by then"),
            )
            for one in done
            if len(one.params) == len(self._options)
        ]
        worst = -float("inf")
        return sorted(
            found, key=lambda one: worst if one.score is None else self._better * one.score,
            reverse=True,
        )  # fmt: skip

    def importance(self) -> dict[str, float]:
        """Share of each option in what parted good trials from others (Watanabe et al. 2023,
        "PED-ANOVA"); empty where there are too few trials to tell."""
        evaluator = self._optuna.importance.PedAnovaImportanceEvaluator()
        try:
            found = self._optuna.importance.get_param_importances(self._study, evaluator=evaluator)
        except (ValueError, RuntimeError):
            return {}
        return dict(found)


def _pruner(optuna: Any, by: str) -> Any:
    if by == "grid":
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=1)


def _sampler(optuna: Any, by: str, done: int) -> Any:
    if by != "bayesian":
        return optuna.samplers.RandomSampler(seed=done)
    return optuna.samplers.TPESampler(seed=done)


def _label(choice: Any) -> str:
    """A value as Optuna keeps it."""
    return json.dumps(choice, sort_keys=True, ensure_ascii=False, default=str)


def _suggested(trial: Any, option: Option) -> Any:
    if option.choices:
        labels = [_label(one) for one in option.choices]
        return _value(option, trial.suggest_categorical(option.key, labels))
    if option.whole:
        return trial.suggest_int(option.key, int(option.low), int(option.high), log=option.log)
    return _value(option, trial.suggest_float(option.key, option.low, option.high, log=option.log))


def _value(option: Option, kept: Any) -> Any:
    """The value of what Optuna keeps; numbers to as many digits as people write."""
    if option.choices:
        return next(one for one in option.choices if _label(one) == kept)
    return kept if option.whole else float(f"{kept:.4g}")
