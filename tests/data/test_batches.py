"""What each iteration sees: which images, in which order, cropped and flipped how, with which pixels."""

import threading
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from resexp.data import batches
from resexp.data.batches import Images, Sampler, draw_epoch, mean_image
from resexp.data.dataset import Split

CPU = torch.device("cpu")
SEEDS = st.integers(0, 2**31 - 1)


def split(images: int = 12, size: int = 8, seed: int = 0) -> Split:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (images, 3, size, size), generator=generator).to(torch.uint8)
    return Split(pixels, torch.randint(10, (images,), generator=generator))


class Prepared(NamedTuple):
    """A split, its mean image, and the two on the device with a border of 2."""

    split: Split
    mean: Tensor
    images: Images


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    source = split()
    mean = mean_image(source)
    return Prepared(source, mean, Images.of(source, mean, 2, CPU))


@settings(deadline=None, max_examples=30)
@given(SEEDS, st.integers(0, 200), st.integers(1, 60), st.integers(0, 4), st.booleans())
def test_an_epoch_holds_every_image_once(seed: int, epoch: int, images: int, pad: int, flip: bool) -> None:
    drawn = draw_epoch(seed, epoch, images, pad, flip)
    assert drawn.shape == (images, 4)
    assert drawn[:, 0].sort().values.tolist() == list(range(images))
    assert 0 <= int(drawn[:, 1:3].min()) <= int(drawn[:, 1:3].max()) <= 2 * pad


@settings(deadline=None, max_examples=20)
@given(SEEDS, st.integers(0, 200))
def test_a_plan_depends_on_seed_and_epoch_alone(seed: int, epoch: int) -> None:
    drawn = draw_epoch(seed, epoch, 50, 4, True)
    torch.rand(1)
    assert torch.equal(draw_epoch(seed, epoch, 50, 4, True), drawn)
    assert not torch.equal(draw_epoch(seed + 1, epoch, 50, 4, True), drawn)
    assert not torch.equal(draw_epoch(seed, epoch + 1, 50, 4, True), drawn)


def test_crops_and_flips_are_drawn_evenly() -> None:
    _, down, right, flip = draw_epoch(0, 0, 9000, 4, True).unbind(1)
    for offsets in (down, right):
        assert all(900 < number < 1100 for number in offsets.bincount(minlength=9).tolist())
    assert 4300 < int(flip.sum()) < 4700
    assert abs(int((down == right).sum()) - 1000) < 150


def test_images_are_flipped_only_when_asked() -> None:
    assert not draw_epoch(0, 0, 1000, 4, False)[:, 3].any()
    assert draw_epoch(0, 0, 1000, 4, True)[:, 3].unique().tolist() == [0, 1]


