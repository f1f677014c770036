"""What the operating system refuses, and whether waiting may help: one table for stores and downloads."""

import errno
import os
from contextlib import ExitStack
from typing import Final

# A failing disk (EIO) is not among them: after a failed fsync the next one says that all is well, and what was written
# may be gone.
_MAY_PASS: Final = frozenset(
    {
        *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG),  # Somebody makes room, or raises a limit.
        *(errno.EBUSY, errno.EAGAIN, errno.EINTR),  # Somebody else is using it.
        *(errno.EMFILE, errno.ENFILE, errno.ENOMEM),  # The process or the machine has too much at once.
        *(
            errno.ESTALE,
            errno.ETIMEDOUT,
            errno.EHOSTDOWN,
            errno.EHOSTUNREACH,
            errno.ENETDOWN,
            errno.ENETUNREACH,
        ),
    }  # A network drive that is away.
)
_SHARED: Final = frozenset({32, 33})  # Windows: another program, a virus scanner for example, has opened it.


def may_pass(error: OSError) -> bool:
    """Return whether the same may be admitted later, although nobody changes what was requested."""
    return error.errno in _MAY_PASS or getattr(error, "winerror", None) in _SHARED


def check_open_files(count: int) -> None:
    """Raise `OSError` where the process may not open so many files more, for a library that would not tell the reason."""
    with ExitStack() as stack:
        for _ in range(count):
            stack.callback(os.close, os.open(os.devnull, os.O_RDONLY))
