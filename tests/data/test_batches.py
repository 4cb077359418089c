"""What each iteration sees: which images, in which order, cropped and flipped how, with which pixels."""

import threading

import pytest
import torch
from hypothesis import given
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


@given(SEEDS, st.integers(0, 200), st.integers(1, 60), st.integers(0, 4), st.booleans())
def test_an_epoch_holds_every_image_once(seed: int, epoch: int, images: int, pad: int, flip: bool) -> None:
    drawn = draw_epoch(seed, epoch, images, pad, flip)
    assert drawn.shape == (images, 4)
    assert drawn[:, 0].sort().values.tolist() == list(range(images))
    assert 0 <= int(drawn[:, 1:3].min()) <= int(drawn[:, 1:3].max()) <= 2 * pad


@given(SEEDS, st.integers(0, 200))
def test_an_epoch_depends_on_the_seed_and_its_number_alone(seed: int, epoch: int) -> None:
    drawn = draw_epoch(seed, epoch, 50, 4, True)
    torch.rand(1)
    assert torch.equal(draw_epoch(seed, epoch, 50, 4, True), drawn)
    assert not torch.equal(draw_epoch(seed + 1, epoch, 50, 4, True), drawn)
    assert not torch.equal(draw_epoch(seed, epoch + 1, 50, 4, True), drawn)


def test_crops_and_flips_are_drawn_evenly_and_flips_only_on_request() -> None:
    _, down, right, flip = draw_epoch(0, 0, 9000, 4, True).unbind(1)
    for offsets in (down, right):
        assert all(900 < number < 1100 for number in offsets.bincount(minlength=9).tolist())
    assert abs(int((down == right).sum()) - 1000) < 150
    assert flip.unique().tolist() == [0, 1]
    assert 4300 < int(flip.sum()) < 4700
    assert not draw_epoch(0, 0, 1000, 4, False)[:, 3].any()


@given(SEEDS, st.integers(1, 20), st.integers(1, 45), st.lists(st.integers(1, 12), min_size=1, max_size=6))
def test_batches_are_the_epochs_cut_to_size_whatever_the_order_of_the_iterations(
    seed: int, images: int, batch_size: int, iterations: list[int]
) -> None:
    sampler = Sampler(seed, images, batch_size, 4, True, CPU)
    epochs = -(-12 * batch_size // images)
    whole = torch.cat([draw_epoch(seed, epoch, images, 4, True) for epoch in range(epochs)])
    for iteration in iterations:
        batch = sampler.batch(iteration)
        assert torch.equal(batch, whole[(iteration - 1) * batch_size : iteration * batch_size])


def test_another_thread_draws_each_epoch_once_and_before_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    own, drawn, second = 4711, list[int](), threading.Event()  # threads of other tests' samplers may still be drawing

    def watched(seed: int, epoch: int, images: int, pad: int, flip: bool) -> Tensor:
        if seed == own:
            assert threading.current_thread() is not threading.main_thread()
            drawn.append(epoch)
            if epoch == 1:
                second.set()
        return draw_epoch(seed, epoch, images, pad, flip)

    monkeypatch.setattr(batches, "draw_epoch", watched)
    sampler = Sampler(own, 10, 4, 4, True, CPU)
    sampler.batch(1)
    assert second.wait(30), "the second epoch, while the first is in use"
    for iteration in range(2, 26):  # to the end of the tenth epoch
        sampler.batch(iteration)
    sampler._drawer.shutdown()
    assert drawn in (list(range(11)), list(range(12)))


def test_an_epoch_that_cannot_be_drawn_raises_where_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Tensor:
        raise MemoryError("out of memory")

    sampler = Sampler(0, 10, 4, 4, True, CPU)
    monkeypatch.setattr(batches, "draw_epoch", broken)
    with pytest.raises(MemoryError, match="out of memory"):
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


@given(SEEDS, st.integers(0, 4), st.integers(4, 9))
def test_gathered_images_are_those_made_one_by_one_with_a_border_of_exactly_zero(
    seed: int, pad: int, size: int
) -> None:
    source = split(size=size, seed=seed)
    mean = mean_image(source)
    picks = draw_epoch(seed, 0, 12, pad, True)
    images, labels = Images.of(source, mean, pad, CPU)(picks)
    assert torch.equal(images, by_hand(source, mean, picks, pad))
    assert torch.equal(labels, source.labels[picks[:, 0].long()])


def test_plain_images_are_centred_and_unflipped_and_each_comes_once() -> None:
    source = split()
    mean = mean_image(source)
    prepared = Images.of(source, mean, 2, CPU)
    images, labels = prepared.plain(3, 5)
    assert torch.equal(images, (source.images[3:8].float() - mean) / 255)
    assert torch.equal(labels, source.labels[3:8])
    centred = torch.tensor([[index, 2, 2, 0] for index in range(3, 8)], dtype=torch.int32)
    assert torch.equal(images, prepared(centred)[0])
    assert [len(prepared.plain(first, 5)[1]) for first in (0, 5, 10)] == [5, 5, 2]
    for images, labels in (prepared(draw_epoch(0, 0, 12, 2, True)), prepared.plain(1, 7)):
        assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
        assert images.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("images", [1, 7, 5000])
def test_the_mean_image_is_exact(images: int) -> None:
    source = split(images, size=2)
    exact = source.images.double().sum(0) / images
    assert torch.equal(mean_image(source), exact.float())


def test_epochs_that_are_over_are_forgotten() -> None:
    sampler = Sampler(0, 10, 4, 4, True, CPU)
    for iteration in range(1, 60):
        sampler.batch(iteration)
        assert len(sampler._drawn) <= 2
        assert len(sampler._sent) <= 2
