"""Requests of the page: an application that answers points of one space with pictures and gauges.

Points are sent as text: their float32 numbers, little-endian, in URL-safe base64. Pictures are sent as bytes,
with their metadata as JSON in the header ``x-ellipsoid``. Several pictures form one sheet, below each other.
"""

import asyncio
import base64
import binascii
import io
import json
import math
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from ellipsoid.checks import check_choice
from ellipsoid.explore.access import Guard
from ellipsoid.explore.code import lines_of_python
from ellipsoid.explore.space import Place, Space
from ellipsoid.laws import LAWS
from ellipsoid.levels import matched_level
from ellipsoid.mixture import Mixture
from ellipsoid.settings import DrawSettings
from ellipsoid.version import __version__

#: Largest size of an uploaded picture, in bytes.
MAX_UPLOAD = 20 * 2**20
#: Number of draws in the grid.
N_DRAWS = 24
#: Number of pictures in a row of the square between four draws.
N_IN_ROW = 5
#: Number of frames of a path and of a strip.
N_FRAMES = 9

_MAX_REQUEST = 2**20
# Largest side of an enlarged picture in a file, in pixels.
_MAX_SIDE = 4096
_STATIC = Path(__file__).parent / "static"
_REGIONS = tuple(dict.fromkeys(region for _, region in LAWS))


def make_app(
    space: Space, token: str, *, hosts: Collection[str] | None = None, framed: bool = False
) -> Starlette:
    """Make the application of a space.

    Parameters
    ----------
    space : Space
        Space to show.
    token : str
        Token that requests need.
    hosts : collection of str, optional
        Host names that requests may use; by default any.
    framed : bool
        Whether notebooks may show the page in a frame.

    Returns
    -------
    Starlette
    """
    uploading = asyncio.Lock()

    def answered(work: Callable[[Space, "Fields"], Response]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            content = await _body(request, _MAX_REQUEST)
            return await run_in_threadpool(lambda: work(space, Fields(content)))

        return answer

    async def encode(request: Request) -> Response:
        if uploading.locked():
            raise HTTPException(
                429, "picture: expected one upload at a time; got another one during an upload"
            )
        async with uploading:
            content = await _body(request, MAX_UPLOAD)
            return await run_in_threadpool(_encode, space, content)

    async def page(_: Request) -> Response:
        return FileResponse(_STATIC / "index.html")

    works = {
        "space": _describe,
        "axes": _axes,
        "picture": _picture,
        "point": _point,
        "inside": _inside,
        "spans": _spans,
        "plane": _plane,
        "draws": _draws,
        "draw": _draw,
        "square": _square,
        "path": _path,
        "nearest": _nearest,
        "code": _code,
        "latents": _latents,
        "strip": _strip,
        "animation": _animation,
    }
    routes = [Route(f"/api/{name}", answered(work), methods=["POST"]) for name, work in works.items()]
    return Starlette(
        routes=[
            Route("/", page),
            *routes,
            Route("/api/encode", encode, methods=["POST"]),
            Mount("/static", StaticFiles(directory=_STATIC)),
        ],
        middleware=[
            Middleware(Guard, token=token, hosts=hosts, framed=framed),
        ],
        exception_handlers={
            ValueError: _bad_request,
            TypeError: _bad_request,
            HTTPException: _refused,
            ClientDisconnect: _gone,
        },
    )


def _bad_request(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400)


def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code)


def _gone(_: Request, error: Exception) -> Response:
    return Response(status_code=400)


async def _body(request: Request, limit: int) -> bytes:
    """Read the body of a request, and refuse it as soon as it exceeds the limit."""
    too_long = HTTPException(413, f"request: expected at most {limit:,} bytes; got more")
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > limit:
        raise too_long
    content = bytearray()
    async for piece in request.stream():
        content += piece
        if len(content) > limit:
            raise too_long
    return bytes(content)


# --- fields of a request -----------------------------------------------------------------------------


