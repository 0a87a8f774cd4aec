"""What a plugin can change in the process, each as a line of code; the names are those of the core."""

from __future__ import annotations

__all__ = ["CHANGES"]

CHANGES = {
    "the environment": "import os; os.environ['A_NEW_VARIABLE'] = '1'; os.environ.pop('HOME', None)",
    "the working folder": "import os; os.chdir('/')",
    "the locale": "import locale; locale.setlocale(locale.LC_ALL, 'C' if locale.setlocale(locale.LC_ALL) != 'C' else 'C.UTF-8')",
    "the recursion limit": "import sys; sys.setrecursionlimit(5000)",
    "sys.path": "import sys; sys.path.insert(0, '/nowhere')",
    "the warning filters": "import warnings; warnings.simplefilter('ignore')",
    "warnings.showwarning": "import warnings; warnings.showwarning = print",
    "logging": "import logging; logging.basicConfig(level=logging.DEBUG)",
    "the state of the random module": "import random; random.seed(1)",
    "the state of numpy.random": "import numpy; numpy.random.seed(1)",
    "numpy's error handling": "import numpy; numpy.seterr(all='ignore')",
    "numpy's print options": "import numpy; numpy.set_printoptions(precision=2)",
    "signal handlers": "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)",
    "sys.stdout": "import io, sys; sys.stdout = io.StringIO()",
    "sys.stderr": "import io, sys; sys.stderr = io.StringIO()",
    "sys.excepthook": "import sys; sys.excepthook = print",
    "garbage collection": "import gc; gc.disable()",
    "the default timeout of sockets": "import socket; socket.setdefaulttimeout(1.0)",
}
