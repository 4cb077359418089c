"""A user's own images, one folder a class: DIR/train/CLASS/* and DIR/test/CLASS/*."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from resexp.config.settings import FolderConfig, expand
from resexp.data.dataset import Dataset, Split
from resexp.errors import UserError

FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF")
"""Recognised by a file's content, not by its name."""


def load(config: FolderConfig) -> Dataset:
    """Read all images, classes and files in the order of their names; hidden files are ignored.

    Of an image that is not square the largest square in the middle is used. It is resized by Pillow's bicubic filter,
    which antialiases; one that has the size already keeps its pixels. Grey images become RGB, transparency is dropped,
    the camera's orientation is applied, and of an animation the first frame is taken.

    Raises UserError naming the folder or file that is missing, empty or no image.
    """
    root = expand("data.dir", str(config.dir))
    folders = {split: _class_folders(root, split) for split in ("train", "test")}
    classes = [folder.name for folder in folders["train"]]
    if differing := ", ".join(sorted(set(classes) ^ {folder.name for folder in folders["test"]})):
        problem = f"train/ and test/ must hold the same classes; only one of them has {differing}"
        raise UserError(f"data.dir={root}: {problem}")
    train, test = (_read_split(folders[split], config.image_size) for split in ("train", "test"))
    return Dataset("folder", classes, train, test)


def _visible(folder: Path, empty: str) -> list[Path]:
    """What a folder holds but for hidden files; `empty` is what to say where that is nothing."""
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        remedy = "data.dir=PATH must hold train/CLASS/ and test/CLASS/ with images"
        raise UserError(f"data.dir: {folder}: {error.strerror}; {remedy}") from error
    if not paths:
        raise UserError(f"data.dir: {folder} {empty}")
    return paths


def _class_folders(root: Path, split: str) -> list[Path]:
    paths = _visible(root / split, f"has no class folders; put the images into {split}/CLASS/")
    if loose := next((path for path in paths if not path.is_dir()), None):
        remedy = f"move it into {split}/CLASS/ or remove it"
        raise UserError(f"data.dir: {loose} lies outside the class folders; {remedy}")
    return paths


def _read_split(folders: list[Path], size: int) -> Split:
    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    for label, folder in enumerate(folders):
        paths = _visible(folder, "has no image; add some or remove the folder from train/ and test/")
        images += [_read_image(path, size) for path in paths]
        labels += [label] * len(paths)
    return Split(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous(), torch.tensor(labels))


def _read_image(path: Path, size: int) -> NDArray[np.uint8]:
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.mode.startswith(("I", "F")):
                raise ValueError("more than 8 bits a pixel, which would be clipped")
            upright = ImageOps.exif_transpose(image).convert("RGBA" if "transparency" in image.info else "RGB")
        return np.asarray(ImageOps.fit(upright.convert("RGB"), (size, size), Image.Resampling.BICUBIC))
    except Exception as error:  # Pillow's decoders raise many kinds of it on a damaged file
        reason = "" if isinstance(error, Image.UnidentifiedImageError) else f" ({error or type(error).__name__})"
        remedy = f"use 8-bit {', '.join(FORMATS)}, or remove the file"
        raise UserError(f"data.dir: {path} is no image that can be read{reason}; {remedy}") from error
