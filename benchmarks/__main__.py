"""`scripts/bench [NAME ...]`: run the benchmarks, print a table each, write JSON."""

import argparse
import json
import platform
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from streamgauge.plugins import find

RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Run the benchmarks that were named, all of them by default."""
    known = {name: module for name, module in find("benchmarks").items() if hasattr(module, "run")}
    parser = argparse.ArgumentParser(prog="scripts/bench")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(known)}")
    chosen = parser.parse_args().names or list(known)
    if unknown := sorted(set(chosen) - set(known)):
        print(f"no benchmark named {', '.join(unknown)}; there are {', '.join(known)}")
        return 2
    console = Console()
    RESULTS.mkdir(exist_ok=True)
    for name in chosen:
        purpose = (known[name].__doc__ or "").strip()
        console.print(f"\n[bold]{name}[/bold]: {purpose}", highlight=False)
        rows: list[dict[str, Any]] = known[name].run()
        _show(rows, console)
        facts = {"python": platform.python_version(), "machine": platform.machine()}
        text = json.dumps({"benchmark": name, **facts, "rows": rows}, indent=2)
        (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    return 0


def _show(rows: list[dict[str, Any]], console: Console) -> None:
    table = Table()
    for heading in rows[0] if rows else ():
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*(_text(value) for value in row.values()))
    console.print(table)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}" if abs(value) >= 0.01 or value == 0 else f"{value:.1e}"
    return f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    sys.exit(main())
