"""Parameters and multiply-adds of a network by arithmetic, without building it."""

from resexp.config.settings import ModelConfig

IMAGE_SIZE = 32
CLASSES = 10


def layers(model: ModelConfig) -> list[tuple[int, int, int, int]]:
    """Every convolution: kernel size, input maps, output maps, height of the output at 32x32 pixels."""
    inputs = 16 * model.width
    layers = [(3, 3, inputs, IMAGE_SIZE)]
    for stage in range(3):
        outputs, size = (16 << stage) * model.width, IMAGE_SIZE >> stage
        for _ in range((model.depth - 2) // 6):
            layers += [(3, inputs, outputs, size), (3, outputs, outputs, size)]
            if model.residual and (model.shortcut == "C" or (model.shortcut == "B" and inputs != outputs)):
                layers.append((1, inputs, outputs, size))
            inputs = outputs
    return layers


def parameters(model: ModelConfig) -> int:
    """Trainable parameters: weights, and of each convolution a scale and shift (or, without norm, a bias)."""
    per_map = 2 if model.norm == "batch" else 1
    head = (64 * model.width + 1) * CLASSES
    return head + sum(kernel**2 * inputs * outputs + per_map * outputs for kernel, inputs, outputs, _ in layers(model))


def multiply_adds(model: ModelConfig) -> int:
    """Multiply-adds of the forward pass of one 32x32 image, convolutions and head."""
    convolutions = sum(kernel**2 * inputs * outputs * size**2 for kernel, inputs, outputs, size in layers(model))
    return convolutions + 64 * model.width * CLASSES
