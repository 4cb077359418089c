"""How an iteration is executed: as written, compiled, or replayed as one CUDA graph. Every engine computes the same."""

import gc
import logging
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from resexp.errors import BrokenProcess, UserError, first_line
from resexp.system.files import user_cache
from resexp.system.memory import no_collection
from resexp.training.device import Execution, is_out_of_memory
from resexp.training.turns import PASS_TURN

log = logging.getLogger("resexp")

WARM_UPS = 3
"""Iterations before a capture, as PyTorch's notes on CUDA graphs ask for."""

VARIANTS = 64
"""Of a part's code: a network has five kinds of block, and several networks may share a process."""

Iterate = Callable[[Tensor, float], None]
"""One training iteration: rows of the augmentation (B, 4) and the learning rate."""


@dataclass(frozen=True)
class Engine:
    """What is done to the iteration: each part compiled, the whole captured in a CUDA graph, both, or neither."""

    compiled: bool = False
    graph: bool = False

    def __str__(self) -> str:
        return "+".join(["compile"] * self.compiled + ["graph"] * self.graph) or "eager"

    def prepare(
        self, iterate: Iterate, parts: Sequence[nn.Module], deterministic: bool, picks: Tensor, rate: float
    ) -> tuple["Engine", Iterate]:
        """The iteration as this engine executes it, and the engine that does: without compiling where that fails.

        `parts` are the modules that it calls, each compiled for itself: those of one kind share what was compiled.
        Trains a few trial iterations on `picks` at `rate`, which compile, tune and warm up. A graph is captured on the
        current stream, which must not be the default one. Raises BrokenProcess where the iteration cannot be captured.
        """
        if self.compiled:
            try:
                compile_each(parts, deterministic)
                iterate(picks, rate)
            except Exception as error:  # compilers fail in many ways
                if is_out_of_memory(error):
                    raise
                other = Engine(graph=self.graph)
                log.warning(
                    "engine=%s does not work here (%s); going on with engine=%s", self, first_line(error), other
                )
                undo_compile(parts)
                return other.prepare(iterate, parts, deterministic, picks, rate)
        if self.graph:
            with capture_explained(self):
                warm_up(lambda: iterate(picks, rate))
            graphed = Graphed(iterate, picks, self)
            graphed(picks, rate)  # what this captures serves the first iteration too
            return self, graphed
        return self, iterate


EAGER = Engine()
ENGINES = {str(engine): engine for engine in (EAGER, Engine(True), Engine(graph=True), Engine(True, True))}


def choose(name: str, execution: Execution) -> Engine:
    """The engine of that name. Raises UserError where device or precision rule it out.

    "auto" is the fastest measured: compile+graph on CUDA (H100, results/bench), eager on the CPUs.
    """
    if name == "auto":
        return Engine(True, True) if execution.device.type == "cuda" and execution.precision != "fp16" else EAGER
    engine = ENGINES[name]
    if engine.graph and execution.device.type != "cuda":
        raise UserError(f"engine={name}: for CUDA devices only, not {execution.device.type}; use engine=auto")
    if engine.graph and execution.precision == "fp16":
        remedy = "use precision=bf16 or engine=eager"
        raise UserError(f"engine={name}: cannot scale losses as precision=fp16 needs; {remedy}")
    return engine


def keep_compiled() -> None:
    """Let what is compiled outlast a restart of the machine, unless $TORCHINDUCTOR_CACHE_DIR says where it goes.

    PyTorch keeps it from run to run in the folder for temporary files.
    """
    with suppress(RuntimeError):  # no home folder: PyTorch's own place then
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(user_cache().expanduser() / "compiled"))


def compile_each(parts: Sequence[nn.Module], deterministic: bool) -> None:
    """Compile each part in place: as many graphs as there are kinds of part, at any depth; state-dict keys stay.

    What was compiled for a network before is dropped first, unless that network may still be training in this process:
    PyTorch keeps a limited number of variants of one piece of code and silently goes on uncompiled after that; here
    that is an error. `deterministic` keeps the compiler from choosing among orders of summation by timing them.
    """
    import torch._dynamo  # over a second, so only where something is compiled
    import torch._inductor

    dynamo: Any = torch._dynamo  # pyright: ignore[reportAttributeAccessIssue]  # the limits have no public name
    inductor: Any = torch._inductor  # pyright: ignore[reportAttributeAccessIssue]  # nor have the choices
    keep_compiled()
    inductor.config.deterministic = deterministic
    if PASS_TURN.get() is None:
        torch.compiler.reset()
    dynamo.config.recompile_limit = VARIANTS
    dynamo.config.fail_on_recompile_limit_hit = True
    for part in parts:
        part.compile(dynamic=False)


def undo_compile(parts: Sequence[nn.Module]) -> None:
    """Let every part run as written again."""
    for part in parts:
        part._compiled_call_impl = None


Work = Callable[[], None]


def capture_on_cuda(work: Work) -> Work:
    """Capture work without doing it, in a memory pool of its own; what replays it, on the stream current now.

    A library's workspace belongs to a stream: where several graphs live, each needs the stream that it runs on.
    """
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
    # A capture that fails leaves its stream current; the outer block restores the one before.
    recording = torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local")
    gc.collect()  # before, and not inside: freeing a CUDA object spoils a capture
    with torch.cuda.stream(stream), no_collection(), recording:
        work()
    return graph.replay


@contextmanager
def capture_explained(engine: Engine) -> Generator[None, None, None]:
    """Turn a failure into BrokenProcess: PyTorch does not recover from a capture that failed."""
    try:
        yield
    except Exception as error:
        smaller = "use a smaller recipe.batch_size or model.width"
        remedy = smaller if is_out_of_memory(error) else "use engine=eager or engine=compile"
        raise BrokenProcess(f"engine={engine}: cannot be captured here ({first_line(error)}); {remedy}") from error


def warm_up(work: Work) -> None:
    """Do work a few times before it is captured: libraries choose their algorithms."""
    for _ in range(WARM_UPS):
        work()
    torch.cuda.current_stream().synchronize()


class Graphed:
    """Replays an iteration; captures it again when the rate changes, since a graph holds the rate as a number."""

    def __init__(
        self, iterate: Iterate, picks: Tensor, engine: Engine, capture: Callable[[Work], Work] = capture_on_cuda
    ) -> None:
        self.iterate, self.engine, self.capture = iterate, engine, capture
        self.picks = picks.clone()
        self.rate: float | None = None
        self.captured: Work | None = None

    def __call__(self, picks: Tensor, rate: float) -> None:
        """One iteration. Raises ValueError for picks of another shape, BrokenProcess where capturing fails."""
        if picks.shape != self.picks.shape:
            raise ValueError(f"picks {tuple(picks.shape)} for a graph of {tuple(self.picks.shape)}")
        self.picks.copy_(picks)
        if self.captured is None or rate != self.rate:
            self.captured = None  # its memory goes back before the next capture takes its own
            with capture_explained(self.engine):
                self.captured = self.capture(lambda: self.iterate(self.picks, rate))
            self.rate = rate
        self.captured()
