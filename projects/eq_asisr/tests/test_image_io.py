"""Every kind of image file: read as the table says, or refused (§12)."""

import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from eq_asisr.image_io import MAX_PIXELS, Photo, read_photo, require_writable, write_photo

RANDOM = np.random.default_rng(0)
RGB = RANDOM.integers(0, 256, (5, 7, 3), dtype=np.uint8)
GREY = RANDOM.integers(0, 256, (5, 7), dtype=np.uint8)
DEEP = RANDOM.integers(0, 65536, (5, 7), dtype=np.uint16)


def levels(photo, top=255):
    return (photo.colour * top).round().permute(1, 2, 0).numpy().astype(np.int64)


def saved(path, array_or_image, **options):
    image = array_or_image if isinstance(array_or_image, Image.Image) else Image.fromarray(array_or_image)
    image.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", [".png", ".bmp"])
def test_rgb_is_read_as_it_is(tmp_path, suffix):
    photo = read_photo(saved(tmp_path / f"a{suffix}", RGB))
    assert np.array_equal(levels(photo), RGB)
    assert (photo.alpha, photo.grey, photo.bits, photo.notes) == (None, False, 8, ())


def test_grey_is_read_as_rgb_and_written_as_grey(tmp_path):
    photo = read_photo(saved(tmp_path / "a.png", GREY))
    assert np.array_equal(levels(photo), np.repeat(GREY[..., None], 3, 2))
    assert len(photo.notes) == 1
    assert "is grey" in photo.notes[0]
    write_photo(tmp_path / "b.png", photo)
    with Image.open(tmp_path / "b.png") as again:
        assert again.mode == "L"
        assert np.array_equal(np.array(again), GREY)


def test_one_bit_is_read_as_grey(tmp_path):
    photo = read_photo(saved(tmp_path / "a.png", Image.fromarray(GREY).convert("1")))
    assert photo.grey
    assert set(photo.colour.unique().tolist()) == {0.0, 1.0}


def test_sixteen_bit_grey_keeps_its_bits(tmp_path):
    photo = read_photo(saved(tmp_path / "a.png", DEEP))
    assert np.array_equal(levels(photo, 65_535)[..., 0], DEEP)
    write_photo(tmp_path / "b.png", photo)
    with Image.open(tmp_path / "b.png") as again:
        assert np.array_equal(np.array(again), DEEP)


def sixteen_bit_rgb(path, array):
    """A PNG file with 16 bits per colour, which Pillow does not write."""

    def chunk(kind, data):
        return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)

    height, width = array.shape[:2]
    head = width.to_bytes(4) + height.to_bytes(4) + bytes([16, 2, 0, 0, 0])
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def test_sixteen_bit_colours_lose_their_lower_half_and_it_is_said(tmp_path):
    array = RANDOM.integers(0, 65536, (5, 7, 3), dtype=np.uint16)
    photo = read_photo(sixteen_bit_rgb(tmp_path / "a.png", array))
    assert np.array_equal(levels(photo), array >> 8)
    assert photo.bits == 8
    assert "of which the upper 8 are read" in photo.notes[0]


def test_palette_is_read_as_rgb(tmp_path):
    image = Image.fromarray(RGB).quantize(16)
    photo = read_photo(saved(tmp_path / "a.png", image))
    assert np.array_equal(levels(photo), np.array(image.convert("RGB")))
    assert "has a palette" in photo.notes[0]
    assert not photo.grey


def half_transparent():
    return np.concatenate([RGB, np.full((5, 7, 1), 51, np.uint8)], 2)


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [("drop", RGB / 255), ("white", RGB / 255 * 0.2 + 0.8), ("black", RGB / 255 * 0.2), ("keep", RGB / 255)],
)
def test_transparency_is_treated_as_asked(tmp_path, alpha, expected):
    photo = read_photo(saved(tmp_path / "a.png", half_transparent()), alpha)
    assert np.allclose(photo.colour.permute(1, 2, 0).numpy(), expected, atol=1e-6)
    assert (photo.alpha is not None) == (alpha == "keep")
    assert len(photo.notes) == 1


def test_kept_transparency_is_written(tmp_path):
    photo = read_photo(saved(tmp_path / "a.png", half_transparent()), "keep")
    write_photo(tmp_path / "b.png", photo)
    with Image.open(tmp_path / "b.png") as again:
        assert again.mode == "RGBA"
        assert np.array_equal(np.array(again), half_transparent())


def palette_with_a_hole():
    image = Image.fromarray(RGB).quantize(16)
    image.info["transparency"] = image.getpixel((0, 0))
    return image