class Fields:
    """Fields of a request, which are checked when they are read.

    Parameters
    ----------
    content : bytes
        Body of the request, a JSON object.

    Raises
    ------
    ValueError
        If `content` is something else.
    """

    def __init__(self, content: bytes):
        try:
            values = json.loads(content or b"{}")
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict):
            raise ValueError("request: expected a JSON object; got something else")
        self._values: dict[str, Any] = values

    def text(self, name: str, default: str | None = None) -> str | None:
        """Read a text; the default if the field is missing or null."""
        value = self._values.get(name)
        if value is None:
            return default
        if not isinstance(value, str):
            raise ValueError(f"{name}: expected text; got {value!r}")
        return value

    def number(self, name: str, default: float) -> float:
        """Read a finite number."""
        return _number(name, self._values.get(name, default))

    def optional_number(self, name: str) -> float | None:
        """Read a finite number; None if the field is missing or null."""
        return None if self._values.get(name) is None else self.number(name, 0.0)

    def integer(self, name: str, default: int, below: int = 2**63) -> int:
        """Read an integer of at least 0."""
        value = self._values.get(name)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < below:
            raise ValueError(f"{name}: expected an integer of at least 0 and below {below}; got {value!r}")
        return value

    def flag(self, name: str) -> bool:
        """Whether the field is true."""
        return self._values.get(name) is True

    def point(self, name: str, space: Space) -> np.ndarray | None:
        """Read a point, ``(D,)``; None if the field is missing or null."""
        text = self.text(name)
        return None if text is None else point_of(text, space.n_features, name)

    def shape(self, space: Space) -> str:
        """Read the name of a shape of the space."""
        return check_choice("shape", self.text("shape", space.default), space.shapes)

    def part(self, space: Space) -> int | None:
        """Read the part of a mixture; None for any other shape."""
        shape = space.shapes[self.shape(space)]
        return self.integer("part", 0, shape.n_parts) if isinstance(shape, Mixture) else None

    def settings(self, space: Space) -> DrawSettings:
        """Read the settings of the draws and of the region."""
        begin = space.settings
        region = check_choice("region", self.text("region", _region_name(begin)), _REGIONS)
        law = check_choice("law", self.text("law", begin.law), [name for name, own in LAWS if own == region])
        settings = DrawSettings(law, self.number("level", float(begin.radius)), 1.0, region)
        settings.check(space.shapes[self.shape(space)].n_components)
        return settings

    def moves(self) -> dict[str, float]:
        """Read the moves along axes, in standard deviations."""
        moves = self._values.get("moves") or {}
        if not isinstance(moves, dict):
            raise ValueError(f"moves: expected numbers by axis; got {moves!r}")
        return {axis: _number("moves", amount) for axis, amount in moves.items()}


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name}: expected a finite number; got {value!r}")
    return float(value)


def _region_name(settings: DrawSettings) -> str:
    return settings.region if isinstance(settings.region, str) else settings.region.name


def text_of(latents: np.ndarray) -> str:
    """Encode a point as text."""
    return base64.urlsafe_b64encode(np.asarray(latents, "<f4").tobytes()).decode().rstrip("=")


def point_of(text: str, n_features: int, name: str = "z") -> np.ndarray:
    """Decode a point from text, ``(n_features,)`` float32.

    Raises
    ------
    ValueError
        If the text is not a point of `n_features` finite numbers.
    """
    try:
        content = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        point = np.frombuffer(content, "<f4").astype(np.float32)
    except (ValueError, binascii.Error):
        point = np.empty(0, np.float32)
    if point.shape != (n_features,) or not np.isfinite(point).all():
        raise ValueError(f"{name}: expected a point of {n_features} finite numbers; got other text")
    return point


# --- answers -----------------------------------------------------------------------------------------


