"""The media server: whole files and ranges of them, without authentication."""

import hashlib
import re

import attrs

from greenapi_async.simulator._messages import HTML, Request, Response, response

_RANGE = re.compile(r"bytes=(?!-$)([0-9]*)-([0-9]*)")


@attrs.frozen(kw_only=True)
class Media:
    """A file that the simulator serves."""

    content: bytes
    content_type: str


def download(media: Media | None, request: Request, *, now: float) -> Response:
    """Answer a GET or a HEAD of a file: 200, 206 for a range, 416, or 404 where there is none.

    The answer to a HEAD still has the body that a GET would bring.
    """
    if media is None:
        return response(404, b"<h1>404 Not Found</h1>", content_type=HTML, now=now)

    if request.method not in ("GET", "HEAD"):
        return response(405, b"", content_type=HTML, now=now, extra=[("Allow", "GET, HEAD")])

    return _content(media, request, now=now)


def _content(media: Media, request: Request, *, now: float) -> Response:
    size = len(media.content)
    etag = f'"{hashlib.sha256(media.content).hexdigest()[:32]}"'
    extra = [("Accept-Ranges", "bytes"), ("ETag", etag)]
    asked = _RANGE.fullmatch(request.header("Range"))

    if asked is None or request.method == "HEAD" or request.header("If-Range") not in ("", etag):
        return response(200, media.content, content_type=media.content_type, now=now, extra=extra)

    start, stop = _bounds(asked[1], asked[2], size)

    if start >= stop:
        extra.append(("Content-Range", f"bytes */{size}"))
        return response(416, b"", content_type=media.content_type, now=now, extra=extra)

    extra.append(("Content-Range", f"bytes {start}-{stop - 1}/{size}"))
    part = media.content[start:stop]
    return response(206, part, content_type=media.content_type, now=now, extra=extra)


def _bounds(first: str, last: str, size: int) -> tuple[int, int]:
    if not first:
        return max(0, size - int(last)), size

    return int(first), min(size, int(last) + 1) if last else size
