"""How an iteration is executed: as written, compiled, or replayed as one CUDA graph. It computes the same."""

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

import torch
from torch import Tensor

from resexp.errors import UserError
from resexp.model.network import Block, Network
from resexp.system.files import user_cache
from resexp.training.device import Execution

dynamo: Any = torch._dynamo  # pyright: ignore[reportAttributeAccessIssue]  # PyTorch has no public name for its limits
inductor: Any = torch._inductor  # pyright: ignore[reportAttributeAccessIssue]  # nor for its choices

WARM_UPS = 3
"""Iterations before a recording, as PyTorch's notes on CUDA graphs ask for."""

Iterate = Callable[[Tensor, float], None]
"""One training iteration: plan rows (B, 4) and the learning rate."""


class Replayable(Protocol):
    """What a recording gives: something that does the recorded work again."""

    def replay(self) -> None:
        """Do it again."""
        ...


Capture = Callable[[Callable[[], None]], Replayable]
"""Records work without doing it."""


def choose(engine: str, execution: Execution) -> str:
    """The engine behind `auto`, and whether a wish can be met. Raises UserError where it cannot.

    `auto` is eager: on the CPUs measured, compiling gains nothing; on CUDA the others are yet to be measured.
    """
    graph = engine.endswith("graph")
    if graph and execution.device.type != "cuda":
        raise UserError(f"engine={engine}: for CUDA devices only, not {execution.device.type}; use engine=auto")
    if graph and execution.precision == "fp16":
        remedy = "use precision=bf16 or engine=eager"
        raise UserError(f"engine={engine}: cannot scale losses as precision=fp16 needs; {remedy}")
    return "eager" if engine == "auto" else engine


def keep_compiled() -> None:
    """Let what is compiled outlast a restart of the machine, unless $TORCHINDUCTOR_CACHE_DIR says where it goes.

    PyTorch keeps it from run to run in the folder for temporary files.
    """
    with suppress(RuntimeError):  # no home folder: PyTorch's own place then
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(user_cache().expanduser() / "compiled"))


def compile_blocks(network: Network, deterministic: bool) -> None:
    """Compile each block in place: as many graphs as there are kinds of block, at any depth; state-dict keys stay.

    What was compiled for another network in this process is dropped first: PyTorch keeps a limited number of variants
    of one piece of code and goes on uncompiled behind it without a word; here that is an error. `deterministic` keeps
    the compiler from choosing among orders of summation by timing them.
    """
    keep_compiled()
    inductor.config.deterministic = deterministic
    torch.compiler.reset()
    dynamo.config.fail_on_recompile_limit_hit = True
    for module in network.modules():
        if isinstance(module, Block):
            module.compile(dynamic=False)


def uncompile(network: Network) -> None:
    """Take compilation back."""
    for module in network.modules():
        module._compiled_call_impl = None


class CudaGraph:
    """Work recorded on a CUDA device, in a stream and memory pool of its own."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, stream=torch.cuda.Stream(), capture_error_mode="thread_local"):
            work()

    def replay(self) -> None:
        """Do the recorded work again, on the current stream."""
        self.graph.replay()


def warm_up(work: Callable[[], None]) -> None:
    """Do work a few times as it is before it is recorded: libraries choose their algorithms, on a stream of its own."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UPS):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()


class Graphed:
    """Replays an iteration; records it again when the rate changes, since a recording holds the rate as a number."""

    def __init__(self, iterate: Iterate, picks: Tensor, record: Capture = CudaGraph) -> None:
        self.iterate, self.record = iterate, record
        self.picks = picks.clone()
        self.rate: float | None = None
        self.recording: Replayable | None = None

    def __call__(self, picks: Tensor, rate: float) -> None:
        """One iteration. Raises ValueError for plan rows of another shape than those recorded with."""
        if picks.shape != self.picks.shape:
            raise ValueError(f"plan rows {tuple(picks.shape)} in a recording of {tuple(self.picks.shape)}")
        self.picks.copy_(picks)
        if self.recording is None or rate != self.rate:
            self.recording = None  # its memory goes back before the next recording takes its own
            self.recording = self.record(lambda: self.iterate(self.picks, rate))
            self.rate = rate
        self.recording.replay()
