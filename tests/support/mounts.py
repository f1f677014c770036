"""File systems of their own, for those who may mount them."""

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(directory, *arguments):
    """Mount at a directory; skip the test where that is not allowed."""
    try:
        subprocess.run(["mount", *arguments, directory], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("nothing can be mounted here")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)


def tmpfs(directory, size):
    """Mount a file system in memory that is `size` bytes large."""
    return mounted(directory, "-t", "tmpfs", "-o", f"size={size}", "tmpfs")


@contextmanager
def lacking(directory):
    """Mount a file system without locks, fsync and hard links; skip the test where that cannot be done."""
    script = Path(__file__).with_name("fuse.py")
    with subprocess.Popen(
        [sys.executable, script, directory], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as server:
        if server.stdout.readline() != b"mounted\n":
            pytest.skip("no FUSE can be mounted here")
        try:
            yield directory
        finally:
            subprocess.run(["umount", "--lazy", directory], check=True)
            server.kill()


def fill(directory):
    """Leave no room, and return the file that takes it."""
    ballast = directory / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)) == 4096:
                pass
        except OSError:
            pass

    return ballast
