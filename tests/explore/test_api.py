import io
import json
import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from explore_toys import HOSTILE, decode, encode
from PIL import Image
from starlette.testclient import TestClient

import ellipsoid as el
from ellipsoid.explore import api
from ellipsoid.explore.api import make_app, point_of, text_of
from ellipsoid.explore.space import Space

TOKEN = "secret"


@pytest.fixture(scope="module")
def client(space):
    app = make_app(space, TOKEN, hosts={"127.0.0.1"})
    return TestClient(app, base_url="http://127.0.0.1:8000", headers={"x-ellipsoid-token": TOKEN})


def pictures(response, n=1):
    """Give the pictures of an answer, and the values that belong to them."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "image/png"
    sheet = np.asarray(Image.open(io.BytesIO(response.content)))
    return sheet.reshape(n, -1, *sheet.shape[1:]), json.loads(response.headers["x-ellipsoid"])


def as_image(latents):
    return np.round(255 * decode(np.asarray(latents))).astype(np.uint8)


def png(pixels):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


# --- who gets in -------------------------------------------------------------------------------------


def test_only_its_own_page_gets_in(client):
    assert client.get(f"/?token={TOKEN}").status_code == 200
    for address in ("/", "/?token=", "/?token=wrong"):
        assert client.get(address).status_code == 403
    for token in ("", "wrong", "s\u00e9cret"):
        headers = {"x-ellipsoid-token": token.encode()}
        assert client.post("/api/space", headers=headers).status_code == 403
    # A page elsewhere that has made its name point to this machine.
    for host in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "[", "127.0.0.1@evil"):
        assert client.post("/api/space", headers={"host": host}).status_code == 403
    assert client.post("/api/space", headers={"host": "127.0.0.1"}).status_code == 200
    assert client.get("/api/space").status_code == 405


def test_the_page_loads_nothing_from_outside_and_is_in_no_frame(client, space):
    policy = client.get(f"/?token={TOKEN}").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    framed = TestClient(make_app(space, TOKEN, framed=True)).get(f"/?token={TOKEN}")
    assert "frame-ancestors" not in framed.headers["content-security-policy"]
    for name in ("main.js", "style.css"):
        content = client.get(f"/static/{name}").text
        assert "http://" not in content
        assert "https://" not in content
        assert "innerHTML" not in content
    for address in ("/static/../api.py", "/static/%2e%2e/api.py", "/static//etc/passwd", "/api.py"):
        assert client.get(address).status_code in (403, 404)


# --- points and pictures -----------------------------------------------------------------------------


def test_a_picture_is_that_of_the_moved_point(client, space):
    state = space.shapes["state"]
    (picture,), about = pictures(client.post("/api/picture", json={"moves": {"c0": 1.5, "c3": -1}}))
    scores = np.zeros(8)
    scores[[0, 3]] = 1.5 * state.scale[0], -state.scale[3]
    expected = np.asarray(state.reconstruct(scores))
    assert np.abs(picture.astype(int) - as_image(expected)[0]).max() <= 1
    assert about["gauge"] == pytest.approx(float(el.gauge(state, expected)), abs=1e-5)
    assert about["plane"] == pytest.approx([1.5, 0], abs=1e-4)
    assert about["kept"] == 1


def test_keep_inside_pulls_a_point_to_the_boundary_and_no_further(client, space):
    far = {"moves": {"c0": 3.0}, "level": 1.5}
    _, free = pictures(client.post("/api/picture", json=far))
    assert free["gauge"] == pytest.approx(2, abs=1e-4)
    _, kept = pictures(client.post("/api/picture", json=far | {"keep": True}))
    assert kept["gauge"] == pytest.approx(1, abs=1e-4)
    assert kept["kept"] == pytest.approx(0.5, abs=1e-4)
    # From outside, moves continue, and lead no further out.
    start = text_of(space.place("state", None, {"c1": 3.0}, space.settings).latents)
    _, begun = pictures(client.post("/api/picture", json={"z": start, "keep": True}))
    _, moved = pictures(client.post("/api/picture", json={"z": start, "keep": True, "moves": {"c0": 2.0}}))
    assert moved["gauge"] == pytest.approx(begun["gauge"], abs=1e-4)
    assert moved["plane"][0] > 1
    inside = client.post("/api/inside", json={"z": start}).json()["z"]
    assert pictures(client.post("/api/picture", json={"z": inside}))[1]["gauge"] == pytest.approx(1, abs=1e-4)


def test_sliders_say_how_far_a_point_stays_inside(client, space):
    for moves in ({}, {"c2": 1.0}):
        spans = client.post("/api/spans", json={"level": 2.0, "moves": moves}).json()
        bound = np.sqrt(4 - sum(np.square(list(moves.values()))))
        assert spans["c0"] == pytest.approx([-bound, bound], abs=0.02)
        assert list(spans) == [f"c{i}" for i in range(8)]
    assert client.post("/api/spans", json={"level": 2.0, "moves": {"c2": 2.1}}).json() == {}


@pytest.mark.slow
def test_a_point_of_a_mixture_moves_on_the_axes_of_its_part(client, space):
    mixture = space.shapes["by label"]
    z = text_of(np.asarray(mixture.parts.mean[1]))
    axes = client.post("/api/axes", json={"shape": "by label", "z": z}).json()
    assert axes["part"] == 1
    assert [axis["id"] for axis in axes["axes"]] == [f"c{i}" for i in range(8)]
    assert axes["axes"][0]["at"] == pytest.approx(0, abs=1e-4)
    moved = {"shape": "by label", "z": z, "part": 1, "moves": {"c2": 1.0}}
    point = point_of(client.post("/api/point", json=moved).json()["z"], 12)
    expected = mixture.parts.mean[1] + mixture.parts.scale[1, 2] * mixture.parts.components[1, 2]
    np.testing.assert_allclose(point, expected, atol=1e-5)


@pytest.mark.slow
def test_draws_are_those_of_the_library_and_each_can_be_taken(client, space):
    how = {"seed": 2**40, "level": 2.5, "first": 5}
    tiles, about = pictures(client.post("/api/draws", json=how), api.N_DRAWS)
    expected = el.sample_at(el.key(2**40), space.shapes["state"], np.arange(5, 29), level=2.5)
    assert np.abs(tiles.astype(int) - as_image(expected.latents)).max() <= 1
    assert about["gauge"] == pytest.approx(np.asarray(expected.gauge).tolist(), abs=1e-4)
    taken = point_of(client.post("/api/draw", json=how | {"row": 9}).json()["z"], 12)
    np.testing.assert_array_equal(taken, expected.latents[4])


def test_a_picture_is_encoded_and_shown_with_its_reconstruction(client):
    pixels = np.random.default_rng(1).integers(40, 200, (2, 2, 3), np.uint8)
    wide = np.pad(pixels, [(0, 0), (1, 1), (0, 0)])  # of which the middle is cut out
    (picture, rebuilt), about = pictures(client.post("/api/encode", content=png(wide)), 2)
    np.testing.assert_array_equal(picture, pixels)
    assert np.abs(picture.astype(int) - rebuilt).max() <= 1
    assert about["error"] < 0.01
    (again,), _ = pictures(client.post("/api/picture", json={"z": about["z"]}))
    np.testing.assert_array_equal(again, rebuilt)


def huge_png(side=30_000):
    """Give the first bytes of a picture of very many pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return content + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not in a known image format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "not in a known image format"),
        (png(np.random.default_rng(0).integers(0, 256, (50, 50, 3), np.uint8))[:999], "truncated"),
        (huge_png(8000), "more than 50,000,000"),
        (huge_png(), "pixels"),
    ],
    ids=["empty", "another format", "cut", "large", "huge"],
)
def test_no_picture_is_no_picture(client, content, message):
    response = client.post("/api/encode", content=content)
    assert response.status_code == 400
    assert response.json()["error"].startswith("picture: expected a readable image")
    assert message in response.json()["error"]


