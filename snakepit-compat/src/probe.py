# Printed by the interpreter about itself. Written so that Python 2 gets as far as its version.
import json
import sys
import sysconfig

# "-c" puts the working directory first; a folder there that happens to be called snakepit is not
# the worker package.
sys.path[:] = [entry for entry in sys.path if entry]

worker_package = None
try:
    from importlib.util import find_spec

    spec = find_spec("snakepit")
    # A namespace package has no origin: any folder called snakepit looks like one.
    if spec is not None and spec.origin is not None and spec.submodule_search_locations:
        worker_package = list(spec.submodule_search_locations)[0]
except Exception:
    pass

executable = sys.executable or None
print(
    "\nsnakepit-probe:"
    + json.dumps(
        {
            "version": list(sys.version_info[:3]),
            "implementation": getattr(getattr(sys, "implementation", None), "name", "cpython"),
            "executable": executable,
            "base_executable": getattr(sys, "_base_executable", None) or executable,
            "prefix": sys.prefix,
            "base_prefix": getattr(sys, "base_prefix", sys.prefix),
            "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
            "gil_enabled": getattr(sys, "_is_gil_enabled", lambda: True)(),
            "soabi": sysconfig.get_config_var("SOABI"),
            "platform": sysconfig.get_platform(),
            "worker_package": worker_package,
        }
    )
)
