"""What each iteration sees: a function of seed and iteration alone, drawn on the CPU, gathered on the device."""

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from resexp.data.dataset import Split
from resexp.seeds import generator_of


def draw_epoch(seed: int, epoch: int, images: int, pad: int, flip: bool) -> Tensor:
    """One epoch: int32 (images, 4) of image index, crop offset down, crop offset right, flip; every image once."""
    generator = generator_of("plan", seed, epoch)
    order = torch.randperm(images, generator=generator)
    down, right = torch.randint(2 * pad + 1, (2, images), generator=generator)
    flips = torch.randint(2, (images,), generator=generator) * int(flip)
    return torch.stack([order, down, right, flips], 1).to(torch.int32)


class Sampler:
    """The endless sequence of epochs of one seed, cut into full batches across their borders.

    While an epoch is in use, a thread draws the next one, which is sent to the device as soon as it is drawn.
    """

    def __init__(self, seed: int, images: int, batch_size: int, pad: int, flip: bool, device: torch.device) -> None:
        self.seed, self.images, self.batch_size = seed, images, batch_size
        self.pad, self.flip, self.device = pad, flip, device
        self._drawer = ThreadPoolExecutor(1, "epoch")
        self._drawn: dict[int, Future[Tensor]] = {}
        self._sent: dict[int, Tensor] = {}

    def _draw(self, epoch: int) -> Tensor:
        drawn = draw_epoch(self.seed, epoch, self.images, self.pad, self.flip)
        if self.device.type == "cuda":
            with torch.cuda.device(self.device):  # each thread has a current device of its own
                return drawn.pin_memory()
        return drawn

    def _ask(self, epoch: int) -> Future[Tensor]:
        if epoch not in self._drawn:
            self._drawn[epoch] = self._drawer.submit(self._draw, epoch)
        return self._drawn[epoch]

    def _send(self, epoch: int) -> Tensor:
        if epoch not in self._sent:
            self._sent[epoch] = self._ask(epoch).result().to(self.device, non_blocking=True)
        return self._sent[epoch]

    def batch(self, iteration: int) -> Tensor:
        """The rows of `draw_epoch`, int32 (batch_size, 4), for an iteration counted from 1."""
        first, end = (iteration - 1) * self.batch_size, iteration * self.batch_size
        starts = range(first - first % self.images, end, self.images)
        parts = [self._send(start // self.images)[max(first - start, 0) : end - start] for start in starts]
        following = end // self.images + 1
        if self._ask(following).done():
            self._send(following)
        for epochs in (self._drawn, self._sent):
            for old in epochs.keys() - {following - 1, following}:
                del epochs[old]
        return parts[0] if len(parts) == 1 else torch.cat(parts)


class Images(nn.Module):
    """A split on the device: uint8 with zero padding, the training set's mean image, labels.

    Pixels are stored (N, H, W, 3): a gathered batch is then in the channels-last layout without a copy. A module, so
    that an engine can compile it.
    """

    def __init__(self, pixels: Tensor, mean: Tensor, labels: Tensor, pad: int) -> None:
        super().__init__()
        self.pixels, self.mean, self.labels, self.pad = pixels, mean, labels, pad

    @staticmethod
    def of(split: Split, mean: Tensor, pad: int, device: torch.device) -> "Images":
        """Move a split and the mean image (3, H, W), 0 to 255, to the device, both padded by `pad` zeros."""
        pixels = functional.pad(split.images.permute(0, 2, 3, 1), (0, 0, pad, pad, pad, pad)).contiguous()
        mean = functional.pad(mean, (pad, pad, pad, pad)).permute(1, 2, 0).contiguous()
        return Images(pixels.to(device), mean.to(device), split.labels.to(device), pad)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def side(self) -> int:
        """Pixels of an image, without its padding, in height as in width."""
        return self.pixels.shape[1] - 2 * self.pad

    def forward(self, picks: Tensor) -> tuple[Tensor, Tensor]:
        """Crop and flip image and mean together and subtract, so that the border is exactly 0 (section 4.2).

        Rows of `draw_epoch` (B, 4) -> float32 images (B, 3, H, W), -1 to 1, and labels (B,).
        """
        index, down, right, flip = picks.to(torch.int64).unbind(1)
        side, padded = self.side, self.pixels.shape[1]
        along = torch.arange(side, device=picks.device)
        rows = (down[:, None] + along)[:, :, None]
        columns = (right[:, None] + torch.where(flip[:, None] > 0, side - 1 - along, along))[:, None, :]
        # Where a pixel lies in its image, and in all of them: a list of places is gathered faster than a grid.
        own = rows * padded + columns
        among_all = own + index[:, None, None] * padded**2
        images = self.pixels.view(-1, 3).index_select(0, among_all.view(-1)).float()
        images -= self.mean.view(-1, 3).index_select(0, own.view(-1))
        images /= 255
        return images.view(-1, side, side, 3).permute(0, 3, 1, 2), self.labels[index]

    def plain(self, first: int, count: int) -> tuple[Tensor, Tensor]:
        """Part of the split, centred and unflipped: float32 images (B, 3, H, W) and labels (B,)."""
        inside = slice(self.pad, self.pixels.shape[1] - self.pad)
        pixels = self.pixels[first : first + count, inside, inside].float()
        images = (pixels - self.mean[inside, inside]) / 255
        return images.permute(0, 3, 1, 2), self.labels[first : first + count]


def mean_image(split: Split) -> Tensor:
    """The per-pixel mean of a training set: float32 (3, H, W), 0 to 255, summed exactly."""
    total = split.images.numpy().sum(0, dtype=np.uint64)  # several times as fast as torch's
    return torch.from_numpy(total / len(split)).float()
