"""Histories of a fleet in virtual time: what happens to hosts, tokens and consumers, and what is promised all the same."""

import math
import random
import warnings
from collections import defaultdict
from contextlib import suppress
from itertools import pairwise

import anyio
import attrs
import httpx
from fleet_world import MINUTE, TOKEN, FleetApi, fleet_of, host, ids_of
from virtual_time import run_in_virtual_time

from greenapi_async import MemoryStore, StoreError

INTERVAL = 30.0
LENGTH = 45 * MINUTE
SETTLED = 20 * MINUTE  # Before the end: backoff, hanging requests and slow consumers are over by then.
HOSTS = 4
CONSUMERS = ("well", "slow", "fails", "fails halfway", "is cancelled", "drops")


@attrs.frozen(kw_only=True)
class History:
    """What happens; times are seconds since the beginning.

    Attributes:
        instances: the number of the host of each.
        posts: when a status of which instance shows up.
        troubles: from when to when a host does what: "503", "refuses" or "hangs".
        rotations: when the API takes another token of an instance, and how long after the program hears of it.
        absences: from when to when an instance is removed.
        deliveries: what the consumer of the n-th delivery does.
        crashes: when the process is killed.
        busy: from when to when the store is.
    """

    instances: tuple[int, ...]
    posts: tuple[tuple[float, int], ...]
    troubles: tuple[tuple[float, float, int, str], ...] = ()
    rotations: tuple[tuple[float, int, float], ...] = ()
    absences: tuple[tuple[float, float, int], ...] = ()
    deliveries: tuple[str, ...] = ()
    crashes: tuple[float, ...] = ()
    busy: tuple[tuple[float, float], ...] = ()
    slots: int = 3
    consumers: int = 2


def history_of(seed):
    """Return a history that is the same for a seed."""
    luck = random.Random(seed)
    count = luck.randint(1, 6)
    until = LENGTH - SETTLED

    def some(most, make):
        return tuple(make() for _ in range(luck.randint(0, most)))

    def spell(longest):
        begins = luck.uniform(0, until - longest)
        return begins, begins + luck.uniform(1, longest)

    number = lambda: luck.randrange(count)  # noqa: E731
    return History(
        instances=tuple(luck.randrange(HOSTS) for _ in range(count)),
        posts=tuple(
            sorted((float(luck.randrange(int(until))), number()) for _ in range(luck.randint(1, 30)))
        ),
        troubles=some(
            3, lambda: (*spell(6 * MINUTE), luck.randrange(HOSTS), luck.choice(["503", "refuses", "hangs"]))
        ),
        rotations=some(3, lambda: (luck.uniform(0, until - 200), number(), luck.uniform(-5, 200))),
        absences=some(4, lambda: (*spell(luck.choice([MINUTE, 8 * MINUTE])), number())),
        deliveries=tuple(luck.choice(CONSUMERS) for _ in range(luck.randint(0, 20))),
        crashes=some(2, lambda: luck.uniform(0, until)),
        busy=some(2, lambda: spell(4 * MINUTE)),
        slots=luck.choice([1, 2, 3, 10]),
        consumers=luck.randint(1, 3),
    )


class BusyStore(MemoryStore):
    """Is busy while a history says so."""

    def __init__(self, world):
        super().__init__()
        self.world = world

    async def load(self, scope):
        self._check()
        return await super().load(scope)

    async def unseen(self, scope, ids):
        self._check()
        return await super().unseen(scope, ids)

    async def record(self, scope, ids, checkpoint, now):
        self._check()
        await super().record(scope, ids, checkpoint, now)

    def _check(self):
        if any(begins <= self.world.passed() < ends for begins, ends in self.world.history.busy):
            raise StoreError("is locked", retryable=True)


