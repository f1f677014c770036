"""What the examples of the documentation talk to: a GREEN-API, and behind a proxy the hosts that are not on loopback."""

import os
import signal
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import anyio
from loopback import connect_proxy

from greenapi_async.simulator import Fault, Response, Simulator, demo

_LOOKS = 30
_TLS = Path(__file__).parents[1] / "tls"


class World(Simulator):
    """A simulator whose files lie at https://media.example, with Telegram's Bot API beside it.

    Attributes:
        heard_at: when the last request came, by the monotonic clock.
        telegram: the paths of the requests to the Bot API, without the token.
    """

    def __init__(self):
        super().__init__(max_rate=None)
        self.heard_at = time.monotonic()
        self.telegram = []

    @property
    def origin(self):
        return "https://media.example"

    @property
    def port(self):
        return self._port

    def decide(self, request):
        self.heard_at = time.monotonic()
        if not request.path.startswith("/bot"):
            return super().decide(request)

        self.telegram.append(request.path.rpartition("/")[2])
        body = b'{"ok":true,"result":{}}'
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        return Response(200, headers, body), Fault()


@contextmanager
def world(*, posts=True):
    """Run a world in a thread of its own, with something to see; yields it and the variables that lead to it."""
    api, ready, over = World(), threading.Event(), threading.Event()
    variables = {
        "GREEN_API_ID_INSTANCE": api.id_instance,
        "GREEN_API_TOKEN_INSTANCE": api.token,
        "NO_PROXY": "",
        "no_proxy": "",
        "SSL_CERT_FILE": str(_TLS / "abroad.pem"),
        "TELEGRAM_BOT_TOKEN": "123456:made-up",
        "TELEGRAM_CHAT_ID": "1",
    }

    async def serve():
        async with api, connect_proxy(api.port, certificate="abroad") as proxy:
            variables.update(
                GREEN_API_URL=f"http://127.0.0.1:{api.port}", HTTPS_PROXY=proxy, https_proxy=proxy
            )
            if posts:
                await demo(api, every=0.0)
            ready.set()
            await anyio.to_thread.run_sync(over.wait)

    thread = threading.Thread(target=anyio.run, args=[serve])
    thread.start()
    ready.wait()
    try:
        yield api, variables
    finally:
        over.set()
        thread.join()


@contextmanager
def ctrl_c_when_idle(api):
    """Press Ctrl-C once nothing happens any more, as a reader ends a program that goes on for ever.

    Nothing happens where the main thread waits for events each time one looks, and no request came in between. Looks are
    counted, not seconds: on a machine with other work, both threads wait for their turn alike.
    """
    over, pressed = threading.Event(), threading.Event()
    turn = threading.Lock()

    def press():
        quiet, heard_at = 0, api.heard_at
        while quiet < _LOOKS and not over.wait(0.05):
            quiet = quiet + 1 if _main_thread_waits() and heard_at == api.heard_at else 0
            heard_at = api.heard_at

        with turn:
            if not over.is_set():
                pressed.set()
                os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    try:
        yield
        with turn:
            over.set()
    except KeyboardInterrupt:
        if not pressed.is_set():
            raise
    finally:
        over.set()
        thread.join()


def _main_thread_waits():
    frame = sys._current_frames()[threading.main_thread().ident]
    return frame.f_code.co_name in {"select", "get_events"}  # asyncio's and trio's.
