"""What older releases of a dependency do otherwise, for the session `lowest`."""

from importlib.metadata import version

ANYIO = tuple(int(part) for part in version("anyio").split(".")[:2])
