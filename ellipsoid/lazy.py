"""Packages whose public names load on first use, so that an import takes no longer than what it is for."""

import importlib
import sys
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any


class _LazyPackage(ModuleType):
    """Package that knows its public names before the modules that define them are loaded."""

    def __getattr__(self, name: str) -> Any:
        known = vars(self)
        if name in known.get("_modules", ()):
            return importlib.import_module(f"{self.__name__}.{name}")
        if name not in known.get("_homes", ()):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{self.__name__}.{known['_homes'][name]}"), name)
        known[name] = value
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        # The import of a module binds its name in the package. A function of the same name keeps the name.
        if not (isinstance(value, ModuleType) and name in vars(self)["_homes"]):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        special = (name for name in vars(self) if name.startswith("__"))
        return sorted({*special, *vars(self)["_homes"], *vars(self)["_modules"]})


def load_on_first_use(package: str, names: Mapping[str, Iterable[str]], modules: Iterable[str] = ()) -> None:
    """Let a package load its public names on first use.

    The package states the same names once more for type checkers, as imports under ``TYPE_CHECKING``.

    Parameters
    ----------
    package : str
        Name of the package, which is being imported.
    names : mapping of str to sequence of str
        Public names by the module in the package that defines them.
    modules : sequence of str
        Modules of the package that are public themselves.
    """
    module = sys.modules[package]
    homes = {name: home for home, defined in names.items() for name in defined}
    vars(module).update(_homes=homes, _modules=frozenset(modules))
    vars(module)["__all__"] = sorted(name for name in homes if not name.startswith("_"))
    module.__class__ = _LazyPackage