@pytest.mark.parametrize(
    ("image", "options"),
    [
        (Image.fromarray(half_transparent()), {}),
        (Image.fromarray(half_transparent()).convert("LA"), {}),
        (palette_with_a_hole(), {}),
        (Image.fromarray(RGB), {"transparency": tuple(RGB[0, 0].tolist())}),
        (Image.fromarray(GREY), {"transparency": int(GREY[0, 0])}),
    ],
    ids=["rgba", "grey", "palette", "one colour", "one grey level"],
)
def test_transparency_of_any_kind_is_refused_unless_said(tmp_path, image, options):
    file = saved(tmp_path / "a.png", image, **options)
    with pytest.raises(ValueError, match=r"is transparent in .* say with alpha what becomes of them"):
        read_photo(file)
    assert read_photo(file, "keep").alpha.min() < 1


def test_an_opaque_alpha_channel_is_dropped(tmp_path):
    opaque = half_transparent()
    opaque[..., 3] = 255
    photo = read_photo(saved(tmp_path / "a.png", opaque))
    assert photo.alpha is None
    assert "opaque everywhere" in photo.notes[0]


def test_cmyk_is_refused(tmp_path):
    file = saved(tmp_path / "a.jpg", Image.fromarray(RGB).convert("CMYK"))
    with pytest.raises(ValueError, match="is in CMYK, made for a printer; convert it to RGB"):
        read_photo(file)


def test_sixteen_bits_with_a_transparent_level_are_refused(tmp_path):
    file = saved(tmp_path / "a.png", DEEP)
    data = file.read_bytes()
    chunk = b"tRNS" + bytes([0, 9])
    file.write_bytes(data[:33] + (2).to_bytes(4) + chunk + zlib.crc32(chunk).to_bytes(4) + data[33:])
    with pytest.raises(ValueError, match="16 bits and a transparent grey level"):
        read_photo(file)


def test_animations_are_refused(tmp_path):
    frames = [Image.fromarray(RGB), Image.fromarray(255 - RGB)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match="animation of 2 frames"):
        read_photo(tmp_path / "a.png")


def test_files_that_are_no_images_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no image"):
        read_photo(tmp_path / "none.png")
    (tmp_path / "a.png").write_text("hello")
    with pytest.raises(ValueError, match="is not an image in one of the formats PNG, JPEG, BMP"):
        read_photo(tmp_path / "a.png")
    saved(tmp_path / "b.gif", Image.fromarray(GREY))
    with pytest.raises(ValueError, match="is not an image in one of the formats"):
        read_photo(tmp_path / "b.gif")
    whole = saved(tmp_path / "c.png", np.repeat(np.repeat(RGB, 20, 0), 20, 1)).read_bytes()
    (tmp_path / "c.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="is damaged"):
        read_photo(tmp_path / "c.png")
    with pytest.raises(ValueError, match="alpha must be one of keep, drop, white, black, got 'pink'"):
        read_photo(tmp_path / "c.png", "pink")


def test_the_orientation_of_the_camera_is_applied(tmp_path):
    image = Image.fromarray(RGB)
    exif = image.getexif()
    exif[0x0112] = 6  # to be turned clockwise
    image.save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(levels(read_photo(tmp_path / "a.png")), np.rot90(RGB, -1))


def test_the_colour_profile_is_handed_on(tmp_path):
    photo = read_photo(saved(tmp_path / "a.png", RGB, icc_profile=b"profile"))
    write_photo(tmp_path / "b.png", photo)
    with Image.open(tmp_path / "b.png") as again:
        assert again.info["icc_profile"] == b"profile"


def test_jpeg_is_written(tmp_path):
    smooth = torch.linspace(0, 1, 32).expand(3, 24, 32)
    write_photo(tmp_path / "a.JPG", Photo(smooth))
    assert (read_photo(tmp_path / "a.JPG").colour - smooth).abs().max() < 0.02


@pytest.mark.parametrize(
    ("name", "photo", "size", "message"),
    [
        ("a.tif", {}, (5, 7), "must end in .png, .jpg, .jpeg, got '.tif'"),
        ("a", {}, (5, 7), "got 'no suffix'"),
        ("nowhere/a.png", {}, (5, 7), "there is no folder"),
        ("a.jpg", {"alpha": torch.ones(1, 5, 7)}, (5, 7), "JPEG holds no transparency"),
        ("a.jpg", {"bits": 16, "grey": True}, (5, 7), "JPEG holds 8 bits"),
        ("a.jpg", {}, (10, 65_536), "at most 65,535 pixels a side"),
        ("a.png", {}, (MAX_PIXELS, 2), "more than the 178,956,970"),
        ("a.png", {"alpha": torch.ones(1, 5, 7), "bits": 16}, (5, 7), "transparency is written with 8 bits"),
    ],
)
def test_what_cannot_be_written_is_refused_at_once(tmp_path, name, photo, size, message):
    with pytest.raises(ValueError, match=message):
        require_writable(tmp_path / name, Photo(torch.zeros(3, 5, 7), **photo), size)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    file = saved(tmp_path / "a.png", RGB)
    before = file.read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_photo(file, Photo(torch.zeros(3, 5, 7)))
    assert file.read_bytes() == before
    assert [f.name for f in tmp_path.iterdir()] == ["a.png"]
