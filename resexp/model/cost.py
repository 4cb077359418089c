"""Parameters and multiply-adds of a network by arithmetic, without building it."""

from resexp.config.settings import FolderConfig, ModelConfig, ShapesConfig, TrainSettings

IMAGE_SIZE = 32
CLASSES = 10
CIFAR_IMAGES = 50_000
"""For training."""
FLOATS_DRAWN = 8
"""Numbers for each pixel of a generated image while it is drawn: three colours, their noise, two coordinates."""
WEIGHT_COPIES = 3
"""Weights, gradients, momentum."""


def layers(model: ModelConfig) -> list[tuple[int, int, int, int, int]]:
    """All convolutions by kind: how many, kernel size, input maps, output maps, height of output at 32x32 pixels."""
    inputs, stacked = 16 * model.width, (model.depth - 2) // 3
    layers = [(1, 3, 3, inputs, IMAGE_SIZE)]
    for stage in range(3):
        outputs, size = (16 << stage) * model.width, IMAGE_SIZE >> stage
        layers += [(1, 3, inputs, outputs, size), (stacked - 1, 3, outputs, outputs, size)]
        if model.residual and (model.shortcut == "C" or (model.shortcut == "B" and inputs != outputs)):
            layers.append((1, 1, inputs, outputs, size))
        if model.residual and model.shortcut == "C":
            layers.append((stacked // model.skip - 1, 1, outputs, outputs, size))
        inputs = outputs
    return layers


def parameters(model: ModelConfig, classes: int = CLASSES) -> int:
    """Trainable parameters: weights, and of each convolution a scale and shift (or, without norm, a bias)."""
    per_map = 2 if model.norm == "batch" else 1
    head = (64 * model.width + 1) * classes
    return head + sum(
        count * (kernel**2 * inputs + per_map) * outputs for count, kernel, inputs, outputs, _ in layers(model)
    )


def multiply_adds(model: ModelConfig) -> int:
    """Multiply-adds of the forward pass of one 32x32 image, convolutions and head."""
    convolutions = (
        count * (kernel * size) ** 2 * inputs * outputs for count, kernel, inputs, outputs, size in layers(model)
    )
    return sum(convolutions) + 64 * model.width * CLASSES


def memory(settings: TrainSettings, on_cpu: bool) -> dict[str, int]:
    """The least bytes that training takes of the machine's memory, by the settings that decide them.

    What a GPU holds is not counted, which says itself when it is full.
    """
    data, parts = settings.data, dict[str, int]()
    if isinstance(data, ShapesConfig):
        drawn = max(data.train_images, data.test_images) * data.image_size**2 * FLOATS_DRAWN * 4
        parts["data.image_size, data.train_images or data.test_images"] = drawn
    return parts | (device_memory(settings) if on_cpu else {})


def device_memory(settings: TrainSettings) -> dict[str, int]:
    """The least bytes that training takes of the memory of its device, by the settings that decide them.

    A folder's images are not counted.
    """
    model, recipe, data = settings.model, settings.recipe, settings.data
    side = getattr(data, "image_size", IMAGE_SIZE)
    images = 0 if isinstance(data, FolderConfig) else getattr(data, "train_images", CIFAR_IMAGES)
    outputs = sum(count * maps * size**2 for count, _, _, maps, size in layers(model)) * side**2 // IMAGE_SIZE**2
    kept = outputs * (2 if model.norm == "batch" else 1)  # of each convolution, and of its norm, for the way back
    number = 4 if settings.precision in ("fp32", "tf32") else 2
    return {
        "recipe.pad, data.image_size or data.train_images": images * 3 * (side + 2 * recipe.pad) ** 2,
        "recipe.batch_size, model.depth, model.width or data.image_size": recipe.batch_size * kept * number,
        "model.depth or model.width": parameters(model) * 4 * WEIGHT_COPIES,
    }
