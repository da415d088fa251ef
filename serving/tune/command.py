"""`streamgauge tune`: try values of options on a recording, and write down the best."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from serving.tune.recording import Parts, Recording, parts_of
from serving.tune.report import Found, page
from serving.tune.score import KINDS, SCORES
from serving.tune.space import Option, options_of, with_values
from serving.tune.study import Ended, Study
from serving.tune.trial import curves, judged, tried
from stream_processor.compose import compose
from stream_processor.settings import Problems, Settings, load, load_text

__all__ = ["tune"]

NOT_THERE = "streamgauge tune needs Optuna and tomlkit; pip install 'streamgauge[tune]'"
ASIDE = ".tuned"
"""Between the name of a configuration and its ending: what is written beside it."""


def tune(config: Path, data: Path, *, output: Path | None, trials: int | None) -> int:
    """Try until `trials` (else tune.trials) are done; the exit code. Beside the configuration that
    is written stand the report and the log of trials, with which the same command goes on."""
    console = Console(stderr=True)
    output = output or config.with_name(f"{config.stem}{ASIDE}{config.suffix}")
    try:
        asked = _asked(config, data)
        if output.resolve() == config.resolve():
            raise ValueError(f"{output} is the configuration itself; name another file with -o")
        found = _found(asked, output.with_suffix(".log"), trials, console)
    except ImportError:
        console.print(NOT_THERE, style="red", markup=False, highlight=False)
        return 2
    except (Problems, MemoryError, OSError, ValueError) as wrong:
        console.print(str(wrong), style="red", markup=False, highlight=False, soft_wrap=True)
        return 2
    text = asked.text if found.best is None else asked.with_values(found.best.values)
    output.write_text(text, encoding="utf-8")
    report = output.with_suffix(".html")
    report.write_text(page(found, text), encoding="utf-8")
    for line in (*found.sentences(), f"wrote {output} and {report}"):
        print(line)
    return 0


@dataclass(frozen=True, slots=True)
class _Asked:
    """The question: whose score, of which values, on which parts of what."""

    config: Path
    text: str
    settings: Settings
    recording: Recording
    options: list[Option]
    task: str
    score: str
    parts: Parts

    @property
    def identity(self) -> str:
        """What the trials of one study have in common: all but how many there are."""
        tune = replace(self.settings.tune, trials=1)
        size = self.recording.path.stat().st_size
        others = replace(self.settings, tune=tune)
        return repr((others, self.recording.path.name, size, self.task, self.score))

    def with_values(self, values: Mapping[str, Any]) -> str:
        """The text with these values, by the key of their option."""
        return with_values(self.text, [(one, values[one.key]) for one in self.options])

    def settled(self, values: Mapping[str, Any]) -> Settings:
        """The settings with these values; `Problems` or ValueError where they do not fit."""
        text = self.with_values(values)
        return self.recording.settled(load_text(text, self.config, os.environ, for_replay=True))


def _asked(config: Path, data: Path) -> _Asked:
    settings = load(config, os.environ, for_replay=True)
    text = config.read_text(encoding="utf-8-sig")
    recording = Recording(data)
    settings = recording.settled(settings)
    options = options_of(settings.tune.options)
    task, name = _task(settings), ""
    kind = settings.tasks[task].kind
    if kind not in KINDS:
        raise ValueError(f"tune.task {task!r}: a {kind} has no score; name another task")
    name = settings.tune.score or KINDS[kind]
    fit = [one for one, score in SCORES.items() if kind in score.kinds]
    if name not in fit:
        raise ValueError(f"tune.score is {name!r}; of a {kind} write one of {', '.join(fit)}")
    schema = compose(settings)[0].schema
    parts = parts_of(settings.tune.split, recording.pieces(settings, schema))
    asked = _Asked(config, text, settings, recording, options, task, name, parts)
    for option in options:
        for value in option.ends:
            _try(asked, option, value)
    return asked


def _task(settings: Settings) -> str:
    tasks = list(settings.tasks)
    task = settings.tune.task or (tasks[0] if len(tasks) == 1 else "")
    if task not in tasks:
        there = ", ".join(tasks) or "none"
        raise ValueError(f"tune.task is {settings.tune.task!r}; name one of the tasks: {there}")
    return task


def _try(asked: _Asked, option: Option, value: Any) -> None:
    """Refuse a value with which alone the configuration does not hold."""
    try:
        text = with_values(asked.text, [(option, value)])
        settings = load_text(text, asked.config, os.environ, for_replay=True)
        compose(asked.recording.settled(settings))
    except (Problems, ValueError) as refused:
        raise ValueError(f"tune.options {option.key!r} = {value!r}: {refused}") from None


def _found(asked: _Asked, log: Path, trials: int | None, console: Console) -> Found:
    tuning, score = asked.settings.tune, SCORES[asked.score]
    study = Study(log, asked.identity, asked.options, tuning.by, better=score.better)
    most = trials or tuning.trials
    if tuning.by == "grid":
        most = min(most, prod(len(option.choices) for option in asked.options))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        bar = progress.add_task("the configuration as it is", total=most)
        given = (asked.recording, asked.parts, asked.score, asked.task)
        as_it_is = judged(asked.settings, *given)

        def told() -> None:
            done = study.tried()
            best = next((one.score for one in done if one.score is not None), None)
            said = "" if best is None else f", best {best:.4g}, as it is {as_it_is.decides:.4g}"
            progress.update(bar, completed=len(done), description=f"trials{said}")

        told()
        study.run(most, _work(asked), told)
        done = study.tried()
        best = next((one for one in done if one.score is not None), None)
        # Of equals the configuration as it is wins; no score is worse than any.
        decides = as_it_is.decides
        if best is not None and decides == decides:
            best = best if score.better * ((best.score or 0.0) - decides) > 0 else None
        progress.update(bar, description="learning curves")
        winner = asked.settings if best is None else asked.settled(best.values)
        return Found(
            asked.config.name, asked.task, score.says, score.better, asked.parts, asked.options,
            done, best, as_it_is, as_it_is if best is None else judged(winner, *given),
            curves(asked.settings, *given), curves(winner, *given), study.importance(),
        )  # fmt: skip


def _work(asked: _Asked) -> Callable[[Mapping[str, Any], Callable[[int, float], None]], float]:
    """One trial; `Ended` where its values do not fit together or lead to no number."""

    def work(values: Mapping[str, Any], told: Callable[[int, float], None]) -> float:
        given = (asked.recording, asked.parts, asked.score, asked.task, told)
        try:
            settings = asked.settled(values)
        except (Problems, ValueError) as refused:
            raise Ended(" ".join(str(refused).split())) from None
        found = tried(settings, *given)
        if not abs(found) < float("inf"):
            raise Ended(f"no score: it is {found}")
        return found

    return work
