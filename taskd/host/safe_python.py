"""How taskd starts Python for its own programs: nothing is imported from the working directory.

``python -m`` and ``python -c`` put the working directory first on ``sys.path``.  Where others may write
there, a file that they name ``logging.py`` runs as the user of the next program that starts.  Python 3.11 has
``-P`` against that, 3.10 has nothing, and the Python of another virtualenv may be either.  So the directory
is taken off before anything is imported: only modules that are built in are there by then.  ``resolve`` puts
the directory of the user's code back, for the user's code.

Not the variable PYTHONSAFEPATH: what tasks start would inherit it.
"""

from __future__ import annotations

import os
import sys

from taskd import __version__

# Another virtualenv's Python may lack taskd, and then nothing of taskd's is there to say so.
_START = f"""\
import sys; sys.path[:] = [place for place in sys.path if place]; del sys.argv[0]
try:
    import taskd
except ModuleNotFoundError:
    sys.stderr.write(sys.executable + " does not have taskd, which an interpreter needs, too; ")
    sys.stderr.write("install taskd {__version__} with " + sys.executable + " -m pip\\n")
    sys.exit({os.EX_CONFIG})
import runpy; runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)
"""


def module_command(module: str, *arguments: str, python: str = "") -> tuple[str, ...]:
    """Return the command that runs a module of taskd as a program; ``python`` empty takes this Python."""
    return (python or sys.executable, "-c", _START, module, *arguments)