@settings(deadline=None, max_examples=40)
@given(SEEDS, st.integers(1, 20), st.integers(1, 45), st.lists(st.integers(1, 12), min_size=1, max_size=6))
def test_batches_are_the_plans_cut_to_size_in_whatever_order_they_are_asked_for(
    seed: int, images: int, batch_size: int, iterations: list[int]
) -> None:
    sampler = Sampler(seed, images, batch_size, 4, True, CPU)
    epochs = -(-12 * batch_size // images)
    whole = torch.cat([draw_epoch(seed, epoch, images, 4, True) for epoch in range(epochs)])
    for iteration in iterations:
        batch = sampler.batch(iteration)
        assert torch.equal(batch, whole[(iteration - 1) * batch_size : iteration * batch_size])


def test_a_stream_keeps_no_more_than_the_epochs_of_its_batch_and_the_next() -> None:
    sampler = Sampler(0, 10, 4, 4, True, CPU)
    for iteration in range(1, 30):
        sampler.batch(iteration)
        assert len(sampler._drawn) <= 2
        assert len(sampler._sent) <= 2


def test_the_next_epoch_is_drawn_by_another_thread_before_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[int, str] = {}

    own = 4711  # threads of other tests' streams may still be drawing

    def watched(seed: int, epoch: int, images: int, pad: int, flip: bool) -> Tensor:
        if seed == own:
            drawn[epoch] = threading.current_thread().name
        return draw_epoch(seed, epoch, images, pad, flip)

    monkeypatch.setattr(batches, "draw_epoch", watched)
    sampler = Sampler(own, 10, 4, 4, True, CPU)
    sampler.batch(1)
    sampler._drawn[1].result(timeout=30)
    sampler.batch(2)  # still of the first epoch
    assert sorted(drawn) == [0, 1]
    assert threading.current_thread().name not in drawn.values()
    assert torch.equal(sampler._sent[1], draw_epoch(own, 1, 10, 4, True))


def test_a_plan_that_cannot_be_drawn_is_told_where_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Tensor:
        raise MemoryError("no room for a plan")

    sampler = Sampler(0, 10, 4, 4, True, CPU)
    monkeypatch.setattr(batches, "draw_epoch", broken)
    with pytest.raises(MemoryError, match="no room"):
        sampler.batch(1)


def by_hand(source: Split, mean: Tensor, picks: Tensor, pad: int) -> Tensor:
    """One image after the other: subtract the mean, pad with zeros, crop, flip."""
    size = mean.shape[1]
    out: list[Tensor] = []
    for index, down, right, flip in picks.tolist():
        image = functional.pad((source.images[index].float() - mean) / 255, (pad, pad, pad, pad))
        image = image[:, down : down + size, right : right + size]
        out.append(image.flip(2) if flip else image)
    return torch.stack(out)


@settings(deadline=None, max_examples=25)
@given(SEEDS, st.integers(0, 4), st.integers(4, 9))
def test_gathered_images_are_those_made_one_by_one(seed: int, pad: int, size: int) -> None:
    source = split(size=size, seed=seed)
    mean = mean_image(source)
    picks = draw_epoch(seed, 0, 12, pad, True)
    images, labels = Images.of(source, mean, pad, CPU).gather(picks)
    assert torch.equal(images, by_hand(source, mean, picks, pad))
    assert torch.equal(labels, source.labels[picks[:, 0].long()])


@pytest.mark.parametrize("flip", [0, 1])
def test_the_border_is_exactly_zero(prepared: Prepared, flip: int) -> None:
    corner = torch.tensor([[3, 0, 4, flip]], dtype=torch.int32)
    image = prepared.images.gather(corner)[0][0]
    side = slice(0, 2) if flip else slice(6, 8)
    inside = slice(2, 8) if flip else slice(0, 6)
    assert not image[:, :2].any()
    assert not image[:, :, side].any()
    assert image[:, 2:, inside].abs().min() > 0


def test_a_plain_stretch_is_centred_and_unflipped(prepared: Prepared) -> None:
    images, labels = prepared.images.plain(3, 5)
    assert torch.equal(images, (prepared.split.images[3:8].float() - prepared.mean) / 255)
    assert torch.equal(labels, prepared.split.labels[3:8])
    centred = torch.tensor([[index, 2, 2, 0] for index in range(3, 8)], dtype=torch.int32)
    assert torch.equal(images, prepared.images.gather(centred)[0])


def test_plain_stretches_cover_all_images_once(prepared: Prepared) -> None:
    lengths = [len(prepared.images.plain(first, 5)[1]) for first in range(0, len(prepared.images), 5)]
    assert lengths == [5, 5, 2]


def test_batches_are_float_images_in_channels_last_layout(prepared: Prepared) -> None:
    for images, labels in (prepared.images.gather(draw_epoch(0, 0, 12, 2, True)), prepared.images.plain(1, 7)):
        assert images.dtype == torch.float32
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert labels.dtype == torch.int64


@pytest.mark.parametrize("images", [1, 7, 5000])
def test_the_mean_image_is_exact(images: int) -> None:
    source = split(images, size=2)
    mean = mean_image(source)
    for channel, row, column in ((0, 0, 0), (1, 0, 1), (2, 1, 0), (2, 1, 1)):
        total = sum(source.images[:, channel, row, column].tolist())
        assert mean[channel, row, column].item() == torch.tensor(total / images).item()
    assert mean.shape == (3, 2, 2)
