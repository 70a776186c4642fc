"""Pictures in: normalized the same for every model, refused with words, never decoded twice."""

import asyncio
import os
import signal
import struct
import zlib
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import select, update
from tests.api.doors import PICTURES, Doors, open_doors, picture
from tests.conftest import eventually

from captionfleet_api.images.janitor import Janitor
from captionfleet_api.store.tables import Image as ImageRow

HOUR = 3600.0
COLORS = ("red", "green", "blue", "white", "black", "teal", "navy", "olive")


@pytest.fixture
async def doors(tmp_path: Path) -> AsyncIterator[Doors]:
    async with open_doors(tmp_path, decode_seconds=10) as doors:
        yield doors


async def normalized(doors: Doors, file: bytes) -> Image.Image:
    """What models see of this file."""
    answer = await doors.client.post("/api/v1/images", content=file)
    assert answer.status_code == 201, answer.text
    found = await doors.client.get(f"/api/v1/images/{answer.json()['id']}")
    image = Image.open(BytesIO(found.content))
    assert image.size == (answer.json()["width"], answer.json()["height"])
    return image


async def refusal(doors: Doors, file: bytes) -> tuple[int, str, str]:
    answer = await doors.client.post("/api/v1/images", content=file)
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, problem["code"], problem["detail"]


async def test_the_same_bytes_have_the_same_id_and_are_decoded_once(doors: Doors) -> None:
    first, second = await doors.upload("red", "red")

    assert first == second
    async with doors.parts.database.read() as session:
        assert len((await session.scalars(select(ImageRow))).all()) == 1


async def test_a_lost_blob_is_put_again_by_the_next_upload(doors: Doors) -> None:
    await doors.upload("red")
    async with doors.parts.database.read() as session:
        (image,) = (await session.scalars(select(ImageRow))).all()
    await doors.parts.blobs.delete(image.picture_sha256)
    await doors.upload("red")
    assert await doors.parts.blobs.get(image.picture_sha256)


async def test_a_form_with_one_file_is_as_good_as_a_bare_body(doors: Doors) -> None:
    file = {"file": ("cat.png", picture("red"))}
    answer = await doors.client.post("/api/v1/images", files=file)

    assert answer.status_code == 201
    assert answer.json()["filename"] == "cat.png"
    assert [answer.json()["id"]] == await doors.upload("red")


async def test_a_form_with_two_files_is_refused(doors: Doors) -> None:
    files = [("file", ("a.png", picture("red"))), ("file", ("b.png", picture("blue")))]
    answer = await doors.client.post("/api/v1/images", files=files)

    assert answer.status_code == 422
    assert answer.json()["field"] == "file"


@pytest.mark.parametrize("turn", [3, 6, 8])
async def test_a_turned_photo_stands_upright_and_tells_no_place(doors: Doors, turn: int) -> None:
    file = (PICTURES / f"photo-orientation-{turn}.jpg").read_bytes()
    image = await normalized(doors, file)

    upright = (1536, 1024) if turn == 3 else (1024, 1536)
    assert image.size == upright
    assert not image.getexif()


async def test_transparent_parts_are_white(doors: Doors) -> None:
    image = await normalized(doors, (PICTURES / "transparent.png").read_bytes())
    assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("name", ["print-cmyk.jpg", "palette.gif"])
async def test_cmyk_and_palettes_become_rgb(doors: Doors, name: str) -> None:
    file = (PICTURES / name).read_bytes()
    image = await normalized(doors, file)

    with Image.open(BytesIO(file)) as original:
        right = original.convert("RGB").getpixel((5, 5))
    assert image.mode == "RGB"
    assert isinstance(right, tuple)
    assert max(abs(a - b) for a, b in zip(image.getpixel((5, 5)), right, strict=True)) <= 8  # type: ignore[arg-type]


async def test_sixteen_bit_gray_keeps_its_brightness(doors: Doors) -> None:
    file = BytesIO()
    Image.new("I;16", (32, 32), 0x8000).save(file, "PNG")
    image = await normalized(doors, file.getvalue())
    assert image.convert("L").getpixel((9, 9)) == 128


async def test_of_ten_thousand_frames_the_first_counts(doors: Doors) -> None:
    head, separator, rest = picture("navy", (8, 8), "GIF").partition(b"\x2c\x00\x00\x00\x00")
    first, more = separator + rest[:-1], picture("red", (8, 8), "GIF").partition(separator)[2][:-1]
    image = await normalized(doors, head + first + (separator + more) * 9_999 + b";")
    assert (image.size, image.getpixel((0, 0))) == ((8, 8), (0, 0, 128))


async def test_a_photo_stays_a_jpeg_and_flat_colors_become_a_png(doors: Doors) -> None:
    noise = Image.effect_noise((900, 700), 80).convert("RGB")
    file = BytesIO()
    noise.save(file, "PNG")

    assert (await normalized(doors, file.getvalue())).format == "JPEG"
    assert (await normalized(doors, picture("teal", (300, 300), "BMP"))).format == "PNG"


def huge_png_header() -> bytes:
    """A PNG that says it has 60,000 x 60,000 pixels, in 60 bytes."""
    head = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + b"\x00" * 4


