"""GET /: the web page. Its files are in app/web; the process keeps them in memory."""

import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import HTMLResponse

FOLDER = Path(__file__).parent.parent / "web"

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
}
"""Served files and their media types, by suffix. The system's own table differs between machines."""

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}

router = APIRouter(tags=["Pages"])


class Asset(NamedTuple):
    """One file of the page."""

    body: bytes
    media_type: str
    etag: str


@router.get("/", summary="The web page", response_class=HTMLResponse, responses={304: {"description": "Not Modified"}})
async def page(request: Request) -> Response:
    return _respond(request, "index.html")


@router.get("/web/{name:path}", include_in_schema=False)
async def page_file(request: Request, name: str) -> Response:
    return _respond(request, name)


def _respond(request: Request, name: str) -> Response:
    """The file, or 304 if the browser has this version of it. Raises HTTPException 404."""
    asset = _assets().get(name)
    if asset is None:
        raise HTTPException(404)
    headers = {**HEADERS, "ETag": asset.etag}
    if asset.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(asset.body, headers=headers, media_type=asset.media_type)


@cache
def _assets() -> dict[str, Asset]:
    """By path relative to app/web, such as samples/bag.png."""
    paths = [path for path in FOLDER.rglob("*") if path.suffix in TYPES]
    return {path.relative_to(FOLDER).as_posix(): _read(path) for path in paths}


def _read(path: Path) -> Asset:
    body = path.read_bytes()
    return Asset(body, TYPES[path.suffix], f'"{hashlib.sha256(body).hexdigest()[:16]}"')
