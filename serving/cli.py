"""The `streamgauge` command."""

import argparse
import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import streamgauge

__all__ = ["main"]

STOPPED = 130
"""Exit code after Ctrl-C, as shells have it."""
GARBAGE = 50_000
"""New objects before Python looks for cycles among them. At its own 700 much of a start goes into
looking through modules and classes that stay."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 fine, 1 failed, 2 wrong use or configuration."""
    chosen = _parser().parse_args(arguments)
    if chosen.command is None:
        _parser().print_help()
        return 2
    gc.set_threshold(GARBAGE)
    try:
        code: int = chosen.command(chosen)
    except KeyboardInterrupt:
        return STOPPED
    except BrokenPipeError:
        # Who reads our output has read enough; Python would complain when it flushes the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return STOPPED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="streamgauge",
        description="Online learning for fleets of IoT sensors: write River, run compiled.",
    )
    parser.add_argument("--version", action="version", version=streamgauge.__version__)
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    demo = commands.add_parser("demo", help="show everything on this machine, nothing installed")
    demo.add_argument("--port", type=int, default=8000, help="port of the live page (8000)")
    demo.add_argument("--devices", type=int, default=20, help="pumps to simulate (20)")
    demo.set_defaults(command=_demo)

    init = commands.add_parser("init", help="watch a source and write a first pipeline.toml")
    init.add_argument(
        "--from",
        dest="sources",
        action="append",
        required=True,
        metavar="SOURCE",
        help="mqtt(s)://host:1883/topic/#, kafka(s)://host:9092/topic, http(s)://host/path, "
        "influxdb://host:8086/database/measurement, a database's URL with /table or #table behind "
        "it, a file or a folder; may be given more than once",
    )
    init.add_argument("-o", "--output", type=Path, default=Path("pipeline.toml"))
    init.add_argument("--seconds", type=float, default=30.0, help="how long to watch at most (30)")
    init.set_defaults(command=_init)

    run = commands.add_parser("run", help="run the service that a pipeline.toml describes")
    run.add_argument("pipeline", type=Path)
    run.add_argument(
        "--accept",
        action="store_true",
        help="go on although the file changed: what it lists starts anew or is dropped",
    )
    run.add_argument(
        "--log", choices=("text", "json"), default="text", help="how stderr is written (text)"
    )
    run.add_argument(
        "--trace", action="store_true", help="OpenTelemetry spans by OTLP, as OTEL_* variables say"
    )
    run.set_defaults(command=_run)

    replay = commands.add_parser("replay", help="run recorded data through the same code")
    replay.add_argument("pipeline", type=Path)
    replay.add_argument("data", type=Path, help="CSV, Parquet or JSON lines, .gz or not")
    replay.add_argument("--output", type=Path, help="predictions, as CSV or Parquet by its ending")
    replay.add_argument("--rejects", type=Path, help="what was not admitted, with the reason (CSV)")
    replay.add_argument("--speed", type=float, default=0.0, help="1 = real time, 0 = flat out (0)")
    replay.set_defaults(command=_replay)

    profile = commands.add_parser(
        "profile", help="report on a recording: HTML, and a pipeline.toml"
    )
    profile.add_argument("data", type=Path, help="CSV, Parquet or JSON lines, .gz or not")
    profile.add_argument("-o", "--output", type=Path, default=Path("report.html"))
    profile.add_argument("--config", type=Path, help="where to write the suggested pipeline.toml")
    profile.add_argument("--device", default="", help="column of the devices (guessed)")
    profile.add_argument("--time", default="", help="column of the times (guessed)")
    profile.add_argument("--timezone", default="", help="of the devices, for hours and days (UTC)")
    profile.set_defaults(command=_profile)

    tune = commands.add_parser("tune", help="try options on a recording, write down the best")
    tune.add_argument("pipeline", type=Path, help="a pipeline.toml that says in [tune] what to try")
    tune.add_argument("data", type=Path, help="CSV, Parquet or JSON lines, .gz or not")
    tune.add_argument("-o", "--output", type=Path, help="file to write (pipeline.tuned.toml)")
    tune.add_argument(
        "--trials", type=int, help="trials in all, earlier ones counted (tune.trials)"
    )
    tune.set_defaults(command=_tune)

    _alert_commands(commands.add_parser("alerts", help="test, list and silence alerts"))

    check = commands.add_parser("check", help="report every mistake of a pipeline.toml at once")
    check.add_argument("pipeline", type=Path)
    check.set_defaults(command=_check)

    listing = commands.add_parser("list", help="list sources, codecs, features, models, ...")
    listing.set_defaults(command=_list)

    _add_quarantine(commands.add_parser("quarantine", help="see what was refused, send it again"))

    kernels = commands.add_parser("compile-kernels", help="compile all kernels into the cache")
    kernels.set_defaults(command=_compile_kernels)
    return parser


