"""Lets Nuitka compile what is ours, and keep the libraries as bytecode.

Compiled as well they would take more than an hour, for nothing: what is slow in them is machine code already.
"""

from nuitka.plugins.PluginBase import NuitkaPluginBase

OURS = ("main", "app", "qido", "wado", "store", "index", "ahi", "db", "dicomweb", "datastore", "runtime")
COMPILED_ALWAYS = ("xmlrpc.server",)  # Nuitka insists on it; what tests need, and .venv may have, imports it


class LibrariesAsBytecode(NuitkaPluginBase):
    """Asked by Nuitka for each module."""

    plugin_name = "libraries-as-bytecode"

    def decideCompilation(self, module_name):
        """`bytecode`, or None for Nuitka to decide: what it makes itself, like `numpy-preLoad`, it must compile."""
        name = str(module_name)
        made_by_nuitka = name.startswith("__") or "-" in name
        left_to_nuitka = made_by_nuitka or name in COMPILED_ALWAYS or name.partition(".")[0] in OURS
        return None if left_to_nuitka else "bytecode"
