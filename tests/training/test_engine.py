import copy
import gc
import os
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import torch
from conftest import Here
from faulty import interrupt, outcome

from resexp.config.compose import compose
from resexp.data.batches import Images, draw_epoch, mean_image
from resexp.data.dataset import Split
from resexp.errors import BrokenProcess, UserError
from resexp.storage import checkpoint
from resexp.storage.run import FAILED, FINISHED, Run
from resexp.training import engine as engines
from resexp.training import trainer
from resexp.training.device import Execution
from resexp.training.engine import EAGER, ENGINES, Engine, Graphed, Work, choose, keep_compiled
from resexp.training.train import explain, train

GRAPH = Engine(graph=True)
CPU = Execution(torch.device("cpu"), "fp32", 1)
CUDA = Execution(torch.device("cuda", 0), "bf16", 1)


def any_engine(name: str, _: Execution) -> Engine:
    """The engine of that name, whatever the device."""
    return ENGINES[name]


def pass_through(work: Work) -> Work:
    """A recording on a device that has none: it does the work again as it stands."""
    return work


def test_auto_is_the_fastest_that_was_measured() -> None:
    assert choose("auto", CPU) == EAGER
    assert choose("auto", CUDA) == ENGINES["compile+graph"]
    assert choose("auto", Execution(torch.device("cuda", 0), "fp16", 1)) == EAGER


@pytest.mark.parametrize(
    ("engine", "execution", "line"),
    [
        ("graph", CPU, "engine=graph: for CUDA devices only, not cpu; use engine=auto"),
        ("compile+graph", CPU, r"engine=compile\+graph: for CUDA devices only, not cpu; use engine=auto"),
        ("graph", Execution(torch.device("cuda", 0), "fp16", 1), "engine=graph: .*precision=bf16 or engine=eager"),
    ],
)
def test_an_engine_that_cannot_be_is_refused_by_name(engine: str, execution: Execution, line: str) -> None:
    with pytest.raises(UserError, match=line):
        choose(engine, execution)


def test_a_recording_is_made_anew_when_the_rate_changes_and_only_then() -> None:
    done: list[tuple[list[int], float]] = []
    recordings: list[Work] = []

    def record(work: Work) -> Work:
        recordings.append(work)
        return work

    graphed = Graphed(
        lambda picks, rate: done.append((picks.tolist(), rate)), torch.zeros(2, dtype=torch.int32), GRAPH, record
    )
    for iteration, rate in enumerate([0.1, 0.1, 0.01, 0.01, 0.1]):
        graphed(torch.tensor([iteration, 7], dtype=torch.int32), rate)
    assert done == [([0, 7], 0.1), ([1, 7], 0.1), ([2, 7], 0.01), ([3, 7], 0.01), ([4, 7], 0.1)]
    assert len(recordings) == 3


def test_picks_of_another_shape_are_refused() -> None:
    graphed = Graphed(lambda picks, rate: None, torch.zeros(2, 4), GRAPH, pass_through)
    with pytest.raises(ValueError, match=r"\(3, 4\) for a graph of \(2, 4\)"):
        graphed(torch.zeros(3, 4), 0.1)


