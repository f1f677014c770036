"""A Redis that answers by the book of a test: for versions that no package has any more, and rare refusals."""

import asyncio
from contextlib import asynccontextmanager


@asynccontextmanager
async def old_redis(version, refusal="ERR unknown command"):
    """Listen as a server of that version, which refuses whatever is no greeting; yields the port."""

    async def serve(reader, writer):
        try:
            while header := await reader.readline():
                words = [await _word(reader) for _ in range(int(header[1:]))]
                writer.write(_reply(words, version, refusal))
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _word(reader):
    length = int((await reader.readline())[1:])
    return (await reader.readexactly(length + 2))[:-2]


def _reply(words, version, refusal):
    if words[0].upper() == b"INFO":
        text = f"# Server\r\nredis_version:{version}\r\n".encode()
        return b"$%d\r\n%s\r\n" % (len(text), text)

    if words[0].upper() == b"HELLO" and version.startswith("6"):
        return b"%1\r\n$6\r\nserver\r\n$5\r\nredis\r\n"

    return b"-%s\r\n" % refusal.encode()
