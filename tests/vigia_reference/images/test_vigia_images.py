"""Photos as they arrive become what the detector reads, or are refused with one clear sentence."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from PIL import Image

from strategies.images import Photo, photos, unusable_photo, usable_photo
from vigia_reference.images import Preprocessing, UnusableImage, equalize, load
from vigia_reference.images.lightness import to_lab, to_rgb


def on_disk(photo: Photo, folder: Path) -> Path:
    path = folder / photo.name
    path.write_bytes(photo.content)
    return path


@given(photo=photos())
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_every_photo_is_prepared_or_refused(photo, tmp_path):
    path = on_disk(photo, tmp_path)
    if not photo.usable:
        with pytest.raises(UnusableImage, match=f"^{photo.name}: [^\n]+$"):
            Preprocessing()(path)
        return
    tensor = Preprocessing(side=32)(path)
    assert tensor.shape == (32, 32, 3)
    assert tensor.dtype == np.float32
    assert 0 <= tensor.min() <= tensor.max() <= 1


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("empty.png", "is empty"),
        ("text.jpg", "neither a JPEG nor a PNG"),
        ("really-a-png.jpg", "holds a PNG, its suffix says JPEG"),
        ("moving.gif", "the suffix '.gif' is not one of .jpg, .jpeg, .png"),
        ("cut-off.jpg", "cut off or broken"),
        ("cut-off.png", "cut off or broken"),
        ("huge.png", "more than the 50,000,000 pixels"),
    ],
)
def test_the_reason_is_told(name, told, tmp_path):
    with pytest.raises(UnusableImage, match=told):
        load(on_disk(unusable_photo(name), tmp_path))


def test_more_pixels_than_allowed_are_refused_before_they_are_unpacked(tmp_path):
    path = on_disk(usable_photo("plain.png", 40, 40), tmp_path)
    assert load(path, most_pixels=1600).shape == (40, 40, 3)
    with pytest.raises(UnusableImage, match="40x40 pixels; more than the 1,599 pixels"):
        load(path, most_pixels=1599)


def test_a_photo_is_turned_as_its_exif_says_and_large_ones_are_reduced(tmp_path):
    assert load(on_disk(usable_photo("turned.jpg", 40, 20), tmp_path)).shape == (40, 20, 3)
    large = tmp_path / "large.png"
    Image.new("RGB", (3000, 1500), "red").save(large)
    assert load(large).shape == (640, 1280, 3)


def test_sixteen_bits_a_pixel_are_scaled_and_not_cut(tmp_path):
    grey = load(on_disk(usable_photo("deep.png", 16, 16), tmp_path))
    assert len(np.unique(grey)) == 256


def test_colours_survive_the_way_to_lightness_and_back():
    every = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert np.array_equal(to_rgb(to_lab(every)), every)
    lightness, a, b = to_lab(np.array([[[255, 255, 255], [0, 0, 0], [119, 119, 119]]], np.uint8))
    assert lightness[0] == pytest.approx([100, 0, 50], abs=0.1)
    assert np.abs([a, b]).max() < 0.02


def test_contrast_is_stretched_but_only_as_far_as_the_limit_allows():
    dull = (
        np.random.default_rng(1).integers(118, 138, (128, 128, 1), dtype=np.uint8).repeat(3, axis=2)
    )
    spreads = [np.ptp(equalize(dull, clip=clip).astype(int)) for clip in (1, 3, 40)]
    assert np.ptp(dull) < spreads[0] < spreads[1] < spreads[2]
    flat = np.full((40, 40, 3), 90, np.uint8)
    assert len(np.unique(equalize(flat))) == 1


def test_without_a_clip_limit_one_tile_is_plain_equalization():
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16) // 2
    rgb = grey[..., None].repeat(3, axis=2)
    lightness = to_lab(equalize(rgb, clip=256, tiles=1))[0]
    ranks = np.searchsorted(np.sort(grey.ravel()), grey, side="right") / 256 * 100
    assert np.abs(lightness - ranks).max() < 1


def test_the_light_has_no_seams_between_tiles():
    ramp = np.linspace(60, 180, 160).astype(np.uint8)[None, :, None].repeat(160, 0).repeat(3, 2)
    lightness = to_lab(equalize(ramp, clip=2))[0]
    assert np.abs(np.diff(lightness, axis=1)).max() < 12


def test_faces_are_blurred_before_anything_else_and_a_wrong_hook_is_told(tmp_path):
    path = on_disk(usable_photo("plain.png", 8, 8), tmp_path)
    black = Preprocessing(side=4, blur_faces=np.zeros_like)(path)
    assert len(np.unique(black)) == 1
    with pytest.raises(ValueError, match=r"blur_faces returned uint8 \(4, 8, 3\)"):
        Preprocessing(blur_faces=lambda colours: colours[:4])(path)


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="side and tiles must be at least 1"):
        Preprocessing(side=0)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_does_not_matter(tmp_path):
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff")
    path = tmp_path / "odd.jpg"
    path.write_bytes(file.getvalue())
    assert load(path).shape == (4, 4, 3)