def test_what_is_too_long_is_refused(client, monkeypatch):
    monkeypatch.setattr(api, "MAX_UPLOAD", 1000)
    assert client.post("/api/encode", content=bytes(1001)).status_code == 413
    # An upload that does not declare its length is refused, too.
    assert client.post("/api/encode", content=(bytes(500) for _ in range(3))).status_code == 413
    assert client.post("/api/picture", content=b" " * (2**20 + 1)).status_code == 413


def test_pictures_are_read_one_at_a_time(space):
    begun, go_on = threading.Event(), threading.Event()

    def slow_encode(images):
        begun.set()
        assert go_on.wait(60)
        return encode(images)

    slow = Space({"state": space.shapes["state"]}, decode=decode, encode=slow_encode)
    client = TestClient(make_app(slow, TOKEN), headers={"x-ellipsoid-token": TOKEN})
    content = png(np.zeros((4, 4, 3), np.uint8))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.post, "/api/encode", content=content)
        assert begun.wait(60)
        second = client.post("/api/encode", content=content)
        go_on.set()
        assert first.result().status_code == 200
    assert second.status_code == 429
    assert client.post("/api/encode", content=content).status_code == 200


@pytest.mark.parametrize(
    ("path", "fields", "name"),
    [
        ("picture", [1], "request"),
        ("picture", {"shape": HOSTILE}, "shape"),
        ("picture", {"shape": 3}, "shape"),
        ("picture", {"z": "AAAA"}, "z"),
        ("picture", {"z": "é" * 64}, "z"),
        ("picture", {"z": text_of(np.full(12, np.nan))}, "z"),
        ("picture", {"moves": {"c8": 1}}, "moves"),
        ("picture", {"moves": {"c²": 1}}, "moves"),
        ("picture", {"moves": {"": 1}}, "moves"),
        ("picture", {"moves": {"d:smile": 1}}, "moves"),
        ("picture", {"moves": {"c0": "far"}}, "moves"),
        ("picture", {"moves": {"c0": 1e300}}, "moves"),
        ("picture", {"moves": 3}, "moves"),
        ("picture", {"level": -1}, "level"),
        ("picture", {"level": None}, "level"),
        ("picture", {"law": "cauchy"}, "law"),
        ("picture", {"region": "ellipsoid", "law": "redraw"}, "law"),
        ("picture", {"shape": "by label", "part": 2}, "part"),
        ("picture", {"file": True, "size": 1000}, "size"),
        ("picture", {"t": 0.5}, "a, b"),
        ("draws", {"seed": -1}, "seed"),
        ("draws", {"seed": 1.5}, "seed"),
        ("draws", {"label": "plain"}, "label"),
        ("draws", {"shape": "by label", "label": "none"}, "label"),
        ("path", {"a": text_of(np.zeros(12))}, "a, b"),
        ("axes", {"n": -1}, "n"),
    ],
)
def test_a_request_that_makes_no_sense_is_said_so(client, path, fields, name):
    response = client.post(f"/api/{path}", json=fields)
    assert response.status_code == 400
    assert response.json()["error"].startswith(f"{name}: expected ")


