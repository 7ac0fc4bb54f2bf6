"""Short names that the book goes on using: ``salnb.plotting`` is ``salnb.notebook.plotting``, and so on.

Both names give the same module object, and nothing is imported before it is asked for.
"""

import sys
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

PACKAGE = __name__.partition(".")[0]
PLACES = {
    "claims": "notebook.claims",
    "plotting": "notebook.plotting",
    "sweeps": "experiments.training.sweeps",
    "tasks": "experiments.tasks",
}


class OldNames(MetaPathFinder, Loader):
    """Finds the module of its new name under its old name, submodules included."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        package, first, *inner = [*name.split("."), ""]
        if package != PACKAGE or first not in PLACES:
            return None
        return ModuleSpec(name, self, loader_state=".".join((PACKAGE, PLACES[first], *inner)).rstrip("."))

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(spec.loader_state)
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = module.__spec__.loader_state  # the import system has just replaced it by the one of the old name


sys.meta_path.insert(0, OldNames())


def import_on_demand(name: str) -> ModuleType:
    """The module behind an attribute of the package that is not imported yet."""
    if name in (*PLACES, "experiments"):
        return import_module(f"{PACKAGE}.{name}")
    raise AttributeError(f"module {PACKAGE!r} has no attribute {name!r}")