class World(FleetApi):
    """Plays a history to a fleet, and keeps what its consumers handled, and how much was in memory at once."""

    def __init__(self, history):
        super().__init__(takes=0.1)
        self.history = history
        self.handled = defaultdict(list)
        self.interrupted = 0
        self.held = self.most_at_once = 0
        self.wanted = {}
        self._deliveries = iter(history.deliveries)
        self._fleet = None

    async def play(self):
        self.passed()
        store = BusyStore(self)
        for number, on in enumerate(self.history.instances):
            self.wanted[self._id(number)] = (TOKEN, host(on))

        async with anyio.create_task_group() as tasks:
            for at, number in self.history.posts:
                self.posts[self._id(number)].append((at, f"{number}-{len(self.posts[self._id(number)])}"))
            for spell in self.history.troubles:
                tasks.start_soon(self._trouble, *spell)
            for turn, rotation in enumerate(sorted(self.history.rotations)):
                tasks.start_soon(self._rotate, f"token-{turn}", *rotation)
            for absence in self.history.absences:
                tasks.start_soon(self._leave, *absence)
            for ends in (*sorted(self.history.crashes), LENGTH):
                await self._process(store, ends)
            tasks.cancel_scope.cancel()

    async def _process(self, store, ends):
        """Run one process until somebody kills it."""
        with anyio.move_on_after(ends - self.passed()):
            async with fleet_of(
                self, interval=INTERVAL, store=store, slots=self.history.slots
            ) as self._fleet:
                for id_instance in self.wanted:
                    self._add(id_instance)
                async with anyio.create_task_group() as tasks:
                    for _ in range(self.history.consumers):
                        tasks.start_soon(self._consume)

        self._fleet, self.held = None, 0

    async def _consume(self):
        async for batch in self._fleet:
            self.held += 1
            try:
                await self._deliver(batch, next(self._deliveries, "well"))
            finally:
                self.held -= 1

    async def _deliver(self, batch, how):
        id_instance, ids = batch.id_instance, ids_of(batch)
        if how == "drops":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                batch._dropped()
                batch._state = "ended"  # As the garbage collector would, whose time is not ours.
            return

        committed = False
        with suppress(ZeroDivisionError), anyio.move_on_after(20 if how == "is cancelled" else math.inf):
            async with batch:
                await anyio.sleep({"slow": 200.0, "is cancelled": 3600.0}.get(how, 0.5))
                if how == "fails halfway":
                    await batch.commit(batch.statuses[0])
                    self.handled[id_instance].append(ids[0])
                if how.startswith("fails"):
                    raise ZeroDivisionError
            committed = True

        if committed:
            self.handled[id_instance] += ids

    async def __call__(self, request):
        held = self.held + len(self._fleet._ready) if self._fleet else 0
        self.most_at_once = max(self.most_at_once, held + sum(self.under_way.values()) + 1)
        return await super().__call__(request)

    async def _trouble(self, begins, ends, on, kind):
        await anyio.sleep(begins)
        self.hosts[host(on)] = {"503": 503, "refuses": httpx.ConnectError("no"), "hangs": 3600.0}[kind]
        await anyio.sleep(ends - begins)
        self.hosts.pop(host(on), None)

    async def _rotate(self, token, at, number, heard_after):
        """Change a token; the program hears of it before, in the very moment, or when it was refused already."""
        await anyio.sleep(max(0.0, at + min(0.0, heard_after)))
        if heard_after < 0:
            self._hear(number, token)
            await anyio.sleep(-heard_after)
        self.tokens[self._id(number)] = token
        if heard_after >= 0:
            await anyio.sleep(heard_after)
            self._hear(number, token)

    def _hear(self, number, token):
        id_instance = self._id(number)
        newest = token >= self.wanted[id_instance][0] or self.wanted[id_instance][0] == TOKEN
        if newest:
            self.wanted[id_instance] = (token, self.wanted[id_instance][1])
        self._add(id_instance)

    async def _leave(self, begins, ends, number):
        await anyio.sleep(begins)
        if self._fleet is not None and self._fleet._state == "open":
            self._fleet.remove(number + 1)
        await anyio.sleep(ends - begins)
        self._add(self._id(number))

    def _add(self, id_instance):
        if self._fleet is not None and self._fleet._state == "open":
            token, api_url = self.wanted[id_instance]
            self._fleet.add(id_instance, token, api_url=api_url)

    @staticmethod
    def _id(number):
        return str(number + 1)


def play(history):
    """Return the world after a history."""
    world = World(history)
    run_in_virtual_time(world.play)
    return world


def broken_promises(history, world):
    """Return every promise that the fleet broke."""
    broken = []
    for id_instance, posts in world.posts.items():
        ids = [id_message for _, id_message in sorted(posts, key=lambda post: post[0])]
        handled = world.handled[id_instance]
        if sorted(handled) != sorted(ids):
            broken.append(f"{id_instance}: {ids} were posted, {handled} handled")
        elif [posted_at(world, id_instance, each) for each in handled] != sorted(at for at, _ in posts):
            broken.append(f"{id_instance}: out of order: {handled}")

    for number in range(len(history.instances)):
        polls = [at for at in world.requests[str(number + 1)] if at > LENGTH - SETTLED / 2]
        gaps = [later - earlier for earlier, later in pairwise(polls)]
        if len(polls) < SETTLED / 2 / INTERVAL * 0.8 or max(gaps) > 2 * INTERVAL:
            broken.append(f"instance {number + 1} is starved: {len(polls)} polls")

    if world.most_at_once > history.slots:
        broken.append(f"{world.most_at_once} in memory at once, with {history.slots} slots")

    return broken


def posted_at(world, id_instance, id_message):
    return next(at for at, each in world.posts[id_instance] if each == id_message)