def test_numbers_that_are_none_are_refused(client):
    assert client.post("/api/picture", content=b'{"level": NaN}').status_code == 400
    assert client.post("/api/picture", content=b'{"a": ' * 9999).status_code == 400


# --- around a point ----------------------------------------------------------------------------------


def test_a_path_leads_from_one_point_to_another(client, space):
    a, b = space.latents[3], space.latents[7]
    ends = {"a": text_of(a), "b": text_of(b)}
    tiles, about = pictures(client.post("/api/path", json=ends), api.N_FRAMES)
    np.testing.assert_array_equal(tiles[[0, -1]], as_image(np.stack([a, b])))
    assert len(about["gauge"]) == api.N_FRAMES
    (middle,), _ = pictures(client.post("/api/picture", json=ends | {"t": 0.5}))
    np.testing.assert_array_equal(middle, tiles[4])


def test_a_square_lies_between_four_draws(client):
    tiles, about = pictures(client.post("/api/square", json={"seed": 2}), 25)
    draws, _ = pictures(client.post("/api/draws", json={"seed": 2}), api.N_DRAWS)
    np.testing.assert_array_equal(tiles[[0, 4, 20, 24]], draws[:4])
    assert max(about["gauge"]) < 1 + 1e-4
    corners = [
        point_of(client.post("/api/draw", json={"seed": 2, "row": row}).json()["z"], 12) for row in range(4)
    ]
    middle = client.post("/api/square", json={"seed": 2, "take": 12}).json()["z"]
    np.testing.assert_allclose(point_of(middle, 12), np.mean(corners, axis=0), atol=1e-6)


def test_nearest_training_images_are_the_nearest(client, space):
    z = space.latents[11] + 0.05
    tiles, about = pictures(client.post("/api/nearest", json={"z": text_of(z)}), 6)
    distances = np.linalg.norm(space.latents - z, axis=1)
    expected = np.argsort(distances)[:6]
    assert about["rows"] == expected.tolist()
    assert about["distances"] == pytest.approx(distances[expected].tolist(), abs=1e-4)
    np.testing.assert_array_equal(tiles, as_image(space.latents[expected]))
    # A training image itself is a copy; no image is near a point far outside.
    ratios = [
        pictures(client.post("/api/nearest", json={"z": text_of(point)}), 6)[1]["ratio"]
        for point in (space.latents[0], z, 9 * z)
    ]
    assert ratios[0] == 0
    assert ratios[0] < ratios[1] < 1 < ratios[2]


