"""The embedded data set: coloured shapes on a coloured background, generated from a seed, ten classes.

Each shape is a signed distance function: negative inside, positive outside, in units of half the image's width.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from resexp.config.settings import ShapesConfig
from resexp.data.dataset import Dataset, Split
from resexp.seeds import generator_of

Distance = Callable[[Tensor, Tensor], Tensor]
THIRDS = (0, 2 * math.pi / 3, 4 * math.pi / 3)
"""Of a full turn."""


def _box(x: Tensor, y: Tensor, half_width: float, half_height: float) -> Tensor:
    dx, dy = x.abs() - half_width, y.abs() - half_height
    outside = torch.hypot(dx.clamp(min=0), dy.clamp(min=0))
    return outside + torch.maximum(dx, dy).clamp(max=0)


SHAPES: dict[str, Distance] = {
    "disc": lambda x, y: torch.hypot(x, y) - 1,
    "ring": lambda x, y: (torch.hypot(x, y) - 0.75).abs() - 0.25,
    "square": lambda x, y: _box(x, y, 0.8, 0.8),
    "frame": lambda x, y: _box(x, y, 0.68, 0.68).abs() - 0.2,
    "bar": lambda x, y: _box(x, y, 1.0, 0.38),
    "triangle": lambda x, y: torch.stack([x * math.cos(turn) + y * math.sin(turn) - 0.5 for turn in THIRDS]).amax(0),
    "half disc": lambda x, y: torch.maximum(torch.hypot(x, y) - 1, -0.3 - y),
    "cross": lambda x, y: torch.minimum(_box(x, y, 1.0, 0.32), _box(x, y, 0.32, 1.0)),
    "star": lambda x, y: torch.hypot(x, y) - (0.68 + 0.36 * torch.cos(5 * torch.atan2(y, x))),
    "crescent": lambda x, y: torch.maximum(torch.hypot(x, y) - 1, 0.85 - torch.hypot(x - 0.55, y)),
}
"""Class name -> signed distance; a shape fits the unit circle."""


def _hue(labels: Tensor) -> Tensor:
    """A colour for each class, around the colour circle: (N,) -> (N, 3), 0.1 to 0.9."""
    angle = labels * (2 * math.pi / len(SHAPES))
    return 0.5 + 0.4 * torch.stack([(angle + third).cos() for third in THIRDS], 1)


def draw(count: int, size: int, noise: float, hint: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw `count` images: uint8 (count, 3, size, size) and their labels (count,), spread evenly over the classes.

    Place, size, rotation, colours, a gradient in the background and `noise` (standard deviation, of the range 0 to 1)
    vary from image to image. The background is mixed with the class's own colour by `hint` (0: not at all, 1: it is
    that colour), as sky and water do in photographs; without it, deep plain networks find nothing to begin with.
    """

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator)

    labels = torch.arange(count) % len(SHAPES)
    labels = labels[torch.randperm(count, generator=generator)]
    radius, angle = uniform(0.4, 0.8, 1, 1), uniform(0, 2 * math.pi, 1, 1)
    centre = uniform(-1, 1, 2, 1, 1) * (0.9 - radius)[:, None]
    ground, ink = uniform(0.1, 0.9, 3), uniform(0.1, 0.9, 3)
    ground = (1 - hint) * ground + hint * _hue(labels)
    contrast = (ink - ground).abs().mean(1, keepdim=True)
    ink = torch.where(contrast < 0.25, (ground + 0.5) % 1, ink)
    slope = uniform(-0.15, 0.15, 2, 1, 1)

    pixels = (torch.arange(size) + 0.5) * 2 / size - 1
    grid_y, grid_x = torch.meshgrid(pixels, pixels, indexing="ij")
    x, y = (grid_x - centre[:, 0]) / radius, (grid_y - centre[:, 1]) / radius
    x, y = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    distance = torch.empty(count, size, size)
    for label, shape in enumerate(SHAPES.values()):
        own = labels == label
        distance[own] = shape(x[own], y[own])

    edge = distance * radius * size / 2  # in pixels, so that edges are one pixel soft at any size
    cover = (0.5 - edge).clamp(0, 1)[:, None]
    tilt = slope[:, 0] * grid_x + slope[:, 1] * grid_y
    images = (ground[:, :, None, None] + tilt[:, None]) * (1 - cover) + ink[:, :, None, None] * cover
    images += noise * torch.randn(images.shape, generator=generator)
    return (images.clamp(0, 1) * 255).round().to(torch.uint8), labels


def load(config: ShapesConfig) -> Dataset:
    """Generate the data set of a configuration, about a second for 10,000 images."""

    def split(name: str, count: int) -> Split:
        generator = generator_of("shapes", name, config.seed)
        return Split(*draw(count, config.image_size, config.noise, config.hint, generator))

    return Dataset("shapes", list(SHAPES), split("train", config.train_images), split("test", config.test_images))
