"""Churn a fleet over real sockets and a file: tokens that are renewed or wrong, handlers that fail, eight consumers.

`python tests/support/churn.py` takes a minute, `--quick` some seconds. It prints what was lost, repeated or out of order.
"""

import asyncio
import json
import logging
import random
import re
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import suppress
from email.utils import formatdate
from pathlib import Path

import attrs

from greenapi_async import Fleet

HOSTS = 8
CONSUMERS = 8
_REQUEST = re.compile(rb"GET /waInstance(\d+)/getIncomingStatuses/(\S+)\?minutes=(\d+) ")


@attrs.frozen(kw_only=True)
class Churn:
    """How much of everything there is.

    Attributes:
        rotations: of tokens, half of which the program hears of when the old one was refused already.
        wrong: instances that are added with a wrong token, and with the right one later.
        failing: handlers that fail.
        seconds: that statuses are posted for.
    """

    instances: int = 300
    rotations: int = 290
    wrong: int = 60
    failing: int = 53
    seconds: float = 40.0


QUICK = Churn(instances=60, rotations=58, wrong=12, failing=11, seconds=4.0)


class Api:
    """Instances with tokens and statuses, on ports of loopback."""

    def __init__(self):
        self.tokens = {}
        self.posts = defaultdict(list)

    async def serve(self, reader, writer):
        """Answer the requests of one connection."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                id_instance, token, _ = (part.decode() for part in _REQUEST.match(head).groups())
                code, body = self._respond(id_instance, token)
                writer.write(
                    b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nDate: %b\r\nContent-Length: %d\r\n\r\n%b"
                    % (code, formatdate(usegmt=True).encode(), len(body), body)
                )
        writer.close()

    def _respond(self, id_instance, token):
        if token != self.tokens[id_instance]:
            return 401, b""

        return 200, json.dumps(self.posts[id_instance]).encode()

    def post(self, id_instance, timestamp):
        number = len(self.posts[id_instance])
        self.posts[id_instance].append(
            {
                "idMessage": f"{id_instance}-{number:04}",
                "timestamp": timestamp,
                "typeMessage": "extendedTextMessage",
                "chatId": "1@c.us",
                "textMessage": "x",
            }
        )


class Run:
    """One fleet and its program, which hears of tokens, corrects them, and stumbles."""

    def __init__(self, plan, api, urls):
        self.plan = plan
        self.api = api
        self.handled = defaultdict(list)
        self.stumbles = plan.failing
        self.luck = random.Random(19)
        self.ids = [str(1101000000 + number) for number in range(plan.instances)]
        self.urls = {id_instance: urls[number % HOSTS] for number, id_instance in enumerate(self.ids)}
        self.api.tokens = dict.fromkeys(self.ids, "token-0")

    async def go(self, path):
        """Run it all over a store, until everything is handled."""
        async with Fleet(interval=1.0, store=path, slots=40) as self.fleet:
            for number, id_instance in enumerate(self.ids):
                self._add(id_instance, "wrong" if number < self.plan.wrong else "token-0")
            consumers = [asyncio.create_task(self._consume()) for _ in range(CONSUMERS)]
            await asyncio.gather(
                *map(self._rotate, range(1, self.plan.rotations + 1)),
                *map(self._correct, self.ids[: self.plan.wrong]),
                *map(self._post, self.ids),
            )
            for id_instance in self.ids:  # As a program does that sees `health`.
                if self.fleet.health[id_instance].state == "stopped":
                    self._add(id_instance, self.api.tokens[id_instance])
            await settle(self.api, self.handled)

        await asyncio.gather(*consumers)

    async def _consume(self):
        async for batch in self.fleet:
            with suppress(ZeroDivisionError):
                async with batch:
                    await asyncio.sleep(self.luck.uniform(0, 0.02))
                    falls = self.stumbles > 0 and self.luck.random() < 0.3
                    self.stumbles -= falls
                    1 / (not falls)
                    self.handled[batch.id_instance] += [status.id_message for status in batch.statuses]

    async def _rotate(self, number):
        await asyncio.sleep(self.luck.uniform(0, self.plan.seconds))
        id_instance = self.luck.choice(self.ids)
        self.api.tokens[id_instance] = f"token-{number}"
        await asyncio.sleep(self.luck.choice([0, self.luck.uniform(0, 3)]))
        self._add(id_instance, self.api.tokens[id_instance])

    async def _correct(self, id_instance):
        await asyncio.sleep(self.luck.uniform(1, self.plan.seconds / 2))
        self._add(id_instance, self.api.tokens[id_instance])

    async def _post(self, id_instance):
        for _ in range(self.luck.randint(1, 20)):
            await asyncio.sleep(self.luck.uniform(0, self.plan.seconds / 10))
            self.api.post(id_instance, int(time.time()))

    def _add(self, id_instance, token):
        self.fleet.add(id_instance, token, api_url=self.urls[id_instance])


async def churn(plan, path):
    """Return the run that is over, and all that went wrong."""
    api = Api()
    servers = [await asyncio.start_server(api.serve, "127.0.0.1", 0) for _ in range(HOSTS)]
    run = Run(plan, api, [f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}" for server in servers])
    await run.go(path)
    for server in servers:
        server.close()

    return run, list(wrongs(run.api, run.handled))


async def settle(api, handled):
    """Wait until everything is handled, or for a minute, and then for what may repeat."""
    for _ in range(600):
        await asyncio.sleep(0.1)
        if all(len(handled[each]) >= len(posts) for each, posts in api.posts.items()):
            break
    await asyncio.sleep(3)


def wrongs(api, handled):
    """Yield what was lost, repeated or out of order."""
    for id_instance, posts in api.posts.items():
        ids = [post["idMessage"] for post in posts]
        if lost := {*ids} - {*handled[id_instance]}:
            yield f"lost: {sorted(lost)}"
        if len(handled[id_instance]) > len({*handled[id_instance]}):
            yield f"repeated: {handled[id_instance]}"
        elif handled[id_instance] != sorted(handled[id_instance]):
            yield f"out of order: {handled[id_instance]}"


def main():
    plan = QUICK if "--quick" in sys.argv else Churn()
    logging.disable()
    with tempfile.TemporaryDirectory() as folder:
        run, wrong = asyncio.run(churn(plan, Path(folder, "seen.db")))

    posted, failed = sum(map(len, run.api.posts.values())), plan.failing - run.stumbles
    print(
        f"{posted} statuses of {plan.instances} instances; {plan.rotations} tokens renewed, {plan.wrong} wrong;"
    )
    print(f"{failed} handlers failed, {CONSUMERS} consumers: {len(wrong)} lost, repeated or out of order")
    sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