def test_what_is_known_is_described(client, space):
    described = client.post("/api/space").json()
    assert described["shapes"][1]["labels"] == sorted([HOSTILE, "plain"])
    assert described["image"] == [2, 2, 3]
    assert described["encoder"]
    assert described["laws"]["box"] == ["uniform", "normal"]
    axes = client.post("/api/axes", json={}).json()
    assert axes["matched"] == pytest.approx(el.matched_level(8))
    expected = np.quantile(el.gauge(space.shapes["state"], space.latents, level=1.0), [0.05, 0.5, 0.95])
    assert axes["training"] == pytest.approx(expected.tolist(), abs=1e-4)
    points = np.frombuffer(client.post("/api/plane").content, "<f4").reshape(-1, 2)
    assert points.shape == (400, 2)


# --- files -------------------------------------------------------------------------------------------


def test_files_to_take_away(client, space):
    moved = {"z": text_of(space.latents[3]), "moves": {"c1": 1.0}}
    with np.load(io.BytesIO(client.post("/api/latents", json=moved).content), allow_pickle=False) as file:
        np.testing.assert_array_equal(file["start"], space.latents[3:4])
        place = space.place("state", space.latents[3], {"c1": 1.0}, space.settings)
        np.testing.assert_array_equal(file["latents"], place.latents[None])
    large = client.post("/api/picture", json=moved | {"file": True, "size": 8})
    assert Image.open(io.BytesIO(large.content)).size == (16, 16)
    strip = client.post("/api/strip", json=moved | {"axis": "c0", "size": 3})
    assert Image.open(io.BytesIO(strip.content)).size == (9 * 2 * 3, 6)
    film = client.post("/api/animation", json=moved | {"axis": "c0"})
    assert Image.open(io.BytesIO(film.content)).n_frames == 70


@pytest.mark.parametrize(
    "fields",
    [
        {"moves": {"c0": 1.0, "c5": -0.5}},
        {"moves": {"c0": 3.0, "c5": -0.5}, "keep": True},
        {"shape": "by label", "part": 1, "moves": {"c0": 3.0}, "keep": True},
        {"origin": "draw", "row": 4, "seed": 7, "moves": {"c2": 2.0}, "keep": True},
        pytest.param(
            {"shape": "by label", "part": 0, "origin": "draw", "label": HOSTILE, "moves": {"c1": 0.5}},
            marks=pytest.mark.slow,  # it compiles a program for a mixture
        ),
        {"z": text_of(np.linspace(-1, 1, 12)), "moves": {"c0": 1.0}},
    ],
)
def test_the_lines_of_python_make_the_same_point(client, space, fields, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, shape in space.shapes.items():
        shape.save(f"{name}.npz")
    if fields.get("origin") == "draw":
        fields = fields | {"z": client.post("/api/draw", json=fields).json()["z"]}
    (tmp_path / "latents.npz").write_bytes(client.post("/api/latents", json=fields).content)
    names = {}
    exec(client.post("/api/code", json=fields).json()["code"], names)
    expected = point_of(client.post("/api/point", json=fields).json()["z"], 12)
    np.testing.assert_allclose(names["latents"], expected[None], atol=2e-4)


# --- other spaces ------------------------------------------------------------------------------------


def test_a_space_without_a_decoder_has_places_and_gauges(space):
    client = TestClient(
        make_app(Space({"state": space.shapes["state"]}), TOKEN), headers={"x-ellipsoid-token": TOKEN}
    )
    assert client.post("/api/space").json()["image"] is None
    answer = client.post("/api/picture", json={"moves": {"c0": 1.0}}).json()
    assert answer["plane"] == pytest.approx([1, 0], abs=1e-4)
    assert len(client.post("/api/draws").json()["gauge"]) == api.N_DRAWS
    assert client.post("/api/encode", content=b"x").status_code == 400
    assert (
        client.post("/api/nearest").json()["error"].startswith("latents: expected latents of training images")
    )
    assert client.post("/api/strip", json={"axis": "c0"}).status_code == 400


def test_spaces_that_do_not_fit_are_refused(space, make_state):
    state = space.shapes["state"]
    for arguments, message in (
        (({},), "shapes: expected at least one shape"),
        (
            ({"a": state, "b": make_state(2)},),
            "shapes: expected 12 latent dimensions in all shapes; got 2 in b",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            Space(*arguments)
    with pytest.raises(ValueError, match="decode: expected floats in"):
        Space({"a": state}, decode=lambda z: 100 * decode(z))
    with pytest.raises(TypeError, match="encode: expected a function"):
        Space({"a": state}, decode=decode, encode=3)
    with pytest.raises(ValueError, match="encode: expected latents"):
        Space({"a": state}, decode=decode, encode=lambda images: images).warm_up()