def _png(images: np.ndarray, about: Mapping[str, Any], size: int = 1) -> Response:
    """Respond with images below each other as one PNG, and with their metadata in the header."""
    content = io.BytesIO()
    sheet = images.reshape(-1, *images.shape[2:])
    picture = Image.fromarray(sheet[..., 0] if sheet.shape[2] == 1 else sheet)
    size = min(size, _MAX_SIDE // max(picture.size))
    if size > 1:
        picture = picture.resize((size * picture.width, size * picture.height), Image.Resampling.NEAREST)
    picture.save(content, "PNG", compress_level=1)
    headers = {"x-ellipsoid": json.dumps(about, allow_nan=False)}
    return Response(content.getvalue(), media_type="image/png", headers=headers)


def _shown(space: Space, latents: np.ndarray, about: Mapping[str, Any]) -> Response:
    """Respond with the images of latents and their metadata; without a decoder, with the metadata alone."""
    return _png(space.images(latents), about) if space.has_decoder else JSONResponse(about)


def _rounded(values: Any) -> list[float]:
    return [round(float(value), 5) for value in values]


def _describe(space: Space, _: Fields) -> Response:
    """Describe the space for the page."""
    begin = space.settings
    shapes = [
        {
            "name": name,
            "kind": type(shape).__name__,
            "components": shape.n_components,
            "parts": shape.n_parts if isinstance(shape, Mixture) else 1,
            "labels": list(shape.names) if isinstance(shape, Mixture) else [],
        }
        for name, shape in space.shapes.items()
    ]
    return JSONResponse(
        {
            "name": space.name,
            "version": __version__,
            "features": space.n_features,
            "shapes": shapes,
            "laws": {region: [law for law, own in LAWS if own == region] for region in _REGIONS},
            "image": space.image_shape,
            "encoder": space.has_encoder,
            "latents": 0 if space.latents is None else len(space.latents),
            "directions": list(space.directions),
            "n_draws": N_DRAWS,
            "n_frames": N_FRAMES,
            "n_in_row": N_IN_ROW,
            "max_upload": MAX_UPLOAD,
            "begin": {
                "shape": space.default,
                "law": begin.law,
                "level": float(begin.radius),
                "region": _region_name(begin),
            },
        }
    )


def _axes(space: Space, fields: Fields) -> Response:
    name, settings = fields.shape(space), fields.settings(space)
    start = _start(space, fields)
    part, axes = space.axes(name, start, settings, fields.integer("n", 12, 2**20))
    gauges = space.training_gauges(name, settings.region)
    return JSONResponse(
        {
            "part": part,
            "axes": [asdict(axis) for axis in axes],
            "training": None if gauges is None else _rounded(gauges),
            "matched": _matched(space, name, settings),
        }
    )


def _matched(space: Space, name: str, settings: DrawSettings) -> float | None:
    """Level at which draws have the variance of the latents; None for the law normal."""
    if settings.law == "normal":
        return None
    return matched_level(space.shapes[name].n_components, settings.law, settings.region)


def _start(space: Space, fields: Fields) -> np.ndarray | None:
    """Read the starting point of a move: the given point, a point on a path, or None for the centre."""
    t = fields.optional_number("t")
    if t is None:
        return fields.point("z", space)
    return space.between(fields.shape(space), *_ends(space, fields), np.array([t]))[0]


def _placed(space: Space, fields: Fields) -> Place:
    return space.place(
        fields.shape(space),
        _start(space, fields),
        fields.moves(),
        fields.settings(space),
        part=fields.part(space),
        keep_inside=fields.flag("keep"),
    )


def _picture(space: Space, fields: Fields) -> Response:
    place = _placed(space, fields)
    about = {"gauge": _finite(place.gauge), "kept": place.kept, "plane": _rounded(place.plane)}
    if space.has_decoder and fields.flag("file"):
        # Small pictures are enlarged by a whole factor for the file.
        return _png(space.images(place.latents[None]), about, fields.integer("size", 1, 33))
    return _shown(space, place.latents[None], about)


def _finite(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


def _point(space: Space, fields: Fields) -> Response:
    place = _placed(space, fields)
    return JSONResponse({"z": text_of(place.latents), "gauge": _finite(place.gauge)})


def _inside(space: Space, fields: Fields) -> Response:
    latents = space.pulled_inside(fields.shape(space), _placed(space, fields).latents, fields.settings(space))
    return JSONResponse({"z": text_of(latents)})


def _spans(space: Space, fields: Fields) -> Response:
    spans = space.spans(
        fields.shape(space),
        _placed(space, fields).latents,
        fields.settings(space),
        part=fields.part(space),
        n=fields.integer("n", 12, 2**20),
    )
    return JSONResponse({axis: _rounded(span) for axis, span in spans.items()})


def _plane(space: Space, fields: Fields) -> Response:
    points = space.training_plane(fields.shape(space))
    return Response(points.astype("<f4").tobytes(), media_type="application/octet-stream")


def _draws(space: Space, fields: Fields) -> Response:
    name = fields.shape(space)
    rows = range(first := fields.integer("first", 0), first + N_DRAWS)
    seed, label = fields.integer("seed", 0), fields.text("label")
    draws = space.draws(name, fields.settings(space), rows, seed=seed, label=label)
    latents = np.asarray(draws.latents)
    about = {
        "gauge": _rounded(np.asarray(draws.gauge)),
        "plane": [_rounded(point) for point in space.plane(name, latents)],
    }
    return _shown(space, latents, about)


def _draw(space: Space, fields: Fields) -> Response:
    rows = [fields.integer("row", 0)]
    seed, label = fields.integer("seed", 0), fields.text("label")
    draws = space.draws(fields.shape(space), fields.settings(space), rows, seed=seed, label=label)
    return JSONResponse({"z": text_of(np.asarray(draws.latents)[0])})


def _square(space: Space, fields: Fields) -> Response:
    """Respond with the pictures between four draws, or with one requested point."""
    name, settings = fields.shape(space), fields.settings(space)
    rows = range(first := fields.integer("first", 0), first + 4)
    seed, label = fields.integer("seed", 0), fields.text("label")
    corners = np.asarray(space.draws(name, settings, rows, seed=seed, label=label).latents)
    latents = space.square(name, corners, N_IN_ROW)
    if fields.optional_number("take") is not None:
        return JSONResponse({"z": text_of(latents[fields.integer("take", 0, len(latents))])})
    return _shown(
        space, latents, {"gauge": [_finite(gauge) for gauge in space.gauges(name, latents, settings)]}
    )


def _encode(space: Space, content: bytes) -> Response:
    picture, latents = space.encode(content)
    reconstruction = space.images(latents[None])[0]
    error = math.sqrt(np.mean(np.square((reconstruction.astype(float) - picture) / 255)))
    return _png(np.stack([picture, reconstruction]), {"z": text_of(latents), "error": round(error, 4)})


def _ends(space: Space, fields: Fields) -> tuple[np.ndarray, np.ndarray]:
    start, end = fields.point("a", space), fields.point("b", space)
    if start is None or end is None:
        raise ValueError("a, b: expected two points; got one or none")
    return start, end


def _path(space: Space, fields: Fields) -> Response:
    name = fields.shape(space)
    latents = space.between(name, *_ends(space, fields), np.linspace(0, 1, N_FRAMES))
    gauges = space.gauges(name, latents, fields.settings(space))
    return _shown(space, latents, {"gauge": [_finite(gauge) for gauge in gauges]})


def _nearest(space: Space, fields: Fields) -> Response:
    found = space.nearest(_placed(space, fields).latents)
    images = space.training_images() if space.has_decoder else None
    about = {
        "rows": found.rows.tolist(),
        "distances": _rounded(found.distances),
        "ratio": _finite(found.ratio),
        "unseen": space.unseen is not None,
        "reconstructed": images is None,
    }
    if images is not None:
        return _png(np.asarray(images[np.sort(found.rows)])[np.argsort(np.argsort(found.rows))], about)
    assert space.latents is not None
    return _shown(space, space.latents[found.rows], about)


# --- exported files ------------------------------------------------------------------------------


def _code(space: Space, fields: Fields) -> Response:
    drawn = None
    if fields.text("origin") == "draw":
        row, seed = fields.integer("row", 0), fields.integer("seed", 0)
        drawn = {"row": row, "seed": seed, "label": fields.text("label")}
    moves = {axis: amount for axis, amount in fields.moves().items() if amount}
    lines = lines_of_python(
        space,
        fields.shape(space),
        fields.settings(space),
        moves,
        part=fields.part(space),
        drawn=drawn,
        keep_inside=fields.flag("keep"),
        is_centre=_start(space, fields) is None,
    )
    return JSONResponse({"code": lines})


def _latents(space: Space, fields: Fields) -> Response:
    place, start = _placed(space, fields), _start(space, fields)
    content = io.BytesIO()
    start = space.centre(fields.shape(space)) if start is None else start
    np.savez(content, latents=place.latents[None], start=start[None], gauge=np.array([place.gauge]))
    return Response(content.getvalue(), media_type="application/octet-stream")


def _frames(space: Space, fields: Fields, n: int) -> np.ndarray:
    """Make images on the path from A to B, or from -3 to 3 along an axis."""
    axis, name = fields.text("axis"), fields.shape(space)
    if axis is None:
        return space.images(space.between(name, *_ends(space, fields), np.linspace(0, 1, n)))
    settings, start = fields.settings(space), _start(space, fields)
    moves, part = fields.moves(), fields.part(space)
    at = fields.number("at", 0.0)
    along = [
        space.place(name, start, moves | {axis: float(step) - at}, settings, part=part).latents
        for step in np.linspace(-3, 3, n)
    ]
    return space.images(np.stack(along))


def _strip(space: Space, fields: Fields) -> Response:
    frames = _frames(space, fields, N_FRAMES)
    return _png(np.concatenate(frames, axis=1)[None], {}, fields.integer("size", 1, 33))


def _animation(space: Space, fields: Fields) -> Response:
    from ellipsoid.figures.saving import animation

    frames = _frames(space, fields, 4 * N_FRAMES)
    return Response(animation(np.concatenate([frames, frames[-2:0:-1]])), media_type="image/gif")