def test_a_replayed_run_is_the_eager_run_over_rate_drops_and_resumes(
    tiny: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    eager = compose(*tiny)
    train(eager)
    replayed = compose(*tiny, f"runs={tmp_path / 'replayed'}")

    def start(self: trainer.Trainer, engine: Engine) -> Engine:
        self.iterate = Graphed(self.eager, self.sampler.batch(1), GRAPH, pass_through)
        return GRAPH

    monkeypatch.setattr(trainer.Trainer, "start_engine", start)
    interrupt(replayed, 7)
    record = train(replayed)
    assert [session["from"] for session in record.sessions] == [0, 7]
    assert outcome(replayed) == outcome(eager)


ON_A_GPU = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")]


@pytest.mark.parametrize(
    ("device", "engine"),
    [
        ("cpu", "eager"),
        *(pytest.param("cuda", engine, marks=ON_A_GPU) for engine in ("eager", "compile", "graph", "compile+graph")),
    ],
)
def test_a_deterministic_run_repeats_itself_to_the_byte_also_when_it_was_stopped(
    tiny: tuple[str, ...], tmp_path: Path, device: str, engine: str
) -> None:
    settings = (*tiny, f"device={device}", f"engine={engine}", "deterministic=true")
    once = compose(*settings)
    assert train(once).sessions[-1]["engine"] == engine
    again = compose(*settings, f"runs={tmp_path / 'again'}")
    interrupt(again, 7)
    assert len(train(again).sessions) == 2
    assert outcome(again) == outcome(once)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("network", ["plain20", "resnet20"])
def test_a_graph_is_the_eager_loop_to_the_bit_at_the_papers_size(tmp_path: Path, network: str) -> None:
    size = ("data=shapes", "data.train_images=2000", "data.test_images=100", f"model={network}", "recipe=quick")
    size += ("recipe.batch_size=128", "recipe.iterations=30", "recipe.drops=[10,20]", "recipe.row_every=10")
    same = (*size, "data.image_size=32", "device=cuda", "deterministic=true", "threads=1")
    eager, graph = (compose(*same, f"engine={name}", f"runs={tmp_path / name}") for name in ("eager", "graph"))
    assert train(eager).state == train(graph).state == FINISHED
    assert outcome(graph) == outcome(eager)
    norms, same_norms = (
        checkpoint.load(Run(config.directory).checkpoint_file)["gradient_norms"] for config in (eager, graph)
    )
    assert same_norms == norms


def test_compile_and_graph_combine(tiny: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    eager = compose(*tiny)
    train(eager)
    done: list[str] = []

    def stand_in(name: str) -> Callable[..., None]:
        def note(*_: object) -> None:
            done.append(name)

        return note

    def capture(work: Work) -> Work:
        done.append("captured")
        return work

    monkeypatch.setattr(engines, "compile_each", stand_in("compiled"))
    monkeypatch.setattr(engines, "warm_up", stand_in("warm"))
    monkeypatch.setattr(engines, "Graphed", partial(Graphed, capture=capture))
    monkeypatch.setattr("resexp.training.train.choose", any_engine)
    both = compose(*tiny, "engine=compile+graph", f"runs={tmp_path / 'both'}")
    assert train(both).sessions[0]["engine"] == "compile+graph"
    assert done == ["compiled", "warm", *["captured"] * 3], "once for each learning rate"
    assert outcome(both)[0] == outcome(eager)[0]


def test_what_was_compiled_is_kept_in_the_users_cache_or_where_the_user_wants_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    for asked, found in ((None, "/cache/resexp/compiled"), ("/mine", "/mine")):
        with monkeypatch.context() as patched:
            patched.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
            if asked:
                patched.setenv("TORCHINDUCTOR_CACHE_DIR", asked)
            keep_compiled()
            assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == found


def test_trial_iterations_leave_no_trace(tiny: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    states: list[checkpoint.State] = []

    def compile_nothing(parts: Sequence[torch.nn.Module], deterministic: bool) -> None:
        pass

    monkeypatch.setattr(engines, "compile_each", compile_nothing)
    start = trainer.Trainer.start_engine

    def watched(self: trainer.Trainer, engine: Engine) -> Engine:
        states.append(copy.deepcopy(self.state()))
        started = start(self, Engine(compiled=True))
        states.append(copy.deepcopy(self.state()))
        return started

    monkeypatch.setattr(trainer.Trainer, "start_engine", watched)
    train(compose(*tiny))
    before, after = states
    for key, tensor in before["network"].items():
        assert torch.equal(tensor, after["network"][key]), key
    assert all(torch.equal(one, other) for one, other in zip(before["momentum"], after["momentum"], strict=True))
    assert torch.equal(before["loss_sum"], after["loss_sum"])
    assert torch.equal(before["wrong_sum"], after["wrong_sum"])


def test_an_engine_that_does_not_compile_falls_back_once_and_is_recorded(
    tiny: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(parts: Sequence[torch.nn.Module], deterministic: bool) -> None:
        raise RuntimeError("no compiler here\nand much more")

    eager = compose(*tiny)
    train(eager)
    monkeypatch.setattr(engines, "compile_each", broken)
    config = compose(*tiny, "engine=compile", f"runs={tmp_path / 'other'}")
    record = train(config)
    assert record.sessions[0]["engine"] == "eager"
    said = Run(config.directory).log_file.read_text()
    assert said.count("engine=compile does not work here (no compiler here); going on with engine=eager") == 1
    assert outcome(config)[0] == outcome(eager)[0]
    monkeypatch.setattr(engines, "warm_up", pass_through)
    monkeypatch.setattr(engines, "Graphed", partial(Graphed, capture=pass_through))
    monkeypatch.setattr("resexp.training.train.choose", any_engine)
    config = compose(*tiny, "engine=compile+graph", f"runs={tmp_path / 'graph'}")
    assert train(config).sessions[0]["engine"] == "graph", "what can be captured still is"


def refuse_capture(_: Work) -> Work:
    raise RuntimeError("operation not permitted when stream is capturing\nand much more")


@pytest.mark.parametrize("rates", [1, 2], ids=["at the start", "at a drop of the rate"])
def test_an_iteration_that_cannot_be_captured_ends_the_process_in_one_line(
    here: Here, tiny: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, rates: int
) -> None:
    captures: list[object] = []

    def capture(work: Work) -> Work:
        captures.append(work)
        return work if len(captures) < rates else refuse_capture(work)

    monkeypatch.setattr(engines, "warm_up", pass_through)
    monkeypatch.setattr(engines, "Graphed", partial(Graphed, capture=capture))
    monkeypatch.setattr("resexp.training.train.choose", any_engine)
    with pytest.raises(
        BrokenProcess, match=r"^engine=graph: cannot be captured here \(.*capturing\); use engine=eager"
    ):
        here("train", "-m", *tiny, "engine=graph", "seed=0,1")
    one, other = (Run(compose(*tiny, f"seed={seed}").directory) for seed in (0, 1))
    assert one.record().state == FAILED
    assert "cannot be captured" in str(one.record().error)
    assert not other.record_file.exists(), "a second run began in a process that can compute no more"
    monkeypatch.undo()
    assert train(compose(*tiny, f"runs={one.directory.parents[3]}")).state == FINISHED


def test_memory_that_runs_out_during_a_capture_ends_the_process_with_the_remedy_for_memory() -> None:
    remedy = r"cannot be captured here \(CUDA out of memory\); use a smaller recipe\.batch_size or model\.width"
    with pytest.raises(BrokenProcess, match=remedy) as raised, engines.capture_explained(GRAPH):
        raise torch.OutOfMemoryError("CUDA out of memory")
    assert explain(raised.value) is raised.value, "one that the next run of a sweep would not survive"


class Stand:
    """In for torch.cuda: which stream is current, and what happened in which order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.current, self.events = "own", list[str]()
        for name in ("current_stream", "stream", "graph"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))
        monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: self)
        monkeypatch.setattr(gc, "collect", lambda: self.events.append("collected"))

    def current_stream(self) -> str:
        return self.current

    def replay(self) -> None:
        self.events.append("replayed")

    @contextmanager
    def stream(self, stream: str) -> Generator[None]:
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    @contextmanager
    def graph(self, graph: object, stream: str, capture_error_mode: str) -> Generator[None]:
        """As in PyTorch: a capture that fails leaves another stream current."""
        assert (graph, capture_error_mode) == (self, "thread_local")
        self.events.append(f"captures on {stream}")
        self.current = "capturing"
        yield
        self.current = stream


def test_a_capture_is_made_on_the_runs_own_stream_without_garbage_and_leaves_it_current(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cuda = Stand(monkeypatch)

    def work() -> None:
        assert not gc.isenabled(), "freeing a CUDA object spoils a capture"
        cuda.events.append("worked")

    def refused() -> None:
        refuse_capture(work)

    engines.capture_on_cuda(work)()
    assert cuda.events == ["collected", "captures on own", "worked", "replayed"]
    with pytest.raises(RuntimeError, match="capturing"):
        engines.capture_on_cuda(refused)
    assert cuda.current == "own"
    assert gc.isenabled()


@pytest.fixture
def compiler_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled once on a machine, not once for each test."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(Path(tempfile.gettempdir(), f"resexp-tests-{os.getuid()}")))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
@pytest.mark.usefixtures("compiler_cache")
def test_a_compiled_run_is_the_eager_run_within_rounding(tiny: tuple[str, ...], tmp_path: Path) -> None:
    from torch._dynamo.utils import counters  # over a second

    short = (*tiny, "model.depth=14", "precision=fp32", "recipe.iterations=8", "recipe.lr=0.002")
    eager = compose(*short, "model=resnet20")
    train(eager)
    for model in ("resnet20", "plain20"):  # in one process, as in a sweep
        counters.clear()
        compiled = compose(*short, f"model={model}", "engine=compile", f"runs={tmp_path / 'compiled'}")
        assert train(compiled).sessions[0]["engine"] == "compile"
        kinds_of_part = 4 + 5  # mini-batch, stem, head, objective, and the blocks of three stages and two changes
        assert counters["stats"]["unique_graphs"] == kinds_of_part
    compiled = compose(*short, "model=resnet20", f"runs={tmp_path / 'compiled'}")
    one, other = (run.rows(run.record()) for run in (Run(eager.directory), Run(compiled.directory)))
    for a, b in zip(one, other, strict=True):
        assert a.train_loss == pytest.approx(b.train_loss, rel=1e-3)
    state = checkpoint.load(Run(compiled.directory).checkpoint_file)["network"]
    assert list(state) == list(checkpoint.load(Run(eager.directory).checkpoint_file)["network"])


@pytest.mark.usefixtures("compiler_cache")
def test_a_compiled_mini_batch_is_the_eager_one_to_the_bit() -> None:
    split = Split(torch.randint(256, (20, 3, 8, 8), dtype=torch.uint8), torch.randint(10, (20,)))
    images = Images.of(split, mean_image(split), 2, torch.device("cpu"))
    picks = draw_epoch(0, 0, 20, 2, True)
    eager = images(picks)
    images.compile(dynamic=False)
    for one, other in zip(eager, images(picks), strict=True):
        assert torch.equal(one, other)
        assert one.stride() == other.stride()
