"""The `streamgauge` command: help, version, exit codes, and what it lists."""

import importlib
import os
import pkgutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest

from serving.cli import main
from serving.listing import FOLDERS
from stream_processor.clean.outlier import hampel
from stream_processor.pipeline import Pipeline
from streamgauge.plugins import find, options
from streamgauge.schema import Channel, Schema
from tests.services.service import command, service

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("streamgauge", "ingest", "models", "monitoring", "stream_processor", "serving")
COMMANDS = ("demo", "init", "run", "replay", "profile", "tune", "check", "list", "compile-kernels")


def streamgauge(*arguments: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    """The installed command, with warnings as errors."""
    strict = os.environ | {"PYTHONWARNINGS": "error", "COLUMNS": "100"} | env
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=900, env=strict, check=False
    )


def test_help_names_every_command() -> None:
    """`--help` and no arguments at all show the same; only the first is right use."""
    asked, lost = streamgauge("--help"), streamgauge()
    assert (asked.returncode, lost.returncode) == (0, 2)
    assert asked.stdout == lost.stdout
    for name in COMMANDS:
        assert f"    {name} " in asked.stdout or f"    {name}\n" in asked.stdout
    assert asked.stderr == lost.stderr == ""


def test_version_is_that_of_the_package() -> None:
    """One number, and nothing else."""
    assert streamgauge("--version").stdout == f"{version('streamgauge')}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`COMMAND --help` ends well and names the command."""
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert f"streamgauge {name}" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [["fly"], ["run"], ["replay", "p.toml"], ["list", "--loud"]])
def test_wrong_use_is_told(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and how it is used."""
    with pytest.raises(SystemExit) as ended:
        main(wrong)
    assert ended.value.code == 2
    assert "usage: streamgauge" in capsys.readouterr().err


def test_check_passes_the_examples() -> None:
    """What the repository shows is right: exit code 0 and a summary."""
    for path in sorted((ROOT / "examples").glob("*.toml")):
        run = streamgauge("check", path)
        assert (run.returncode, run.stderr) == (0, ""), path
        assert "task: " in run.stdout


def test_check_tells_every_mistake(tmp_path: Path) -> None:
    """Exit code 2; one line per mistake: file, line, key, value and remedy."""
    path = tmp_path / "p.toml"
    path.write_text(
        "[channels.a]\nrange = [5, 1]\n[tasks.t]\nkind = 'guess'\ntarget = 'b'\nmodel = ['x.Y']\n"
    )
    run = streamgauge("check", path)
    assert run.returncode == 2
    for place in (":2: channels.a.range", ":4: tasks.t.kind", ":5: tasks.t.target"):
        assert f"{path}{place}" in run.stdout
    assert run.stdout.splitlines()[-1].endswith(f"problems in {path}")
    absent = streamgauge("check", tmp_path / "absent.toml")
    assert absent.returncode == 2
    assert "absent.toml" in absent.stdout
    assert "Traceback" not in absent.stderr


KEEPING = ("stream_processor.", "monitoring.detectors", "models.selections")
"""Folders whose plug-ins keep state that is listed."""


def test_list_names_every_plug_in_with_purpose_and_options(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each plug-in of each folder, found by itself, and every option it has."""
    assert main(["list"]) == 0
    parts = {part.partition(":\n")[0]: part for part in capsys.readouterr().out.split("\n\n")}
    for title, package, function in FOLDERS:
        found = find(package)
        assert found, package
        lines = parts[title].splitlines()
        for name, module in found.items():
            [own] = [k for k, line in enumerate(lines) if line.startswith(f"  {name} ")]
            assert lines[own].split(maxsplit=1)[1].endswith((".", ":")), lines[own]
            listed = []
            for line in lines[own + 1 :]:
                if not line.startswith("    "):
                    break
                listed.append(line.strip().partition(":")[0])
            if package.startswith(KEEPING):
                kept = listed.index("state")
                assert set(listed[kept + 1 :]) <= {"reference"}
                del listed[kept:]
            assert listed == [option.rstrip("_") for option in options(module, function)]
    assert "pathlib" not in parts["sources"]


def test_list_tells_what_a_device_costs_and_whose_idea_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Bytes as the blocks have them, with the options that they hold for; papers by author and
    year."""
    assert main(["list"]) == 0
    said = capsys.readouterr().out
    schema = Schema([Channel("value")])
    window = hampel.build(schema, 1, 0).blocks["state"].bytes_per_row
    assert f"state: {window:,} bytes per device\n    reference: Hampel (1974), " in said
    assert "state: 24 bytes per device with readings = 30" in said
    assert 'state: none per device with of = ["hour"]' in said
    assert "state: 136 bytes per device and task or channel\n    reference: Page (1954), " in said
    assert "reference: Box and Cox (1964), " in said
    for package in ("stream_processor.clean", "stream_processor.features"):
        for name, module in find(package).items():
            if any(o.default is o.empty for o in options(module).values()):
                assert module.EXAMPLE, f"{package}.{name}: EXAMPLE gives what has no default"


@pytest.mark.slow
def test_kernels_can_be_compiled_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`compile-kernels` fills the cache it names; a second run, and a service that walks good and
    bad readings, find all of it there."""
    first = streamgauge("compile-kernels", STREAMGAUGE_CACHE_DIR=str(tmp_path))
    assert (first.returncode, first.stderr) == (0, "")
    *progress, last = first.stdout.splitlines()
    for package in (
        "stream_processor.clean",
        "stream_processor.features",
        "models.compiled",
        "models.selections",
    ):
        for name in find(package):
            assert any(line.endswith(f" {name}") for line in progress)
    folder = Path(last.rpartition(" ")[2])
    assert folder.is_relative_to(tmp_path)
    held = {path: path.stat().st_mtime_ns for path in folder.rglob("*.nb?")}
    assert held
    assert streamgauge("compile-kernels", STREAMGAUGE_CACHE_DIR=str(tmp_path)).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.nb?")} == held
    monkeypatch.setenv("STREAMGAUGE_CACHE_DIR", str(tmp_path))
    text = (ROOT / "examples" / "pumps.toml").read_text(encoding="utf-8")
    parts = text[text.index("[channels") : text.index("[serve]")]
    source = '[[source]]\nuse = "http"\ndevice = "field:device"\n'
    with service(tmp_path / "service", source + parts) as running:
        rows = [
            {"device": "pump-1", "time": 1_772_366_400 + k, "power": 3, "temperature": value}
            for k, value in enumerate([60] * 100 + [999] + [60] * 99)
        ]
        assert httpx.post(f"{running.url}/v1/readings", json=rows, timeout=60).status_code == 202
        running.wait_admitted(200)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.nb?")} == held


def test_every_module_imports_without_a_warning() -> None:
    """Under `python -W error`, in a process of its own."""
    names = [
        module.name
        for room in ROOMS
        for module in pkgutil.walk_packages(importlib.import_module(room).__path__, f"{room}.")
    ]
    assert len(names) > 80
    code = "import importlib\n" + "".join(f"importlib.import_module({n!r})\n" for n in names)
    # kafka-python's own on Python 3.11 and 3.12; nobody sees it unless asked for, as here.
    known = [f"ignore:{name}_text is deprecated:DeprecationWarning" for name in ("read", "open")]
    run = subprocess.run(
        [sys.executable, "-W", "error", "-W", known[0], "-W", known[1], "-c", code],
        capture_output=True, text=True, timeout=120, cwd=ROOT, check=False,
    )  # fmt: skip
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_a_reader_who_has_seen_enough_ends_it_quietly() -> None:
    """`streamgauge list | head -1` shows no traceback."""
    with subprocess.Popen(
        command("list"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


def test_a_replay_can_be_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends it with 130, as shells have it, and without a traceback."""
    config, data = tmp_path / "p.toml", tmp_path / "d.csv"
    config.write_text(
        "[tasks.t]\nkind = 'forecast'\ntarget = 'a'\nhorizons = ['1s']\n"
        "model = ['linear_model.LinearRegression']\n"
    )
    data.write_text("device,time,a\nx,2024-01-01T00:00:00Z,1\n")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Pipeline, "record", interrupted)
    assert main(["replay", str(config), str(data)]) == 130
