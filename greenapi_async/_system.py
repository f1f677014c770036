"""Errors of the operating system, and whether waiting may help: one table for stores and downloads."""

import errno
import os
from contextlib import ExitStack
from typing import Final

# A failing disk (EIO) is not among them: after a failed fsync the next one says that all is well, and what was written
# may be gone.
_MAY_PASS: Final = frozenset(
    {
        *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG),  # Somebody may free space, or raise a limit.
        *(errno.EBUSY, errno.EAGAIN, errno.EINTR),  # Somebody else is using it.
        *(errno.EMFILE, errno.ENFILE, errno.ENOMEM),  # The process or the machine is overloaded.
        # A network drive is unreachable.
        *(errno.ESTALE, errno.ETIMEDOUT),
        *(errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH),
    }
)
_SHARED: Final = frozenset({32, 33})  # Windows: another program, a virus scanner for example, has opened it.


def may_pass(error: OSError) -> bool:
    """Return whether the same operation may succeed later without any change to it."""
    return error.errno in _MAY_PASS or getattr(error, "winerror", None) in _SHARED


def check_open_files(count: int) -> None:
    """Raise `OSError` if the process cannot open that many more files; some libraries would not give that reason."""
    with ExitStack() as stack:
        for _ in range(count):
            stack.callback(os.close, os.open(os.devnull, os.O_RDONLY))
