"""A folder of images: what its pixels become, in which order, and what a person is told when something is wrong."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resexp.config.settings import FolderConfig
from resexp.data import folder
from resexp.data.dataset import Dataset
from resexp.errors import UserError

RED, BLUE, GREY = (255, 0, 0), (0, 0, 255), (90, 90, 90)


def load(root: Path | str | None, size: int = 8) -> Dataset:
    return folder.load(FolderConfig("folder", None if root is None else str(root), size))


def save(path: Path, colour: tuple[int, int, int] = GREY, size: tuple[int, int] = (8, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes; two training images and one test image of each."""
    for name in ("train/dog/b.png", "train/dog/a.png", "train/cat/1.png", "train/cat/2.png"):
        save(tmp_path / name)
    for name in ("test/cat/3.png", "test/dog/c.png"):
        save(tmp_path / name)
    return tmp_path


def message(root: Path | str | None) -> str:
    """The one line that a person reads when loading fails; it names the setting."""
    with pytest.raises(UserError) as caught:
        load(root)
    text = str(caught.value)
    assert "\n" not in text
    assert "data.dir" in text
    return text


def colour(data: Dataset, index: int) -> tuple[int, ...]:
    """The one colour of a training image."""
    pixels = data.train.images[index].flatten(1)
    assert (pixels == pixels[:, :1]).all()
    return tuple(pixels[:, 0].tolist())


def test_classes_and_files_come_in_the_order_of_their_names(root: Path) -> None:
    colours = {"cat/1": (1, 0, 0), "cat/2": (2, 0, 0), "dog/a": (3, 0, 0), "dog/b": (4, 0, 0)}
    for name in reversed(colours):
        save(root / "train" / f"{name}.png", colours[name])
    data = load(root)
    assert (data.name, data.classes, data.validation) == ("folder", ["cat", "dog"], None)
    assert [colour(data, i) for i in range(4)] == list(colours.values())
    assert data.train.labels.tolist() == [0, 0, 1, 1]
    assert data.test.labels.tolist() == [0, 1]
    assert (data.train.images.dtype, data.train.labels.dtype) == (torch.uint8, torch.int64)
    assert (data.train.images.shape, data.test.images.shape) == ((4, 3, 8, 8), (2, 3, 8, 8))
    assert data.train.images.is_contiguous()


def test_images_of_the_right_size_keep_their_pixels(root: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(root / "train/cat/1.png")
    assert np.array_equal(load(root).train.images[0].permute(1, 2, 0).numpy(), pixels)


def test_shrinking_averages_instead_of_skipping_pixels(root: Path) -> None:
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(board).save(root / "train/cat/1.png")
    middle = load(root).train.images[0, :, 2:6, 2:6].int()
    assert (middle - 127).abs().max() <= 4


@pytest.mark.parametrize("wide", [True, False])
def test_of_a_long_image_the_middle_square_is_used(wide: bool, root: Path) -> None:
    image = Image.new("RGB", (24, 8), RED)
    image.paste(BLUE, (8, 0, 16, 8))
    (image if wide else image.transpose(Image.Transpose.ROTATE_90)).save(root / "train/cat/1.png")
    assert colour(load(root), 0) == BLUE


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "bmp", "webp", "gif"])
def test_the_usual_formats_are_read(suffix: str, root: Path) -> None:
    (root / "train/cat/1.png").unlink()
    save(root / f"train/cat/1.{suffix}", RED)
    assert np.allclose(colour(load(root), 0), RED, atol=3)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_every_8_bit_mode_becomes_rgb(mode: str, root: Path) -> None:
    target = root / f"train/cat/1.{'jpg' if mode == 'CMYK' else 'png'}"
    (root / "train/cat/1.png").unlink()
    Image.new("RGB", (8, 8), (255, 255, 255)).convert(mode).save(target)
    assert np.allclose(colour(load(root), 0), 255, atol=3)


def test_a_palette_with_transparency_keeps_its_colours(root: Path) -> None:
    Image.new("RGB", (8, 8), RED).convert("P").save(root / "train/cat/1.png", transparency=bytes([128] * 256))
    assert np.allclose(colour(load(root), 0), RED, atol=3)


def test_photographs_are_turned_upright(root: Path) -> None:
    image = Image.new("RGB", (8, 8), RED)
    image.paste(BLUE, (0, 0, 8, 4))
    exif = Image.Exif()
    exif[0x0112] = 3  # orientation: upside down
    image.save(root / "train/cat/1.png", exif=exif)
    assert load(root).train.images[0, :, 0, 0].tolist() == list(RED)


def test_hidden_files_are_ignored(root: Path) -> None:
    for place in ("", "train", "train/cat", "test"):
        (root / place / ".DS_Store").touch()
    (root / "train" / ".cache").mkdir()
    assert len(load(root).train) == 4


def test_home_is_expanded(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(root.parent))
    assert len(load(f"~/{root.name}").train) == 4


def test_no_folder_given() -> None:
    assert "data.dir=PATH" in message(None)


@pytest.mark.parametrize("missing", [".", "train", "test"])
def test_a_missing_folder_is_named(missing: str, root: Path) -> None:
    shutil.rmtree(root / missing)
    assert str(root / (missing if missing != "." else "train")) in message(root)


def test_a_split_without_class_folders(root: Path) -> None:
    shutil.rmtree(root / "train")
    (root / "train").mkdir()
    assert f"{root / 'train'} has no class folders" in message(root)


def test_images_beside_the_class_folders_are_not_dropped_silently(root: Path) -> None:
    save(root / "train" / "loose.png")
    text = message(root)
    assert str(root / "train" / "loose.png") in text
    assert "train/CLASS/" in text


@pytest.mark.parametrize("split", ["train", "test"])
def test_an_empty_class_folder_is_named(split: str, root: Path) -> None:
    for path in (root / split / "dog").iterdir():
        path.unlink()
    (root / split / "dog" / ".DS_Store").touch()
    assert str(root / split / "dog") in message(root)


def test_classes_of_one_split_alone_are_named(root: Path) -> None:
    save(root / "test/bird/1.png")
    shutil.rmtree(root / "test/dog")
    assert "bird, dog" in message(root)


@pytest.mark.parametrize("kind", ["text", "empty", "cut", "folder", "tiff"])
def test_a_file_that_is_no_image_is_named(kind: str, root: Path) -> None:
    path = root / "train/dog/z.png"
    if kind == "folder":
        path.mkdir()
    elif kind == "tiff":
        Image.new("RGB", (8, 8)).save(path, format="TIFF")
    else:
        Image.effect_noise((64, 64), 50).save(path)
        path.write_bytes({"text": b"notes", "empty": b"", "cut": path.read_bytes()[:500]}[kind])
    text = message(root)
    assert str(path) in text
    assert "PNG" in text


def test_16_bit_grey_is_refused_rather_than_clipped(root: Path) -> None:
    path = root / "train/dog/deep.png"
    Image.fromarray(np.full((8, 8), 40_000, dtype=np.uint16)).save(path)
    text = message(root)
    assert str(path) in text
    assert "8 bit" in text
