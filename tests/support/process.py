"""What this process holds open."""

from pathlib import Path


def open_files():
    """Return the number of open files, sockets included."""
    return len(list(Path("/proc/self/fd").iterdir()))
