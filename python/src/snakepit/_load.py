"""From an adapter's name to its module and class.

Owns the forms `path/to/file.py`, `path/to/file.py:Class`, `package.module`,
`package.module:Class` and the original's `package.module.Class`. Reads no tools.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

from snakepit import _bridge_path
from snakepit._errors import StartError
from snakepit._native import nearest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType


def load(spec: str) -> tuple[ModuleType, type | None]:
    """Imports an adapter.

    Args:
        spec: The adapter's name.

    Returns:
        Its module, and the class if the name has one.

    Raises:
        StartError: If there is no such file, module or class.
    """
    place, _, class_name = spec.partition(":")
    if not place:
        raise StartError("import", f"adapter `{spec}` names no module", _FORMS)
    _bridge_path.offer()
    is_file = place.endswith(".py") or os.sep in place
    if not is_file and not class_name:
        place, class_name = _split_dotted(place)
    module = _load_file(place) if is_file else _load_module(place)
    return module, _find_class(module, class_name) if class_name else None


_FORMS = "give `package.module`, `path/to/file.py`, or either with `:Class`"


def _split_dotted(name: str) -> tuple[str, str]:
    """Splits `package.module.Class`, which is known by its capital, as the original is given it."""
    module, _, last = name.rpartition(".")
    if not module or not last[:1].isupper():
        return name, ""
    try:
        import_module(name)
    except ModuleNotFoundError as error:
        return (module, last) if error.name == name else (name, "")
    return name, ""


def _load_file(path: str) -> ModuleType:
    path = os.path.abspath(path)
    directory, file_name = os.path.split(path)
    if not os.path.isfile(path):
        raise StartError("import", f"there is no file {path}", _hint(file_name, _files(directory)))
    stem, extension = os.path.splitext(file_name)
    if extension != ".py" or not stem.isidentifier():
        raise StartError(
            "import", f"{path} cannot be imported", "an adapter's file is named like a module"
        )
    sys.path.insert(0, directory)
    loaded = sys.modules.get(stem)
    if loaded is not None and getattr(loaded, "__file__", None) != path:
        raise StartError(
            "import",
            f"{path} cannot be imported: a module named `{stem}` is loaded already",
            "give the adapter's file another name",
        )
    module = import_module(stem)
    if getattr(module, "__file__", None) != path:
        raise StartError(
            "import",
            f"{path} cannot be imported: `{stem}` is a module of the interpreter",
            "give the adapter's file another name",
        )
    return module


def _load_module(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        # A module that is missing inside the adapter is the adapter's own error.
        missing = error.name
        if missing is None or not (name == missing or name.startswith(missing + ".")):
            raise
        parent, _, last = missing.rpartition(".")
        where = f"package `{parent}`" if parent else "sys.path"
        help = _hint(last, _modules(parent)) or f"sys.path is {sys.path}"
        raise StartError("import", f"there is no module `{missing}` in {where}", help) from None


def _find_class(module: ModuleType, name: str) -> type:
    found = getattr(module, name, None)
    if isinstance(found, type):
        return found
    if found is not None:
        raise StartError("import", f"`{name}` of {module.__name__} is not a class", "")
    classes = [key for key, value in vars(module).items() if isinstance(value, type)]
    help = _hint(name, classes)
    if not help and classes:
        help = f"its classes are {', '.join(classes)}"
    raise StartError("import", f"module {module.__name__} has no class `{name}`", help)


def _hint(name: str, candidates: list[str]) -> str:
    near = nearest(name, candidates)
    return f"did you mean `{near}`?" if near else ""


def _files(directory: str) -> list[str]:
    try:
        return [name for name in os.listdir(directory) if name.endswith(".py")]
    except OSError:
        return []


def _modules(package: str) -> list[str]:
    parent = sys.modules.get(package) if package else None
    places: list[str] = list(parent.__path__) if parent is not None else sys.path
    names = [name for place in places for name in _entries(place or ".")]
    if not package:
        names += sys.stdlib_module_names
    return names


def _entries(directory: str) -> list[str]:
    try:
        entries = os.listdir(directory)
    except OSError:
        return []
    stems = [entry.removesuffix(".py") for entry in entries]
    return [stem for stem in stems if stem.isidentifier() and not stem.startswith("__")]