def _alert_commands(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    test = actions.add_parser("test", help="send a test alert to every receiver")
    test.add_argument("pipeline", type=Path)
    test.add_argument("--receiver", default="", help="only to this one")
    test.set_defaults(command=_alerts_test)
    listing = actions.add_parser("list", help="what fires, and what is silenced")
    listing.add_argument("pipeline", type=Path)
    listing.set_defaults(command=_alerts_list)
    silence = actions.add_parser("silence", help="tell nobody for a while")
    silence.add_argument("pipeline", type=Path)
    silence.add_argument("--rule", default="*", help="of which rule, * and ? as in file names (*)")
    silence.add_argument("--device", default="*", help="of which device (*)")
    silence.add_argument("--for", dest="lasting", default="2h", help="for how long (2h)")
    silence.add_argument("--comment", default="")
    silence.set_defaults(command=_alerts_silence)
    unsilence = actions.add_parser("unsilence", help="end a silence")
    unsilence.add_argument("pipeline", type=Path)
    unsilence.add_argument("number", type=int)
    unsilence.set_defaults(command=_alerts_unsilence)


def _alerts_test(chosen: argparse.Namespace) -> int:
    from serving import alerts
    from serving.run import clock

    return alerts.test(chosen.pipeline, os.environ, chosen.receiver, clock, sys.stdout)


def _alerts_list(chosen: argparse.Namespace) -> int:
    from serving import alerts
    from serving.run import clock

    return alerts.silences(chosen.pipeline, os.environ, clock, sys.stdout)


def _alerts_silence(chosen: argparse.Namespace) -> int:
    from serving import alerts
    from serving.run import clock
    from streamgauge.durations import microseconds

    try:
        lasting = microseconds(chosen.lasting)
    except ValueError as refused:
        sys.stderr.write(f"streamgauge alerts silence: --for {refused}\n")
        return 2
    given = (chosen.rule, chosen.device, lasting, chosen.comment)
    return alerts.silence(chosen.pipeline, os.environ, *given, clock, sys.stdout)


def _alerts_unsilence(chosen: argparse.Namespace) -> int:
    from serving import alerts

    return alerts.unsilence(chosen.pipeline, os.environ, chosen.number, sys.stdout)


def _add_quarantine(quarantine: argparse.ArgumentParser) -> None:
    actions = quarantine.add_subparsers(title="actions", metavar="ACTION", required=True)
    for name, words in (
        ("list", "how much of what was refused, and why; the newest"),
        ("show", "one record, with its message or values"),
        ("export", "all that fit as JSON lines"),
        ("replay", "send it again when the service starts next, judged by the rules of now"),
    ):
        action = actions.add_parser(name, help=words)
        action.add_argument("pipeline", type=Path)
        action.set_defaults(command=_quarantine, action=name)
        if name == "show":
            action.add_argument("number", type=int)
            continue
        action.add_argument("--reason", help="only with this reason")
        action.add_argument("--device", help="only of this device")
        action.add_argument("--channel", help="only of this channel")
        action.add_argument("--since", help="received then or later: 2026-03-01T12:00Z, or 2h ago")
        action.add_argument("--until", help="received before")
        if name == "list":
            action.add_argument("--limit", type=int, default=20, help="newest to list (20)")
        if name == "export":
            action.add_argument("-o", "--output", type=Path, help="file to write (standard output)")
        if name == "replay":
            action.add_argument("--dry-run", action="store_true", help="only say how many")


def _quarantine(chosen: argparse.Namespace) -> int:
    from serving.quarantine import quarantine
    from serving.run import clock

    return quarantine(chosen, os.environ, clock)


def _demo(chosen: argparse.Namespace) -> int:
    from serving.demo import demo

    return demo(port=chosen.port, devices=chosen.devices)


def _init(chosen: argparse.Namespace) -> int:
    from serving.init import init
    from serving.run import clock

    return init(chosen.sources, chosen.output, seconds=chosen.seconds, clock=clock)


def _run(chosen: argparse.Namespace) -> int:
    from serving.run import run

    return run(chosen.pipeline, accept=chosen.accept, log=chosen.log, trace=chosen.trace)


def _replay(chosen: argparse.Namespace) -> int:
    from serving.first_compile import compiling_told
    from serving.replay import replay

    with compiling_told():
        return replay(
            chosen.pipeline,
            chosen.data,
            output=chosen.output,
            rejects=chosen.rejects,
            speed=chosen.speed,
        )


def _profile(chosen: argparse.Namespace) -> int:
    from serving.profile.command import profile
    from serving.run import clock

    return profile(
        chosen.data,
        chosen.output,
        chosen.config,
        device=chosen.device,
        time=chosen.time,
        timezone=chosen.timezone,
        clock=clock,
    )


def _tune(chosen: argparse.Namespace) -> int:
    from serving.first_compile import compiling_told
    from serving.tune.command import tune

    with compiling_told():
        return tune(chosen.pipeline, chosen.data, output=chosen.output, trials=chosen.trials)


def _check(chosen: argparse.Namespace) -> int:
    from serving.check import check

    return check(chosen.pipeline, os.environ, sys.stdout)


def _list(_: argparse.Namespace) -> int:
    from serving.listing import listing

    return listing(sys.stdout)


def _compile_kernels(_: argparse.Namespace) -> int:
    from serving.warm import compile_kernels

    return compile_kernels(sys.stdout)
