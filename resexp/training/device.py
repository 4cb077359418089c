"""Where and in which arithmetic a run is executed."""

import gc
import platform
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from resexp.config.settings import TrainSettings
from resexp.errors import UserError
from resexp.system.machine import default_threads, worker_number
from resexp.system.memory import available
from resexp.system.processor import processor


@dataclass(frozen=True)
class Execution:
    """A device, a precision that it has, and the number of CPU threads."""

    device: torch.device
    precision: str
    threads: int

    def own_stream(self) -> AbstractContextManager[Any]:
        """The region in which a run computes: on CUDA a stream of its own, which can be captured and shares the device.

        PyTorch hands out 32 of them in turn.
        """
        return torch.cuda.stream(torch.cuda.Stream(self.device)) if self.device.type == "cuda" else nullcontext()

    def settled(self) -> bool:
        """Whether the device has done all that was asked of it on the current stream."""
        return self.device.type != "cuda" or torch.cuda.current_stream(self.device).query()

    def autocast(self) -> AbstractContextManager[Any]:
        """The region in which a forward pass and its loss are computed."""
        half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.precision)
        return torch.autocast(self.device.type, half, enabled=half is not None)

    def peak_memory_mb(self) -> int | None:
        """The most memory that tensors of this process took on a CUDA device since `prepare`, in MiB; None elsewhere.

        Of several runs that share the process, it is that of all together since the last of them was prepared.
        """
        return torch.cuda.max_memory_allocated(self.device) >> 20 if self.device.type == "cuda" else None

    def free_memory(self) -> int | None:
        """Bytes of the device's memory that can be taken, at most; None where that is not known."""
        return torch.cuda.mem_get_info(self.device)[0] if self.device.type == "cuda" else available()

    def describe(self) -> dict[str, Any]:
        """Device, precision, threads and the versions that decide the bits."""
        cuda, cpu = self.device.type == "cuda", processor()
        return {
            "device": str(self.device),
            "device_name": torch.cuda.get_device_name(self.device) if cuda else cpu.name,
            "cpu_model": cpu.model,
            "cpu_extensions": " ".join(cpu.extensions),
            "precision": self.precision,
            "threads": self.threads,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "cuda": torch.version.cuda if cuda else None,
            "cudnn": torch.backends.cudnn.version() if cuda else None,
        }


def _device(wanted: str) -> torch.device:
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if wanted == "auto":
        return torch.device("cuda", worker_number() % torch.cuda.device_count()) if cuda else torch.device("cpu")
    if wanted.startswith("cuda"):
        count = torch.cuda.device_count() if cuda else 0
        index = int(wanted.partition(":")[2] or 0)
        if index >= count:
            found = f"only {count} CUDA devices are" if count else "no CUDA device is"
            raise UserError(f"device={wanted}: {found} available here; use device=auto or device=cpu")
        return torch.device("cuda", index)
    if wanted == "mps" and not mps:
        raise UserError("device=mps: not available here; use device=auto or device=cpu")
    return torch.device(wanted)


def _fast_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and processor().fast_bf16


def prepare(settings: TrainSettings) -> Execution:
    """Resolve device, precision and threads, and set what torch keeps for the whole process.

    Every setting is set on each call, so that no run of a sweep inherits anything from the one before.
    Raises UserError for what this machine does not have.
    """
    device = _device(settings.device)
    precision = settings.precision
    if precision == "auto":
        precision = "bf16" if _fast_bf16(device) else "fp32"
    if precision in ("fp16", "tf32") and device.type != "cuda":
        raise UserError(f"precision={precision}: only on CUDA devices; use precision=bf16 or precision=fp32")
    threads = settings.threads or default_threads()
    if precision == "tf32" and torch.cuda.get_device_capability(device) < (8, 0):
        raise UserError(f"precision=tf32: {torch.cuda.get_device_name(device)} has no TF32; use precision=fp32")
    torch.set_num_threads(threads)
    # fp32 means IEEE: PyTorch lets convolutions run in TF32 unless told otherwise.
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = not settings.deterministic
    torch.backends.cudnn.deterministic = settings.deterministic
    gc.collect()  # an earlier run of this process, which its own objects hold in circles
    if device.type == "cuda":
        torch.cuda.set_device(device)  # streams and pinned memory belong to the current device
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
    return Execution(device, precision, threads)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, by any of the names that PyTorch and the libraries below it have for that."""
    signs = ("out of memory", "can't allocate memory", "ALLOC_FAILED")
    return isinstance(error, torch.OutOfMemoryError) or any(sign in str(error) for sign in signs)
