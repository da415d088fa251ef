"""The key that signs pickled models: made at first start, outside the state folder."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

__all__ = ["key_file", "signing_key"]

LENGTH = 32


def key_file(env: Mapping[str, str]) -> Path:
    """STREAMGAUGE_KEY_FILE, else a file in the user's configuration folder."""
    named = env.get("STREAMGAUGE_KEY_FILE")
    if named:
        return Path(named)
    home = env.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "streamgauge" / "signing.key"


def signing_key(path: Path) -> bytes:
    """The key in that file, made (mode 0600) if there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        key = path.read_bytes()
        if len(key) < LENGTH:
            raise ValueError(
                f"{path}: {len(key)} bytes, a signing key has {LENGTH}; restore it from your "
                "backup, or delete it and move the state folder away"
            ) from None
        return key
    key = secrets.token_bytes(LENGTH)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key)
    return key
