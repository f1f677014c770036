"""Redis servers of the tests' own on loopback: started, stopped, frozen and killed."""

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import anyio
import anyio.abc
import pytest
import redis as sync_redis
from redis.asyncio import Redis, RedisCluster

REQUIRED = (
    "GREENAPI_ASYNC_SERVERS_REQUIRED"  # Set where a missing server is a failure, and no reason to skip.
)
_LONG_ENOUGH = 60.0


def program(name):
    """Return the path of a server's program; a test is skipped where there is none."""
    found = shutil.which(name)
    if found is None:
        missing(name, "redis-server")

    return found


def missing(name, package):
    """Skip a test, or fail it."""
    says = f"no {name} here: apt-get install {package}"
    pytest.fail(says) if REQUIRED in os.environ else pytest.skip(says)


class Server:
    """A server in a directory, which keeps its port and its data when it is started again."""

    def __init__(
        self, directory, *options, name="redis-server", program_arguments=("--save", ""), has_slots=True
    ):
        self.port = free_port()
        self.directory = Path(directory)
        self.is_cluster = "--cluster-enabled" in options
        self._takes_slots = self.is_cluster and has_slots
        self._command = [program(name), *program_arguments, "--port", str(self.port), "--bind", "127.0.0.1"]
        self._command += ["--dir", str(directory), "--logfile", "log", *options]
        self._process = None

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, *options):
        """Start it, and wait until it has loaded what it kept."""
        self._process = subprocess.Popen([*self._command, *options], stdin=subprocess.DEVNULL)
        if self._takes_slots:
            self._take_every_slot()
        else:
            self._until(lambda server: server.ping())

    def _take_every_slot(self):
        def is_whole(server):
            if not int(server.execute_command("CLUSTER INFO")["cluster_slots_assigned"]):
                server.execute_command("CLUSTER ADDSLOTS", *range(16384))
            return server.execute_command("CLUSTER INFO")["cluster_state"] == "ok"

        self._until(is_whole)

    def _until(self, is_so):
        deadline = time.monotonic() + _LONG_ENOUGH
        while True:
            try:
                with self.admin() as server:
                    if is_so(server):
                        return
            except sync_redis.ConnectionError:
                pass
            assert self._process.poll() is None, (self.directory / "log").read_text()
            assert time.monotonic() < deadline, "too late"
            time.sleep(0.02)

    @contextmanager
    def admin(self):
        """Yield a client for what a test does to the server."""
        client = sync_redis.Redis(port=self.port, socket_timeout=_LONG_ENOUGH)
        try:
            yield client
        finally:
            client.close()

    def ask(self, *command):
        """Send one command."""
        with self.admin() as client:
            return client.execute_command(*command)

    def kill(self):
        """End it as a power cut does, as far as a process can."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @contextmanager
    def frozen(self):
        """Let it accept connections, and do nothing more."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)


@contextmanager
def running(directory, *options, **settings):
    """Run a server, and kill it in the end."""
    server = Server(directory, *options, **settings)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@contextmanager
def sentinel_of(primary, directory):
    """Run a sentinel that promotes a replica half a second after the primary, named `it`, has gone."""
    file = directory / "sentinel.conf"
    file.write_text(
        f"sentinel monitor it 127.0.0.1 {primary.port} 1\n"
        "sentinel down-after-milliseconds it 500\n"
        "sentinel failover-timeout it 3000\n"
    )
    server = Server(directory, program_arguments=(str(file), "--sentinel"))
    try:
        server.start()
        yield server
    finally:
        server.kill()


class Forwarder:
    """An address that leads to a server, and may lead to another one later."""

    is_cluster = False

    def __init__(self, target):
        self.target = target
        self.url = ""

    async def forward(self, stream):
        async with (
            stream,
            await anyio.connect_tcp("127.0.0.1", self.target) as there,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(self._pass_on, stream, there, tasks.cancel_scope)
            tasks.start_soon(self._pass_on, there, stream, tasks.cancel_scope)

    @staticmethod
    async def _pass_on(source, sink, scope):
        with suppress(anyio.BrokenResourceError):
            async for data in source:
                await sink.send(data)
        scope.cancel()


@asynccontextmanager
async def forwarder(port):
    """Forward connections to a port of this machine, or of what `target` names later."""
    address = Forwarder(port)
    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        here = listener.extra(anyio.abc.SocketAttribute.local_port)
        address.url = f"redis://127.0.0.1:{here}/0"
        tasks.start_soon(listener.serve, address.forward)
        yield address
        tasks.cancel_scope.cancel()


def client_of(server, **options):
    """Return the client that a reader would make."""
    if server.is_cluster:
        return RedisCluster(host="127.0.0.1", port=server.port, **options)

    return Redis.from_url(server.url, **options)


async def close(client):
    """Close a client and its connections; redis-py calls it `aclose` since 5.0.1, and closes all since then."""
    await (client.aclose() if hasattr(client, "aclose") else client.close())
    if not isinstance(client, RedisCluster):
        await client.connection_pool.disconnect()


def free_port():
    """Return a port that nobody has; a cluster's bus takes the one 10,000 above."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        if port < 55_000:
            return port