@pytest.mark.parametrize(
    ("file", "status", "code", "word"),
    [
        (b"", 422, "empty", "empty"),
        (b"hello, I am a text\n" * 9, 415, "not_an_image", "text"),
        (b"\x00\x01\x02\x03" * 99, 415, "not_an_image", "JPEG, PNG"),
        (b"<?xml version='1.0'?><svg></svg>", 415, "unsupported_format", "SVG"),
        (b"%PDF-1.7 ...", 415, "unsupported_format", "PDF"),
        (b"\x00\x00\x00\x18ftypheic", 415, "unsupported_format", "HEIC"),
        (picture("red", (900, 900), "JPEG")[:400], 422, "truncated", "cut off"),
        (picture("red", format="PNG")[:40], 422, "truncated", "cut off"),
        (huge_png_header(), 422, "too_many_pixels", "60000 x 60000"),
    ],
    ids=["empty", "text", "noise", "svg", "pdf", "heic", "jpeg cut", "png cut", "png bomb"],
)
async def test_what_is_no_usable_picture_is_named(
    doors: Doors, file: bytes, status: int, code: str, word: str
) -> None:
    got_status, got_code, detail = await refusal(doors, file)
    assert (got_status, got_code) == (status, code)
    assert word in detail


async def test_a_refusal_names_the_file_if_it_has_a_name(doors: Doors) -> None:
    bare = await doors.client.post("/api/v1/images?filename=a.jpg", content=b"text")
    form = await doors.client.post("/api/v1/images", files={"file": ("b.jpg", b"text")})
    assert bare.json()["detail"].startswith("a.jpg: this is text")
    assert form.json()["detail"].startswith("b.jpg: this is text")


async def test_a_file_over_the_limit_is_refused_by_its_length_alone(doors: Doors) -> None:
    async def never_read() -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    answer = await doors.client.post(
        "/api/v1/images", content=never_read(), headers={"content-length": "200000000"}
    )
    assert answer.status_code == 413
    assert answer.json()["code"] == "too_large"
    assert "25 MB" in answer.json()["detail"]


async def test_a_file_over_the_limit_is_cut_off_while_it_streams(doors: Doors) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield b"x" * 1_000_000

    answer = await doors.client.post("/api/v1/images", content=endless())
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert sent <= 27


async def test_a_child_that_died_meanwhile_costs_no_picture(doors: Doors) -> None:
    await doors.upload("red")
    children = doors.parts.pictures.children
    (before,) = children.pids
    os.kill(before, signal.SIGKILL)

    assert len(await doors.upload("green", "blue")) == 2
    assert before not in children.pids


async def test_a_picture_whose_children_die_is_refused_and_hinders_no_other(doors: Doors) -> None:
    children = doors.parts.pictures.children
    refused = asyncio.create_task(refusal(doors, picture("green")))

    def killed_until_refused() -> bool:
        for pid in children.pids:
            os.kill(pid, signal.SIGKILL)
        return refused.done()

    await eventually(killed_until_refused)
    _, code, detail = await refused
    assert (code, "crashed" in detail) == ("decode_failed", True)
    assert len(await doors.upload("blue")) == 1


async def test_decoding_that_takes_too_much_memory_is_refused(tmp_path: Path) -> None:
    async with open_doors(tmp_path, decode_memory_mb=256) as doors:
        status, code, detail = await refusal(doors, picture("green", (7000, 7000)))
    assert (status, code) == (422, "decode_failed")
    assert "memory" in detail


async def test_more_waiting_pictures_than_allowed_are_told_to_come_again(tmp_path: Path) -> None:
    async with open_doors(tmp_path, decoders=1, waiting_uploads=1) as doors:
        sent = [doors.client.post("/api/v1/images", content=picture(c)) for c in COLORS]
        answers = await asyncio.gather(*sent)
    busy = [answer for answer in answers if answer.status_code == 503]
    assert busy
    assert all(answer.headers["retry-after"] == "2" for answer in busy)
    assert sum(answer.status_code == 201 for answer in answers) >= 2


async def test_a_child_that_hangs_is_killed_and_its_picture_refused(tmp_path: Path) -> None:
    async with open_doors(tmp_path, decode_seconds=0.0001) as doors:
        status, code, detail = await refusal(doors, picture("red", (3000, 3000), "JPEG"))
        assert (status, code) == (422, "decode_timeout")
        assert "0.0001 s" in detail
        assert not doors.parts.pictures.children.pids


async def test_a_blob_says_what_it_is_and_never_changes(doors: Doors) -> None:
    (image,) = await doors.upload("red")
    for path in (f"/api/v1/images/{image}", f"/api/v1/images/{image}/thumbnail"):
        answer = await doors.client.get(path)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in answer.headers["content-security-policy"]
        assert "immutable" in answer.headers["cache-control"]
        known = {"if-none-match": answer.headers["etag"]}
        assert (await doors.client.get(path, headers=known)).status_code == 304
        assert (await doors.client.head(path)).status_code == 200
    assert (await doors.client.get("/api/v1/images/unknown")).status_code == 404


async def test_pictures_that_no_job_shows_are_deleted_after_a_while(doors: Doors) -> None:
    used, unused, fresh = await doors.upload("red", "green", "blue")
    await doors.client.post("/api/v1/jobs", json={"images": [used], "models": ["alpha"]})
    async with doors.parts.database.write() as session:
        old = update(ImageRow).where(ImageRow.id.in_([used, unused]))
        await session.execute(old.values(created_at=0))
    janitor = Janitor(doors.parts.database, doors.parts.blobs, HOUR)

    assert await janitor.clean_some() == 1
    assert await janitor.clean_some() == 0
    found = [
        (await doors.client.get(f"/api/v1/images/{i}")).status_code for i in (used, unused, fresh)
    ]
    assert found == [200, 404, 200]
    assert await doors.upload("green") == [unused]
