"""Short names of modules that the book uses: ``salnb.plotting`` is ``salnb.notebook.plotting``, and so on.

Both names give the same module object. A module is imported only when one of its names is used.
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
    """Imports a module, or a submodule of it, by its short name."""

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
        module.__spec__ = module.__spec__.loader_state  # the import system has replaced it by that of the short name


sys.meta_path.insert(0, OldNames())


ROOMS = ("experiments", "representations")  # rooms that ``import salnb`` does not load


def import_on_demand(name: str) -> ModuleType:
    """Imports the module that has this name in the package, when the name is first used."""
    if name in (*PLACES, *ROOMS):
        return import_module(f"{PACKAGE}.{name}")
    raise AttributeError(f"module {PACKAGE!r} has no attribute {name!r}")
