"""A store in Redis or Valkey for any number of machines, able to append each status to a stream once."""

import hashlib
import logging
import math
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import anyio

from greenapi_async._decoding.statuses import dumps, to_dict
from greenapi_async.errors import ConfigurationError, StoreError
from greenapi_async.models import Status
from greenapi_async.stores.base import Checkpoint

if TYPE_CHECKING:
    from redis.asyncio import Redis, RedisCluster

    from greenapi_async.fleet import InstanceBatch
    from greenapi_async.poller import Batch

# Ids and checkpoint share one sorted set: eviction, or losing the end of the append-only file, loses both or neither.
# Reads come first, then the writes that may be refused, for which those of nobody stand in: a script that fails midway
# is not rolled back. An entry is written before its id, and ids before the checkpoint: if the file ends inside a script,
# some versions replay its beginning.
_RECORD: Final = """
local instance, stream = KEYS[1], KEYS[2]
local now, checkpoint, scope, maxlen = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local step = stream and 2 or 1
local before = redis.call('ZRANGEBYSCORE', instance, '+inf', '+inf')
local new = {}
local nobody = '\254'
for i = 5, #ARGV, step do
    if not redis.call('ZSCORE', instance, ARGV[i]) then
        new[#new + 1] = i
    end
end
redis.call('ZADD', instance, 'XX', now, nobody)
redis.call('ZREM', instance, nobody)
for _, i in ipairs(stream and new or {}) do
    if maxlen ~= '' then
        redis.call('XADD', stream, 'MAXLEN', '~', maxlen, '*', 'instance', scope, '__data__', ARGV[i + 1])
    else
        redis.call('XADD', stream, '*', 'instance', scope, '__data__', ARGV[i + 1])
    end
end
for _, i in ipairs(new) do
    redis.call('ZADD', instance, 'NX', now, ARGV[i])
end
if checkpoint ~= '' then
    redis.call('ZADD', instance, '+inf', checkpoint)
    for _, each in ipairs(before) do
        if each ~= checkpoint then
            redis.call('ZREM', instance, each)
        end
    end
end
return #new
"""
_SHA1: Final = hashlib.sha1(_RECORD.encode(), usedforsecurity=False).hexdigest()
_CHECKPOINT: Final = b"\xff"  # No id begins so: it is no UTF-8.
_FORMAT: Final = "1"
_OLDEST: Final = (6, 2)  # ZMSCORE.
# Those without a class, or in 6.2.
_MAY_PASS: Final = re.compile(r"\b(OOM|READONLY|MISCONF|NOREPLICAS|BUSY|Script killed)\b")
_ONE_TAG: Final = 'give prefix and stream one hash tag, as in "{greenapi}:" and "{greenapi}:statuses"'
_A_CLUSTER: Final = "this is a node of a cluster: make the client as a RedisCluster"
_LOG_IN: Final = "give the client the password, as in redis://:password@host"
_ADVICE: Final = {
    "WRONGTYPE": "another program has keys of this prefix, or the stream's name",
    "unknown command": "Redis must be 6.2 or later",
    "can't run this command": "the account needs the commands that docs/en/how-to/many-machines.md lists",
    "MovedError": _A_CLUSTER,
    "MOVED": _A_CLUSTER,  # redis-py 5.
    "Cluster mode is not enabled": "make the client as a Redis, or let the account run CLUSTER",
    "invalid username-password": "check the password",
    "HELLO must be called": _LOG_IN,
    "Authentication required": _LOG_IN,
    "CrossSlot": _ONE_TAG,
    "same key slot": _ONE_TAG,  # RedisCluster itself raises this one.
}
_log = logging.getLogger("greenapi_async")


