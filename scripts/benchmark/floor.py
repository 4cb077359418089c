"""What memory traffic alone would allow on a GPU: the bytes a step must move over the measured copy bandwidth."""

import statistics
import time


def step_bytes(network: str, batch_size: int, precision: str) -> int:
    """What a step must move at least, each convolution with what follows it in one pass.

    Forward: read the input, write the output. Backward: read the output's gradient twice (for the input and for the
    weights) and the input once, write the input's gradient.
    """
    from resexp.config.compose import compose
    from resexp.model.cost import layers

    width = 4 if precision in ("fp32", "tf32") else 2
    model = compose(f"model={network}").model
    total = 0
    for _, inputs, outputs, size in layers(model):
        stride = 2 if outputs == 2 * inputs else 1
        into, out = inputs * (size * stride) ** 2, outputs * size**2
        total += into + out + 2 * out + 2 * into
    return total * batch_size * width


def copy_bandwidth() -> float:
    """Bytes per second, read and written, of a large copy on the GPU."""
    import torch

    source = torch.empty(2**30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    seconds: list[float] = []
    for _ in range(20):
        torch.cuda.synchronize()
        began = time.monotonic()
        target.copy_(source)
        torch.cuda.synchronize()
        seconds.append(time.monotonic() - began)
    return 2 * source.numel() / statistics.median(seconds)
