"""The embedded data set: what a seed and the settings decide, whatever its shapes look like."""

from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st

from resexp.config.settings import ShapesConfig
from resexp.data.dataset import Dataset
from resexp.data.load import load

DEFAULTS: dict[str, Any] = {
    "seed": 0,
    "image_size": 8,
    "train_images": 40,
    "test_images": 20,
    "noise": 0.05,
    "hint": 0.5,
}


def shapes(**changes: Any) -> Dataset:
    return load(ShapesConfig(name="shapes", **{**DEFAULTS, **changes}))


def test_images_depend_on_the_seed_alone() -> None:
    one = shapes()
    torch.rand(1)
    again, other = shapes(), shapes(seed=1)
    assert torch.equal(one.train.images, again.train.images)
    assert torch.equal(one.test.images, again.test.images)
    assert (one.train.images != other.train.images).flatten(1).any(1).all()
    assert one.digest == again.digest != other.digest


def test_no_test_image_is_a_training_image() -> None:
    data = shapes(train_images=20)
    train, test = ({image.numpy().tobytes() for image in split.images} for split in (data.train, data.test))
    assert (len(train), len(test)) == (20, 20)
    assert train.isdisjoint(test)


@given(st.integers(10, 64), st.integers(10, 64), st.integers(8, 33))
def test_images_are_bytes_of_the_wanted_size_and_classes_balanced_within_one(
    train_images: int, test_images: int, size: int
) -> None:
    data = shapes(train_images=train_images, test_images=test_images, image_size=size)
    for split, images in ((data.train, train_images), (data.test, test_images)):
        assert split.images.shape == (images, 3, size, size)
        assert (split.images.dtype, split.labels.dtype) == (torch.uint8, torch.int64)
        numbers = split.labels.bincount(minlength=len(data.classes))
        assert len(numbers) == len(data.classes) == 10
        assert int(numbers.sum()) == images
        assert int(numbers.max() - numbers.min()) <= 1


def test_pixels_use_the_range_of_a_byte() -> None:
    pixels = shapes(image_size=16, train_images=200).train.images
    assert int(pixels.min()) < 40
    assert int(pixels.max()) > 215
    assert pixels.unique().numel() > 100


def test_noise_is_added_to_every_image() -> None:
    clean, noisy = shapes(noise=0.0).train.images.float(), shapes(noise=0.2).train.images.float()
    assert ((clean - noisy).flatten(1).std(1) > 0.1 * 255).all()
