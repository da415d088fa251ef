"""The project as a whole: what is pinned, installed, packed, documented and allowed."""

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import streamgauge

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("streamgauge", "ingest", "models", "monitoring", "stream_processor", "serving")
NOT_OURS = {"build", "dist", "state", "results", "__pycache__"}
"""Folders that running and building leave behind; so are those with a dot or .egg-info."""
REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)")


def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def _files() -> Iterator[Path]:
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [
            name
            for name in folders
            if name not in NOT_OURS
            and not name.endswith(".egg-info")
            and (name == ".ci" or not name.startswith("."))
        ]
        yield from (Path(folder) / name for name in names if name != ".env")


def _sources() -> list[Path]:
    return [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def _percentile(numbers: list[int], share: float) -> int:
    return sorted(numbers)[int(share * (len(numbers) - 1))]


def _same(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _pins() -> dict[str, list[str]]:
    pins: dict[str, list[str]] = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        requirement = line.partition(";")[0].strip()
        name, pinned, version = requirement.partition("==")
        assert pinned, f"constraints.txt: {line!r} pins no version; run scripts/pin"
        pins.setdefault(_same(name), []).append(version)
    return pins


def test_constraints_pin_everything_that_is_named() -> None:
    """Each dependency of the product, of its tests and of its build has an exact version."""
    project = _project()
    extras = project["project"]["optional-dependencies"]
    named = [
        *project["build-system"]["requires"],
        *project["project"]["dependencies"],
        *(one for extra in extras.values() for one in extra),
    ]
    # What the tests need includes every extra.
    named.remove(f"streamgauge[{','.join(name for name in extras if name != 'dev')}]")
    names = {_same(match[1]) for match in map(REQUIREMENT.match, named) if match}
    assert len(names) == len(named)
    assert names - set(_pins()) == set(), "run scripts/pin"


def test_constraints_pin_everything_that_is_installed() -> None:
    """Every library that ours bring along is pinned, at the version that these tests run with."""
    pins = _pins()
    seen: set[str] = set()
    waiting = [_same(_project()["project"]["name"])]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            library = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # for another platform, or an extra that nobody asked for
        if name != "streamgauge":
            assert library.version in pins.get(name, []), f"{name} {library.version}"
        needed = [line for line in library.requires or () if "extra ==" not in line]
        waiting += [_same(match[1]) for match in map(REQUIREMENT.match, needed) if match]
    assert len(seen) > len(_project()["project"]["dependencies"])


def test_top_level_names_belong_to_this_project_alone() -> None:
    """No other installed library has a package called models, serving or another of our rooms."""
    owners = importlib.metadata.packages_distributions()
    assert {room: set(owners[room]) for room in ROOMS} == {room: {"streamgauge"} for room in ROOMS}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the tree, so that the build leaves nothing behind here."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for room in ROOMS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / room, copy / room, ignore=ignored)
    build = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    target = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-c", build, target], cwd=copy, check=True, capture_output=True)
    (built,) = target.glob("*.whl")
    return built


def test_wheel_holds_every_file_of_every_room(wheel: Path) -> None:
    """Code, the type marker and the page are packed; tests, scripts and benchmarks are not."""
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    ours = {
        path.relative_to(ROOT).as_posix()
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == ours
    assert {"streamgauge/py.typed", "serving/cli.py", "serving/dashboard/index.html"} <= packed


def test_wheel_carries_licence_and_command(wheel: Path) -> None:
    """What is installed knows its licence, its Pythons and its one command."""
    with zipfile.ZipFile(wheel) as archive:
        (about,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        folder = about.rpartition("/")[0]
        metadata = archive.read(about).decode()
        commands = archive.read(f"{folder}/entry_points.txt").decode()
        assert archive.read(f"{folder}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    assert "License-Expression: BSD-3-Clause" in metadata
    assert "streamgauge = serving.cli:main" in commands


def test_version_is_the_same_everywhere() -> None:
    """pyproject.toml, the package and the newest release in CHANGELOG.md agree."""
    released = re.findall(r"^## \[(\d[^\]]*)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released[0] == streamgauge.__version__ == _project()["project"]["version"]


def test_imports_point_down() -> None:
    """The import contracts of pyproject.toml hold."""
    command = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run(
        [command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_files_stay_short() -> None:
    """Of the product's files, 95 in 100 have fewer than 300 lines."""
    lengths = {path: len(path.read_text().splitlines()) for path in _sources()}
    longest = sorted(lengths, key=lambda path: -lengths[path])[:5]
    assert _percentile(list(lengths.values()), 0.95) < 300, longest


def _lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = function.body[0]
    documented = ast.get_docstring(function) is not None
    docstring = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
    return (function.end_lineno or 0) - function.lineno + 1 - docstring


def test_functions_stay_short() -> None:
    """Of the product's functions, 95 in 100 have fewer than 30 lines beside their docstring."""
    lengths = {
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}": _lines(node)
        for path in _sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    longest = sorted(lengths, key=lambda name: -lengths[name])[:10]
    assert _percentile(list(lengths.values()), 0.95) < 30, longest


FORBIDDEN = {
    "a registry's address": (
        r"\b[p]ypi\.\w+|[p]ythonhosted\.|\b[r]egistry\.\w+\.\w+|[d]eb\.[d]ebian\."
    ),
    "where packages come from": r"--(?:extra-)?index-url|--find-links|--trusted-host",
    "a path of one machine": r"(?<![\w.])/(?:work|root|home|Users)/\w",
    "unfinished work": r"\b(?:TODO|FIXME|XXX)\b|raise NotImplemented(?:Error)?\b",
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_tree_is_free_of(what: str) -> None:
    """Nothing in the tree ties it to one machine or promises to be finished later."""
    pattern = re.compile(FORBIDDEN[what])
    found = []
    for path in _files():
        if path != Path(__file__).resolve():
            text = path.read_bytes().decode(errors="ignore")
            found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in pattern.finditer(text)]
    assert found == []


@pytest.mark.parametrize("what", FORBIDDEN)
def test_forbidden_words_would_be_found(what: str) -> None:
    """Each pattern still matches an example of what it forbids."""
    examples = {
        "a registry's address": "see pypi." + "example",
        "where packages come from": "pip install --find-" + "links=x y",
        "a path of one machine": "cd /ho" + "me/someone",
        "unfinished work": "# TO" + "DO: the rest",
    }
    assert re.search(FORBIDDEN[what], examples[what])


def test_exceptions_to_the_rules_give_their_reason() -> None:
    """A line that silences a checker names the rule and says why, there or in a comment above."""
    rule = r":\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*|\[[\w, -]+\]"
    silenced = re.compile(rf"#\s*(?:noqa|type:\s*ignore)(?P<rule>{rule})?(?P<why>.*)")
    bare = []
    for path in [*_sources(), *(ROOT / "tests").rglob("*.py")]:
        if path == Path(__file__).resolve():
            continue
        above = ""
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = silenced.search(line)
            reason = match and (match["why"].strip(" #-,;:") or above.lstrip().startswith("# "))
            if match and not (match["rule"] and reason):
                bare.append(f"{path.relative_to(ROOT)}:{number}")
            above = line
    assert bare == []


def _documented_commands() -> set[str]:
    readme = (ROOT / "README.md").read_text()
    blocks = re.findall(r"^```\w*\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    lines = [line.strip().removeprefix("$ ") for block in blocks for line in block.splitlines()]
    pattern = re.compile(r"(scripts/\w+|\.ci/run|streamgauge [a-z-]+)")
    return {match[1] for match in map(pattern.match, lines) if match}


def test_readme_shows_how_to_start_and_to_test() -> None:
    """The two commands that a newcomer needs are there."""
    assert {"scripts/demo", "scripts/test"} <= _documented_commands()


def test_commands_in_the_readme_exist() -> None:
    """Every script it shows can be run, every subcommand explains itself."""
    for command in sorted(_documented_commands()):
        if command.startswith("streamgauge "):
            program = Path(sys.executable).parent / "streamgauge"
            words = [str(program), command.split()[1], "--help"]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        else:
            assert os.access(ROOT / command, os.X_OK), command


@pytest.mark.parametrize("script", ["setup", "demo", "test", "lint", "bench", "pin", "../.ci/run"])
def test_scripts_are_valid_bash(script: str) -> None:
    """Each script parses, and stops at an unset variable."""
    path = ROOT / "scripts" / script
    subprocess.run(["bash", "-n", path], check=True)
    assert re.search(r"^set -e?uo pipefail$", path.read_text(), re.MULTILINE)
    assert os.access(path, os.X_OK)


def test_setup_does_nothing_twice() -> None:
    """A second start finds everything in place and says nothing."""
    if not (ROOT / ".venv/streamgauge-dev.stamp").exists():
        pytest.skip("this environment was not made by scripts/setup; run scripts/setup dev")
    done = subprocess.run(
        ["bash", "scripts/setup", "dev"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout + done.stderr == ""
