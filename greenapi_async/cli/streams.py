"""Standard output and error: every write is complete or raises, and a signal ends one that hangs."""

import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any, TextIO

import attrs


@contextmanager
def standard_streams() -> Iterator["list[Stream]"]:
    """Replace stdout and stderr with streams that write whole lines; one that the shell closed goes nowhere."""
    with ExitStack() as stack:
        nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123 - no file.
        streams = [Stream(sys.stdout or nowhere), Stream(sys.stderr or nowhere)]
        stack.enter_context(redirect_stdout(streams[0]))
        stack.enter_context(redirect_stderr(streams[1]))
        yield streams


@attrs.define(eq=False, slots=False)
class Stream(io.TextIOBase):
    """A text stream that writes each line in one piece, even to a non-blocking file.

    What cannot be written is kept, so that the next flush raises again.

    Attributes:
        is_stopped: whether a signal has come.
    """

    _stream: TextIO
    _pending: bytes = b""
    _is_writing: bool = False
    is_stopped: bool = attrs.field(default=False, init=False)

    @property
    def encoding(self) -> str:  # type: ignore[override] # typeshed has an attribute.
        """The stream's encoding; UTF-8 if it has none."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        """Write text, which is flushed at the end of its line."""
        mark = "".encode(self.encoding)  # For example UTF-16's, which would begin each line with it.
        encoded = text.replace("\n", os.linesep).encode(self.encoding, "backslashreplace")
        self._pending += encoded.removeprefix(mark)
        if "\n" in text:
            self.flush()

        return len(text)

    def flush(self) -> None:
        """Write what is pending.

        Raises:
            KeyboardInterrupt: a signal came before or meanwhile, and nobody reads.
            OSError: it cannot be written.
        """
        self._is_writing = True
        try:
            while self._pending:
                self._pending = self._pending[self._write_some() :]
        finally:
            self._is_writing = False

    def close(self) -> None:
        """Forget what could not be written; the stream beneath stays open."""
        self._pending = b""

    def stop(self) -> None:
        """Stop waiting for a reader: to be called by a signal handler."""
        self.is_stopped = True
        if self._is_writing:
            self._pending = b""
            raise KeyboardInterrupt

    def isatty(self) -> bool:
        """Return whether a person reads."""
        with suppress(AttributeError, TypeError, ValueError):
            return self._stream.isatty()

        return False

    def fileno(self) -> int:
        """Return the file descriptor; raises OSError if there is none."""
        with suppress(AttributeError, TypeError, ValueError):
            return self._stream.fileno()

        raise io.UnsupportedOperation("fileno")

    def _write_some(self) -> int:
        raw = _raw(self._stream)
        if raw is None:
            self._stream.write(self._pending.decode(self.encoding, "backslashreplace"))
            self._stream.flush()
            return len(self._pending)

        if self.is_stopped and not self._has_room(0.0):
            self._pending = b""
            raise KeyboardInterrupt

        written: int | None = raw.write(self._pending)
        if written is None:
            self._has_room(None)

        return written or 0

    def _has_room(self, seconds: float | None) -> bool:
        try:
            return bool(select.select([], [self], [], seconds)[1])
        except OSError:  # It is not a file, or not one that can be waited for.
            return True


def _raw(stream: Any) -> Any:
    """Return what writes bytes at once, without a buffer that could lose some; None if there is nothing."""
    buffer = getattr(stream, "buffer", None)
    return getattr(buffer, "raw", buffer)
