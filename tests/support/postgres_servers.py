"""A Postgres server of the tests' own on loopback; it refuses root, so root runs it as Debian's `postgres`."""

import os
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from redis_servers import free_port, missing

_LONG_ENOUGH = 60.0


@contextmanager
def running():
    """Run a server with an empty cluster; yields a URL."""
    tools = _tools()
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="postgres") as name:
        directory = Path(name)
        as_user = []
        if os.geteuid() == 0:
            shutil.chown(directory, "postgres")
            as_user = ["runuser", "-u", "postgres", "--"]
        initdb = [tools / "initdb", "-D", directory / "data", "-U", "tests", "-A", "trust", "--no-sync"]
        _run([*as_user, *initdb], directory)
        options = ["-p", str(port), "-k", str(directory), "-h", "127.0.0.1", "-c", "fsync=off"]
        process = subprocess.Popen(
            [*as_user, tools / "postgres", "-D", directory / "data", *options],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            deadline = time.monotonic() + _LONG_ENOUGH
            ready = [tools / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
            while subprocess.run(ready, check=False).returncode:
                assert process.poll() is None
                assert time.monotonic() < deadline, "too late"
                time.sleep(0.05)
            yield f"postgresql://tests@127.0.0.1:{port}/postgres"
        finally:
            stop = [tools / "pg_ctl", "-D", directory / "data", "-m", "immediate", "stop"]
            _run([*as_user, *stop], directory)
            process.wait()


def _run(command, directory):
    subprocess.run(command, check=True, cwd=directory, stdout=subprocess.DEVNULL)


def _tools():
    """Return where `initdb` and `postgres` are: Debian keeps them out of PATH."""
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return places[-1] if places else missing("postgres", "postgresql")
