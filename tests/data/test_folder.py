"""A folder of images: what its pixels become, in which order, and what the user reads when something is wrong."""

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


def load(root: Path | str) -> Dataset:
    return folder.load(FolderConfig("folder", str(root), 8))


def save(path: Path, colour: tuple[int, int, int] = GREY) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), colour).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes; two training images and one test image of each."""
    for name in ("train/dog/b", "train/dog/a", "train/cat/1", "train/cat/2", "test/cat/3", "test/dog/c"):
        save(tmp_path / f"{name}.png")
    return tmp_path


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
    assert (data.train.labels.tolist(), data.test.labels.tolist()) == ([0, 0, 1, 1], [0, 1])
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


@pytest.mark.parametrize(
    ("suffix", "mode", "ink"),
    [
        *((suffix, "RGB", RED) for suffix in ("png", "jpg", "jpeg", "bmp", "webp", "gif")),
        *(("png", mode, (255, 255, 255)) for mode in ("1", "L", "LA", "P", "RGBA")),
        ("jpg", "CMYK", (255, 255, 255)),
    ],
)
def test_the_usual_formats_and_every_8_bit_mode_are_read(
    root: Path, suffix: str, mode: str, ink: tuple[int, int, int]
) -> None:
    (root / "train/cat/1.png").unlink()
    Image.new("RGB", (8, 8), ink).convert(mode).save(root / f"train/cat/1.{suffix}")
    assert np.allclose(colour(load(root), 0), ink, atol=3)


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


def damage(path: Path, how: str | bytes) -> None:
    """Make of a path what the words say, or what holds these bytes."""
    if how in ("gone", "empty"):
        shutil.rmtree(path)
    if how == "empty":
        path.mkdir()
        (path / ".DS_Store").touch()
    elif how == "a folder":
        path.mkdir()
    elif how == "an image":
        save(path)
    elif how == "half an image":
        Image.effect_noise((64, 64), 50).save(path)
        path.write_bytes(path.read_bytes()[:500])
    elif how == "TIFF":
        Image.new("RGB", (8, 8)).save(path, format="TIFF")
    elif how == "16 bits":
        Image.fromarray(np.full((8, 8), 40_000, dtype=np.uint16)).save(path)
    elif isinstance(how, bytes):
        path.write_bytes(how)


NO_IMAGE = "{path} is no image that can be read"


@pytest.mark.parametrize(
    ("place", "how", "line"),
    [
        (".", "gone", "{root}/train: No such file"),
        ("train", "gone", "{path}: No such file"),
        ("test", "gone", "{path}: No such file"),
        ("train", "empty", "{path} has no class folders"),
        ("train/dog", "empty", "{path} has no image"),
        ("test/dog", "empty", "{path} has no image"),
        ("test/dog", "gone", "only one of them has dog"),
        ("test/bird/1.png", "an image", "only one of them has bird"),
        ("train/loose.png", "an image", "{path} lies outside the class folders; move it into train/CLASS/"),
        ("train/dog/z.png", b"notes", f"{NO_IMAGE}; use 8-bit PNG"),
        ("train/dog/z.png", b"", f"{NO_IMAGE}; use 8-bit PNG"),
        ("train/dog/z.png", "TIFF", f"{NO_IMAGE}; use 8-bit PNG"),
        ("train/dog/z.png", "a folder", NO_IMAGE),
        ("train/dog/z.png", "half an image", NO_IMAGE),
        ("train/dog/z.png", "16 bits", f"{NO_IMAGE} (more than 8 bits a pixel, which would be clipped)"),
    ],
)
def test_what_cannot_be_read_is_named_in_one_line(root: Path, place: str, how: str | bytes, line: str) -> None:
    damage(root / place, how)
    with pytest.raises(UserError) as error:
        load(root)
    assert str(error.value).startswith("data.dir")
    assert line.format(root=root, path=root / place) in str(error.value)
    assert "\n" not in str(error.value)
