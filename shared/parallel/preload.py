"""Imported by the fork server when it starts: it imports the modules that the environment variable LIBRARIES lists."""

import os
from contextlib import suppress
from importlib import import_module

LIBRARIES = "FOAL_FORK_SERVER_LIBRARIES"

for _name in filter(None, os.environ.pop(LIBRARIES, "").split(",")):
    # A module that cannot be imported, for whatever reason, is reported by the worker that needs it.
    with suppress(Exception):
        import_module(_name)
