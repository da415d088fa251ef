"""References to the environment, and secrets that do not belong in a file."""

import re
from collections.abc import Mapping
from typing import Any

from stream_processor.settings.document import KeyPath
from stream_processor.settings.problems import Findings, is_secret

__all__ = ["REFERENCE", "refuse_secrets", "resolve"]

REFERENCE = re.compile(r"\$\{([^}]*)\}")


def resolve(
    value: Any, env: Mapping[str, str], path: KeyPath, findings: Findings, *, spare: str = ""
) -> Any:
    """`value` with every `${NAME}` in its texts replaced; names that are not set become problems.

    Below the top-level key `spare` a name that is not set stands for empty text.
    """
    if isinstance(value, dict):
        return {k: resolve(v, env, (*path, k), findings, spare=spare) for k, v in value.items()}
    if isinstance(value, list):
        return [resolve(v, env, (*path, i), findings, spare=spare) for i, v in enumerate(value)]
    if not isinstance(value, str):
        return value

    def replaced(reference: re.Match[str]) -> str:
        name = reference[1]
        if name not in env and path[:1] != (spare,):
            findings.add(
                path,
                f"the environment has no {name!r}",
                f"set it before starting, for example: export {name or 'NAME'}=...",
            )
        return env.get(name, "")

    return REFERENCE.sub(replaced, value)


def refuse_secrets(value: Any, path: KeyPath, findings: Findings) -> None:
    """Note every secret that is written out; a file is copied, committed and shown."""
    if isinstance(value, dict):
        for key, item in value.items():
            refuse_secrets(item, (*path, key), findings)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            refuse_secrets(item, (*path, i), findings)
    elif isinstance(value, str) and is_secret(value, path):
        word = next((part for part in reversed(path) if isinstance(part, str)), "")
        name = f"STREAMGAUGE_{re.sub(r'[^A-Z0-9]+', '_', word.upper())}"
        findings.add(
            path, "a secret in the file", f'put it in the environment and write "${{{name}}}" here'
        )
