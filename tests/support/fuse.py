"""A file system in memory that has neither locks, nor fsync, nor hard links: FUSE by hand, as root on Linux.

`python tests/support/fuse.py DIRECTORY` mounts and serves it until it is unmounted.
"""

import errno
import os
import stat
import struct
import subprocess
import sys
import time
from contextlib import suppress

_HEADER = struct.Struct("<IIQQIIII")
_ATTRIBUTES = struct.Struct("<6Q10I")
_LONG = 60  # Seconds that the kernel may remember.


class Node:
    """A file or a directory."""

    def __init__(self, mode):
        self.mode = mode
        self.data = bytearray()
        self.children = {}
        self.links = 1


class FileSystem:
    """Handles the kernel's requests; a method takes a node's number and the body, and returns the reply."""

    def __init__(self):
        self.nodes = {1: Node(stat.S_IFDIR | 0o755)}

    def serve(self, device):
        """Serve until it is unmounted."""
        while True:
            try:
                request = os.read(device, 2**18)
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return
                continue

            _, opcode, unique, node, *_ = _HEADER.unpack_from(request)
            handle = _HANDLERS.get(opcode, _unknown)
            if handle is None:
                continue

            try:
                code, reply = 0, handle(self, node, request[_HEADER.size :])
            except OSError as error:
                code, reply = -error.errno, b""
            with suppress(OSError):  # Whoever waited for it has gone.
                os.write(device, struct.pack("<IiQ", 16 + len(reply), code, unique) + reply)

    def init(self, _node, body):
        major, minor, readahead, _ = struct.unpack_from("<4I", body)
        flags = 1 << 10  # The kernel's own locks are not used.
        return struct.pack(
            "<4I2H2I2HI", major, min(minor, 31), readahead, flags, 8, 8, 2**17, 1, 0, 0, 0
        ) + bytes(28)

    def lookup(self, node, body):
        return self._entry(self._child(node, _name(body)))

    def getattr(self, node, _body):
        return struct.pack("<QII", 0, 0, 0) + self._attributes(node)

    def setattr(self, node, body):
        valid, _, _, size = struct.unpack_from("<IIQQ", body)
        if valid & 8:
            data = self.nodes[node].data
            del data[size:]
            data.extend(bytes(size - len(data)))
        return self.getattr(node, body)

    def mkdir(self, node, body):
        return self._entry(self._add(node, _name(body[8:]), stat.S_IFDIR | 0o755))

    def create(self, node, body):
        _, mode = struct.unpack_from("<II", body)
        return self._entry(self._add(node, _name(body[16:]), stat.S_IFREG | mode & 0o777)) + self.open(
            node, body
        )

    def unlink(self, node, body):
        number = self._child(node, _name(body))
        del self.nodes[node].children[_name(body)]
        self.nodes[number].links -= 1
        return b""

    def rename(self, node, body, skip=8):
        target = struct.unpack_from("<Q", body)[0]
        old, new = body[skip:].split(b"\0")[:2]
        self.nodes[target].children[new] = self.nodes[node].children.pop(old)
        return b""

    def rename2(self, node, body):
        return self.rename(node, body, 16)

    def open(self, _node, _body):
        return struct.pack("<QII", 0, 0, 0)

    def read(self, node, body):
        _, offset, size = struct.unpack_from("<QQI", body)
        return bytes(self.nodes[node].data[offset : offset + size])

    def write(self, node, body):
        _, offset, size = struct.unpack_from("<QQI", body)
        data = self.nodes[node].data
        data.extend(bytes(max(0, offset - len(data))))
        data[offset : offset + size] = body[40 : 40 + size]
        return struct.pack("<II", size, 0)

    def readdir(self, node, body):
        _, offset = struct.unpack_from("<QQ", body)
        entries = b""
        for place, (name, number) in enumerate(self.nodes[node].children.items()):
            if place >= offset and len(entries) < 2000:
                kind = self.nodes[number].mode >> 12
                entry = struct.pack("<QQII", number, place + 1, len(name), kind) + name
                entries += entry + bytes(-len(entry) % 8)
        return entries

    def fine(self, _node, _body):
        return b""

    def invalid(self, _node, _body):
        raise OSError(errno.EINVAL, "")

    def not_permitted(self, _node, _body):
        raise OSError(errno.EPERM, "")

    def _child(self, node, name):
        try:
            return self.nodes[node].children[name]
        except KeyError:
            raise OSError(errno.ENOENT, "") from None

    def _add(self, node, name, mode):
        number = max(self.nodes) + 1
        self.nodes[number] = Node(mode)
        self.nodes[node].children[name] = number
        return number

    def _entry(self, number):
        return struct.pack("<4Q2I", number, 0, 0, 0, 0, 0) + self._attributes(number)

    def _attributes(self, number):
        node, now = self.nodes[number], int(time.time())
        size = len(node.data)
        return _ATTRIBUTES.pack(
            number, size, -(-size // 512), now, now, now, 0, 0, 0, node.mode, node.links, 0, 0, 0, 4096, 0
        )


def _name(body):
    return body.partition(b"\0")[0]


def _unknown(_files, _node, _body):
    raise OSError(errno.ENOSYS, "")


_HANDLERS = {
    1: FileSystem.lookup,
    2: None,  # Forgotten: no reply is wanted.
    3: FileSystem.getattr,
    4: FileSystem.setattr,
    9: FileSystem.mkdir,
    10: FileSystem.unlink,
    11: FileSystem.unlink,
    12: FileSystem.rename,
    13: FileSystem.not_permitted,  # A hard link, as FAT says it.
    14: FileSystem.open,
    15: FileSystem.read,
    16: FileSystem.write,
    18: FileSystem.fine,
    20: FileSystem.invalid,  # fsync
    25: FileSystem.fine,
    26: FileSystem.init,
    27: FileSystem.open,
    28: FileSystem.readdir,
    29: FileSystem.fine,
    30: FileSystem.invalid,
    35: FileSystem.create,
    36: None,
    42: None,
    45: FileSystem.rename2,
}  # Locks are unknown: ENOSYS.


def main(directory):
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other"
    mounting = subprocess.Popen(
        ["mount", "--internal-only", "-t", "fuse", "-o", options, "tests", directory], pass_fds=[device]
    )
    if mounting.wait():
        sys.exit(1)
    print("mounted", flush=True)
    FileSystem().serve(device)


if __name__ == "__main__":
    main(sys.argv[1])
