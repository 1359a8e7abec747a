"""Packages that can be called: `foal.train` is a package and, as a name of the public API, a function."""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


def make_callable(package: str, module: str) -> None:
    """Let a call of a package call the function of the same name in one of its modules, imported at the first call.

    Args:
        package: full name of the package, its `__name__`.
        module: name of the module in the package.
    """
    name = package.rpartition(".")[2]

    class CallablePackage(ModuleType):
        def __call__(self, *args: Any, **options: Any) -> Any:
            return getattr(import_module(f".{module}", package), name)(*args, **options)

    sys.modules[package].__class__ = CallablePackage
