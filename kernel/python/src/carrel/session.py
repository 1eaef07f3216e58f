"""The end of a notebook's session: a kernel that ends in order, as on a restart from the menu, takes its tables with it; one that died leaves them."""

import atexit
import os
import sys


def register(ipython):
    """Only where the kernelspec says that the session is the kernel's own: elsewhere others may use the same engine."""
    if getattr(ipython, "kernel", None) is not None and os.environ.get("CARREL_SESSION") == "kernel":
        atexit.register(_forget)


def unregister():
    atexit.unregister(_forget)


def _forget():
    from .errors import CarrelError, Cancelled

    engine = sys.modules.get("carrel.engine")
    used = engine and engine.used()
    if used and used.pid == os.getpid() and used.address == os.environ.get("CARREL_ENGINE"):
        try:
            used.action("carrel.reset", timeout=2)
        except (CarrelError, Cancelled):
            pass
