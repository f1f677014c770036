"""The media server: files and byte ranges, without authentication."""

import hashlib
import re

import attrs

from greenapi_async.simulator._messages import HTML, Request, Response, build_response

_RANGE = re.compile(r"bytes=(?!-$)([0-9]*)-([0-9]*)")


@attrs.frozen(kw_only=True)
class Media:
    """A file that the simulator serves.

    Attributes:
        content: the bytes of the file.
        content_type: its Content-Type.
        since: when it appears, by the simulator's clock; 404 until then.
    """

    content: bytes
    content_type: str
    since: float = 0.0


def download(media: Media | None, request: Request, *, now: float) -> Response:
    """Return the response to a GET or HEAD of a file: 200, 206 for a range, 416, or 404 if there is none.

    The response to a HEAD still has the body that a GET would have.
    """
    if media is None or now < media.since:
        return build_response(404, b"<h1>404 Not Found</h1>", content_type=HTML, now=now)

    if request.method not in ("GET", "HEAD"):
        return build_response(405, b"", content_type=HTML, now=now, extra=[("Allow", "GET, HEAD")])

    return _content(media, request, now=now)


def _content(media: Media, request: Request, *, now: float) -> Response:
    size = len(media.content)
    etag = f'"{hashlib.sha256(media.content).hexdigest()[:32]}"'
    extra = [("Accept-Ranges", "bytes"), ("ETag", etag)]
    requested = _RANGE.fullmatch(request.header("Range"))

    if requested is None or request.method == "HEAD" or request.header("If-Range") not in ("", etag):
        return build_response(200, media.content, content_type=media.content_type, now=now, extra=extra)

    start, stop = _bounds(requested[1], requested[2], size)

    if start >= stop:
        extra.append(("Content-Range", f"bytes */{size}"))
        return build_response(416, b"", content_type=media.content_type, now=now, extra=extra)

    extra.append(("Content-Range", f"bytes {start}-{stop - 1}/{size}"))
    part = media.content[start:stop]
    return build_response(206, part, content_type=media.content_type, now=now, extra=extra)


def _bounds(first: str, last: str, size: int) -> tuple[int, int]:
    if not first:
        return max(0, size - int(last)), size

    return int(first), min(size, int(last) + 1) if last else size
