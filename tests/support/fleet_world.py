"""GREEN-API as a fleet sees it: many instances on many hosts, as the handler of an httpx transport."""

import re
from collections import defaultdict
from email.utils import formatdate

import anyio
import httpx

from greenapi_async import Fleet

EPOCH = 1_800_000_000.0
MINUTE = 60.0
TOKEN = "d75b3a66374942c5b3c019c698abc2067e151558acbd412345"
_PATH = re.compile(r"/waInstance(\d+)/getIncomingStatuses/([^?]+)\?minutes=(\d+)")


def host(number):
    return f"https://{number}.api.green-api.com"


class FleetApi:
    """Instances, each with its token and its statuses, on hosts that may fail, hang or refuse.

    Attributes:
        hosts: what a host does instead of responding: an exception to raise, an HTTP code, or seconds to take.
        tokens: the right one of each instance, where it is not the usual one.
        posts: the statuses of each instance, as pairs of seconds since the beginning and an id.
        requests: when each instance was polled, in seconds since the beginning.
    """

    def __init__(self, *, takes=0.0):
        self.takes = takes
        self.began = None
        self.hosts = {}
        self.tokens = {}
        self.posts = defaultdict(list)
        self.requests = defaultdict(list)
        self.under_way = defaultdict(int)
        self.busiest = defaultdict(int)

    def passed(self):
        """Return the seconds since the first look at the clock."""
        if self.began is None:
            self.began = anyio.current_time()
        return anyio.current_time() - self.began

    def now(self):
        return EPOCH + self.passed()

    def post(self, id_instance, id_message):
        """Let a status show up now."""
        self.posts[str(id_instance)].append((self.passed(), id_message))

    async def __call__(self, request):
        id_instance, token, minutes = _PATH.search(request.url.raw_path.decode()).groups()
        name = f"{request.url.scheme}://{request.url.host}"
        self.requests[id_instance].append(self.passed())
        self.under_way[name] += 1
        self.busiest[name] = max(self.busiest[name], self.under_way[name])
        try:
            return await self._respond(name, id_instance, token, int(minutes))
        finally:
            self.under_way[name] -= 1

    async def _respond(self, name, id_instance, token, minutes):
        does = self.hosts.get(name)
        if isinstance(does, Exception):
            raise does
        if isinstance(does, float):
            await anyio.sleep(does)
        if isinstance(does, int):
            return httpx.Response(does)
        if token != self.tokens.get(id_instance, TOKEN):
            return httpx.Response(401)

        await anyio.sleep(self.takes)
        since = self.passed() - minutes * MINUTE
        items = [
            {
                "idMessage": id_message,
                "timestamp": int(EPOCH + at),
                "typeMessage": "extendedTextMessage",
                "chatId": "1@c.us",
                "textMessage": id_message,
            }
            for at, id_message in self.posts[id_instance]
            if since <= at <= self.passed()
        ]
        return httpx.Response(200, json=items, headers={"Date": formatdate(self.now(), usegmt=True)})


def fleet_of(api, **settings):
    """A fleet of that API; its instances poll every 50 ms unless told otherwise."""
    usual = {"interval": 0.05, "api_url": host(1101), "max_rate": None, "clock": api.now}
    api.passed()
    client = httpx.AsyncClient(transport=httpx.MockTransport(api))
    return Fleet(http_client=client, **usual | settings)


def ids_of(batch):
    return [status.id_message for status in batch.statuses]
