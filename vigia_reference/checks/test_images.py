"""Photos become what the detector reads, or are refused with a reason."""

from pathlib import Path

import pytest

np = pytest.importorskip("numpy", reason="the image pipeline needs Pillow and NumPy")
Image = pytest.importorskip("PIL.Image", reason="the image pipeline needs Pillow and NumPy")

from vigia_reference.images import Preprocessing, UnusableImage  # noqa: E402 - both were found


@pytest.mark.parametrize("name", ["photo.png", "photo.jpg"])
def test_a_photo_is_prepared(name: str, tmp_path: Path) -> None:
    Image.effect_noise((320, 240), 60).convert("RGB").save(tmp_path / name)
    tensor = Preprocessing()(tmp_path / name)
    assert tensor.shape == (640, 640, 3)
    assert tensor.dtype == np.float32
    assert 0 <= tensor.min() < tensor.max() <= 1


def test_a_photo_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    Image.effect_noise((320, 240), 60).convert("RGB").save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UnusableImage):
        Preprocessing()(path)


def test_a_text_with_the_name_of_a_photo_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_text("not a photo", encoding="utf-8")
    with pytest.raises(UnusableImage):
        Preprocessing()(path)
