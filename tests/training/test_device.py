"""Where and in which arithmetic a run is executed, and what the user reads where the machine lacks it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from resexp.config.compose import compose
from resexp.errors import UserError
from resexp.system import machine
from resexp.system.processor import Processor
from resexp.training import device
from resexp.training.device import Execution, is_out_of_memory, prepare


def prepared(**changes: Any) -> Execution:
    """This process, prepared for the default settings with these changes."""
    return prepare(replace(compose("data=shapes"), **changes))


@pytest.fixture(autouse=True)
def _torch_as_before() -> Iterator[None]:
    threads, cudnn, matmul = torch.get_num_threads(), torch.backends.cudnn, torch.backends.cuda.matmul
    places = [(matmul, "allow_tf32"), *((cudnn, name) for name in ("allow_tf32", "benchmark", "deterministic"))]
    before = [getattr(owner, name) for owner, name in places]
    yield
    for (owner, name), value in zip(places, before, strict=True):
        setattr(owner, name, value)
    torch.set_num_threads(threads)


Pretend = Callable[..., None]


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Pretend:
    """Let torch find these devices, whatever the machine has."""

    def answer(value: object) -> Callable[..., object]:
        return lambda *_: value

    def patch(cuda_devices: int = 0, mps: bool = False, capability: tuple[int, int] = (9, 0)) -> None:
        answers = {"is_available": cuda_devices > 0, "device_count": cuda_devices, "set_device": None}
        answers |= {"get_device_capability": capability, "get_device_name": "Tesla V100"}
        for name, value in answers.items():
            monkeypatch.setattr(torch.cuda, name, answer(value))
        monkeypatch.setattr(torch.backends.mps, "is_available", answer(mps))

    return patch


@pytest.mark.parametrize(
    ("wanted", "cuda_devices", "worker", "expected"),
    [
        ("auto", 0, 0, "cpu"),
        ("auto", 2, 0, "cuda:0"),
        ("auto", 2, 1, "cuda:1"),
        ("auto", 2, 2, "cuda:0"),
        ("cpu", 2, 0, "cpu"),
        ("cuda", 2, 0, "cuda:0"),
        ("cuda:1", 2, 0, "cuda:1"),
        ("cuda:7", 8, 0, "cuda:7"),
    ],
)
def test_a_run_has_its_device_and_runs_at_once_go_round_the_gpus(
    pretend: Pretend, monkeypatch: pytest.MonkeyPatch, wanted: str, cuda_devices: int, worker: int, expected: str
) -> None:
    pretend(cuda_devices, mps=True)
    monkeypatch.setenv(machine.WORKER, str(worker))
    assert str(prepared(device=wanted).device) == expected


@pytest.mark.parametrize(
    ("wanted", "vendor", "extensions", "precision"),
    [
        ("cuda", "", (), "bf16"),
        ("cpu", "AuthenticAMD", ("avx512f", "avx512_bf16"), "bf16"),
        ("cpu", "GenuineIntel", ("avx512f", "avx512_bf16"), "fp32"),
        ("cpu", "GenuineIntel", ("avx512_bf16", "amx_bf16"), "bf16"),
        ("cpu", "", ("asimd", "bf16"), "fp32"),
    ],
)
def test_auto_is_bf16_only_where_that_is_fast(
    pretend: Pretend,
    monkeypatch: pytest.MonkeyPatch,
    wanted: str,
    vendor: str,
    extensions: tuple[str, ...],
    precision: str,
) -> None:
    pretend(cuda_devices=1)
    monkeypatch.setattr(device, "processor", lambda: Processor("a CPU", vendor, "", extensions))
    assert prepared(device=wanted, precision="auto").precision == precision


@pytest.mark.parametrize(
    ("changes", "cuda_devices", "message"),
    [
        ({"device": "cuda"}, 0, "device=cuda: no CUDA device is available here; use device=auto or device=cpu"),
        ({"device": "cuda:7"}, 0, "device=cuda:7: no CUDA device is available here; use device=auto or device=cpu"),
        ({"device": "cuda:7"}, 2, "device=cuda:7: only 2 CUDA devices are available here"),
        ({"device": "mps"}, 2, "device=mps: not available here; use device=auto or device=cpu"),
        ({"device": "cpu", "precision": "fp16"}, 2, "precision=fp16: only on CUDA devices; use precision=bf16"),
        ({"device": "cpu", "precision": "tf32"}, 2, "precision=tf32: only on CUDA devices; use precision=bf16"),
        ({"precision": "tf32"}, 1, "precision=tf32: Tesla V100 has no TF32; use precision=fp32"),
    ],
)
def test_what_the_machine_lacks_is_named_with_the_setting_and_a_remedy(
    pretend: Pretend, changes: dict[str, str], cuda_devices: int, message: str
) -> None:
    pretend(cuda_devices, capability=(7, 0))
    with pytest.raises(UserError) as error:
        prepared(**changes)
    assert str(error.value).startswith(message)


def test_fp32_is_not_tf32_even_after_a_run_that_was(pretend: Pretend) -> None:
    pretend(cuda_devices=1)
    for precision in ("fp32", "tf32", "fp32"):
        prepared(precision=precision)
        assert torch.backends.cuda.matmul.allow_tf32 is (precision == "tf32")
        assert torch.backends.cudnn.allow_tf32 is (precision == "tf32")


def test_every_run_sets_determinism_and_threads_anew() -> None:
    for deterministic, threads in ((True, 1), (False, 2), (True, 1)):
        execution = prepared(device="cpu", deterministic=deterministic, threads=threads)
        assert torch.backends.cudnn.deterministic is deterministic
        assert torch.backends.cudnn.benchmark is not deterministic
        assert execution.threads == torch.get_num_threads() == threads


@pytest.mark.parametrize(("variable", "threads"), [("3", 3), ("", 5), (None, 5)])
def test_threads_are_those_of_the_environment_or_all_cores(
    monkeypatch: pytest.MonkeyPatch, variable: str | None, threads: int
) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 5)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if variable is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    assert prepared(device="cpu", threads=0).threads == threads


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_a_precision_is_that_of_the_matrix_products(precision: str, dtype: torch.dtype) -> None:
    x = torch.ones(2, 2)
    with Execution(torch.device("cpu"), precision, 1).autocast():
        assert (x @ x).dtype == dtype


def test_what_decides_the_bits_is_described() -> None:
    described = Execution(torch.device("cpu"), "fp32", 3).describe()
    expected = {"device": "cpu", "precision": "fp32", "threads": 3, "torch": torch.__version__, "cuda": None}
    assert described.items() >= expected.items()
    assert described["device_name"]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
    ],
)
def test_running_out_of_memory_is_known_by_all_its_names(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected
