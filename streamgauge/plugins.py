"""A folder is a registry: the file's name is the plug-in's name in the configuration."""

import importlib
import inspect
import pkgutil
from types import ModuleType
from typing import Any

__all__ = ["UnknownPlugin", "find", "load", "names", "options"]


class UnknownPlugin(ValueError):
    """No plug-in of that name in the folder."""


def find(package: str) -> dict[str, ModuleType]:
    """Every plug-in of a package (`"ingest.codecs"`), by name, in alphabetical order."""
    return {name: importlib.import_module(f"{package}.{name}") for name in names(package)}


def load(package: str, name: str) -> ModuleType:
    """The plug-in of that name, or `UnknownPlugin` listing those there are."""
    known = names(package)
    if name not in known:
        raise UnknownPlugin(
            f"no {package.rpartition('.')[2]} named {name!r}; there are: {', '.join(known)}"
        )
    return importlib.import_module(f"{package}.{name}")


def names(package: str) -> list[str]:
    """Files of the folder; what begins with _ and folders inside are not plug-ins of it."""
    folder = importlib.import_module(package)
    return sorted(
        module.name
        for module in pkgutil.iter_modules(folder.__path__)
        if not module.ispkg and not module.name.startswith("_")
    )


def options(module: ModuleType, function: str = "build") -> dict[str, inspect.Parameter]:
    """The options a plug-in takes: the keyword-only parameters of its `build` or `open`."""
    signature: Any = inspect.signature(getattr(module, function))
    parameters = signature.parameters.values()
    return {p.name: p for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}
