"""Where the example programs forward statuses to: a webhook, and a Telegram Bot API, on loopback."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

_LONGEST = 4096  # Telegram's; the webhook has the same.
_CHAT = {"id": 7, "type": "private"}
_BOT = {"id": 1, "is_bot": True, "first_name": "Bot", "username": "bot"}


class _Downstream(BaseHTTPRequestHandler):
    """Takes what is posted, and refuses what is too long."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        http_code, content = self.respond(body)
        encoded = json.dumps(content).encode()
        self.send_response(http_code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    def take(self, text):
        if len(text) > _LONGEST:
            return False

        self.server.texts.append(text)
        return True

    def log_message(self, *_):
        """Say nothing."""


class Webhook(_Downstream):
    """Takes a status as JSON."""

    def respond(self, body):
        return (200, {}) if self.take(json.loads(body).get("textMessage", "")) else (413, {})


class BotApi(_Downstream):
    """Takes a message as Telegram does."""

    def respond(self, body):
        match self.path.rpartition("/")[2]:
            case "getMe":
                return 200, {"ok": True, "result": _BOT}
            case "getUpdates":
                time.sleep(0.1)
                updates, self.server.updates = self.server.updates, []
                return 200, {"ok": True, "result": updates}
            case "sendMessage":
                [text] = parse_qs(body.decode())["text"]
                if not self.take(text):
                    return 400, {
                        "ok": False,
                        "error_code": 400,
                        "description": "Bad Request: message is too long",
                    }

                return 200, {"ok": True, "result": {"message_id": 1, "date": 0, "chat": _CHAT, "text": text}}
            case _:
                return 200, {"ok": True, "result": True}


def command(text):
    """Return what Telegram tells a bot of a person who sent it a command."""
    entities = [{"type": "bot_command", "offset": 0, "length": len(text)}]
    message = {"message_id": 1, "date": 0, "chat": _CHAT, "text": text, "entities": entities}
    return {"update_id": 1, "message": message}


class _Server(ThreadingHTTPServer):
    """Keeps what arrives; whoever hangs up while it responds is a program that was ended."""

    daemon_threads = True

    def __init__(self, kind):
        super().__init__(("127.0.0.1", 0), kind)
        self.texts = []
        self.updates = []

    def handle_error(self, *_):
        """Say nothing."""


@contextmanager
def listening(kind):
    """Give an address, and the server, whose `texts` are what arrived."""
    server = _Server(kind)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