class RedisStore:
    """Keeps everything in Redis or Valkey, 6.2 or later; any number of processes and machines may share it. asyncio only.

    An instance is one sorted set, about 100 bytes per id. The server needs `maxmemory-policy noeviction` and
    `appendonly yes`: an instance that is evicted or lost starts over, and what a server loses in a crash comes again.

    Needs `pip install "greenapi-async[redis]"`.

    Args:
        client: a `redis.asyncio.Redis` or `RedisCluster` without `decode_responses`; it stays yours to close.
        prefix: the start of every key. Programs with the same prefix share the record of what was handled: if each
            needs every status, give each its own. In a cluster, `publish` needs a hash tag: `"{greenapi}:"`.
        timeout: seconds for one call of the store, which may connect and try again; then it raises StoreError.

    Raises:
        ConfigurationError: an argument is wrong; the message names it.
    """

    def __init__(
        self, client: "Redis | RedisCluster", *, prefix: str = "greenapi:", timeout: float = 10.0
    ) -> None:
        _check_client(client)
        if not _is_key(prefix):
            raise ConfigurationError("prefix must be a string, what the keys begin with")

        if not isinstance(timeout, int | float) or isinstance(timeout, bool) or not 0 < timeout < math.inf:
            raise ConfigurationError("timeout must be a positive number of seconds")

        self._client = client
        self._pool = getattr(client, "connection_pool", None)  # Each node of a cluster has its own.
        self._prefix = prefix
        self._timeout = timeout
        self._is_checked = False

    async def load(self, scope: str) -> Checkpoint | None:
        """Return the checkpoint last recorded, or None."""
        last = await self._command("ZRANGE", self._key(scope), -1, -1)
        if not last or not last[0].startswith(_CHECKPOINT):
            return None

        checkpoint = _read(last[0])
        if checkpoint is None:
            raise StoreError(
                f"Redis: the checkpoint in {self._key(scope)} is damaged, or a newer version's, and was left unchanged"
            )

        return checkpoint

    async def unseen(self, scope: str, ids: Iterable[str]) -> set[str]:
        """Return those of the ids that were never recorded."""
        given = list(dict.fromkeys(ids))
        if not given:
            return set()

        scores = await self._command("ZMSCORE", self._key(scope), *map(_member, given))
        return {id_ for id_, score in zip(given, scores, strict=True) if score is None}

    async def record(self, scope: str, ids: Iterable[str], checkpoint: Checkpoint | None, now: float) -> None:
        """Keep the ids and the checkpoint, in one script."""
        await self._script(
            [self._key(scope)], [repr(now), _written(checkpoint), scope, "", *map(_member, ids)]
        )

    async def forget(self, scope: str, before: float) -> None:
        """Drop the ids first seen before that server time."""
        await self._command("ZREMRANGEBYSCORE", self._key(scope), "-inf", f"({before!r}")

    async def publish(self, batch: "Batch | InstanceBatch", stream: str, *, maxlen: int | None = None) -> int:
        """Commit a batch and append its statuses to a stream: both or neither. Return how many were appended.

        What another worker has recorded in the meantime is not appended again, so the stream has every status once,
        however many workers poll an instance and whenever they die; the number is too low if a response from Redis was
        lost. An entry has the fields `instance` (the `id_instance`) and `__data__` (what `to_dict` returns, as JSON). Do
        not call `batch.commit` as well.

        Args:
            batch: from `StatusPoller.poll_once`, or from a `Fleet` that uses this store. Publish a fleet's batch inside
                its block, which then records nothing more on exit. Statuses committed earlier are not appended.
            stream: the key of the stream.
            maxlen: about how many entries to keep. Entries trimmed before they are read are lost; without it, trim the
                stream yourself.

        Raises:
            StoreError: Redis failed; if the error is `retryable`, call `publish` again. In a fleet, `publish` retries those
                itself, and any other failure ends the fleet.
            ConfigurationError: an argument is wrong, or the batch has another store.
            RuntimeError: the block of a fleet's batch has not begun, or has ended.
        """
        batch._begin_publishing(self)  # noqa: SLF001 - the batch's half of it, of no use without a store's.
        if not _is_key(stream) or stream in {"", self._key(batch.scope)}:
            raise ConfigurationError("stream must be a string, the key of a stream")

        if maxlen is not None and (
            not isinstance(maxlen, int) or isinstance(maxlen, bool) or not 0 < maxlen < 2**63
        ):
            raise ConfigurationError("maxlen must be an integer of 1 or more")

        items = {status.key: _json(status) for status in batch.statuses}
        appended = 0

        async def record(scope: str, ids: Iterable[str], checkpoint: Checkpoint | None, now: float) -> None:
            nonlocal appended
            entries = chain.from_iterable((_member(id_), items[id_]) for id_ in ids)
            bound = "" if maxlen is None else str(maxlen)
            keys = [self._key(scope), stream]
            appended = await self._script(keys, [repr(now), _written(checkpoint), scope, bound, *entries])

        await batch._commit_by(record)  # noqa: SLF001
        return appended

    async def aclose(self) -> None:
        """Do nothing: the caller closes the client."""

    def __repr__(self) -> str:
        return f"<RedisStore of {self._prefix!r}>"

    def _key(self, scope: str) -> str:
        return f"{self._prefix}{scope}"

    async def _command(self, *command: str | bytes | int) -> Any:
        """Send a command and return the response."""
        return await self._bounded(lambda: self._client.execute_command(*command))

    async def _script(self, keys: Sequence[str], arguments: Sequence[str | bytes]) -> int:
        """Run the script by its SHA-1, and send its source if the server has not cached it."""
        from redis.exceptions import NoScriptError

        async def run() -> Any:
            with suppress(NoScriptError):
                return await self._client.execute_command("EVALSHA", _SHA1, len(keys), *keys, *arguments)

            return await self._client.execute_command("EVAL", _RECORD, len(keys), *keys, *arguments)

        return int(await self._bounded(run))

    async def _bounded(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """Await a call within the store's timeout: the client's own may not cover a frozen server."""
        from redis.exceptions import ConnectionError as Disconnected
        from redis.exceptions import ReadOnlyError, RedisClusterException, RedisError

        try:
            with anyio.fail_after(self._timeout):
                if not self._is_checked:
                    await self._check()
                with suppress(Disconnected):  # Retry once: redis-py may not notice a dropped idle connection.
                    return await call()

                return await call()
        except TimeoutError:
            problem = StoreError(f"Redis did not respond within {self._timeout:g} seconds", retryable=True)
        except (RedisError, RedisClusterException, OSError) as error:
            problem = _problem(error)
            if isinstance(error, ReadOnlyError) or "READONLY" in str(error):
                await self._disconnect()
        except AttributeError:
            if self._pool is not None:
                raise

            # RedisCluster's own, while a slot moves to a node that it has not seen.
            problem = StoreError("Redis failed: the cluster is changing", retryable=True)

        raise problem

    async def _disconnect(self) -> None:
        """Close idle connections to a server that was demoted: its address may lead to another one now."""
        if self._pool is not None:
            with anyio.move_on_after(self._timeout):
                await self._pool.disconnect(inuse_connections=False)

    async def _check(self) -> None:
        """Look at the server before the first command: its version, and whether it may throw away what is kept."""
        if not _is_on_asyncio():
            raise StoreError("RedisStore works on asyncio only, and this is trio: use SQLiteStore there")

        from redis.exceptions import ResponseError

        try:
            server, memory = await self._client.info("server"), await self._client.info("memory")
        except ResponseError:
            server, memory = (
                {},
                {},
            )  # An account for a few commands only is a good idea; some hosts disable INFO.

        version = str(server.get("redis_version", "6.2"))
        if tuple(map(int, re.findall(r"\d+", version)[:2])) < _OLDEST:
            raise StoreError(f"Redis must be 6.2 or later, and the server is {version}: upgrade it")

        policy = str(memory.get("maxmemory_policy", ""))
        if policy.startswith("allkeys"):
            _log.warning(
                "Redis may evict what is stored (maxmemory-policy is %s), and statuses would come again: set noeviction",
                policy,
            )

        self._is_checked = True


def _check_client(client: object) -> None:
    try:
        from redis.asyncio import Redis, RedisCluster
    except ImportError:
        raise ConfigurationError(
            'RedisStore needs the package redis: pip install "greenapi-async[redis]"'
        ) from None

    if not isinstance(client, Redis | RedisCluster):
        raise ConfigurationError("client must be a redis.asyncio.Redis or redis.asyncio.RedisCluster")

    if client.get_encoder().decode_responses:
        raise ConfigurationError(
            "client must be made without decode_responses: ids are bytes that need not be UTF-8"
        )

    # A replica lags: what it does not know yet may be taken for a first run.
    if getattr(client, "read_from_replicas", False) or getattr(client, "load_balancing_strategy", None):
        raise ConfigurationError("client must be made without read_from_replicas and load_balancing_strategy")


def _is_key(value: object) -> bool:
    """Return whether it is text that UTF-8 can hold."""
    return isinstance(value, str) and not re.search("[\ud800-\udfff]", value)


def _is_on_asyncio() -> bool:
    import anyio.lowlevel

    token: object = anyio.lowlevel.current_token()
    return hasattr(getattr(token, "native_token", token), "call_soon_threadsafe")


def _member(id_: str) -> bytes:
    # The API's JSON can hold a lone surrogate, which UTF-8 cannot.
    return id_.encode("utf-8", "surrogatepass")


def _json(status: Status) -> bytes:
    # A lone surrogate again: Python's escape for it is also JSON's.
    return dumps(to_dict(status)).encode("utf-8", "backslashreplace")


def _written(checkpoint: Checkpoint | None) -> bytes:
    if checkpoint is None:
        return b""

    begins = "-" if checkpoint.begins is None else repr(checkpoint.begins)
    catching_up = str(int(checkpoint.catching_up))
    return _CHECKPOINT + " ".join([_FORMAT, catching_up, begins, *map(repr, checkpoint.marks)]).encode()


def _read(member: bytes) -> Checkpoint | None:
    """Return a checkpoint, or None where it is none."""
    try:
        version, catching_up, begins, *marks = member[1:].decode("ascii").split(" ")
        checkpoint = Checkpoint(
            marks=tuple(map(float, marks)),
            catching_up=bool(int(catching_up)),
            begins=None if begins == "-" else float(begins),
        )
    except ValueError:
        return None

    is_sound = version == _FORMAT and checkpoint.marks and all(map(math.isfinite, checkpoint.marks))
    return checkpoint if is_sound else None


def _problem(error: Exception) -> StoreError:
    """Return what is wrong with the server, and whether waiting may help."""
    from redis import exceptions as known

    refused = known.AuthenticationError | known.AuthorizationError
    passing = (
        *(known.ConnectionError, known.TimeoutError, known.ReadOnlyError, known.OutOfMemoryError),
        *(known.ClusterError, known.TryAgainError, known.AskError, known.RedisClusterException, OSError),
    )
    said = str(error) or type(error).__name__
    for wrong, advice in _ADVICE.items():
        if wrong in said or wrong in type(error).__name__:
            return StoreError(f"Redis failed: {said}: {advice}")

    retryable = not isinstance(error, refused) and (
        isinstance(error, passing) or bool(_MAY_PASS.search(said))
    )
    return StoreError(f"Redis failed: {said}", retryable=retryable)
