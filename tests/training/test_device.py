"""Where and in which arithmetic a run is executed, and what a person is told when the machine has not got it."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

from resexp.config.compose import compose
from resexp.config.settings import TrainSettings
from resexp.errors import UserError
from resexp.system import machine
from resexp.system.processor import Processor
from resexp.training import device
from resexp.training.device import Execution, is_out_of_memory, prepare


@pytest.fixture(scope="module")
def settings() -> TrainSettings:
    return compose("data=shapes")


@pytest.fixture(autouse=True)
def _torch_as_before() -> Iterator[None]:
    threads, cudnn, matmul = torch.get_num_threads(), torch.backends.cudnn, torch.backends.cuda.matmul
    places = [(matmul, "allow_tf32"), *((cudnn, name) for name in ("allow_tf32", "benchmark", "deterministic"))]
    before = [getattr(owner, name) for owner, name in places]
    yield
    for (owner, name), value in zip(places, before, strict=True):
        setattr(owner, name, value)
    torch.set_num_threads(threads)


def pretend(monkeypatch: pytest.MonkeyPatch, cuda_devices: int = 0, mps: bool = False) -> None:
    """Let torch find these devices, whatever the machine has."""

    def capability(device: object) -> tuple[int, int]:
        return 9, 0

    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda_devices > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda_devices)
    monkeypatch.setattr(torch.cuda, "get_device_capability", capability)
    monkeypatch.setattr(torch.cuda, "set_device", capability)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


def test_auto_is_the_cpu_where_there_is_no_cuda(settings: TrainSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, mps=True)
    assert prepare(replace(settings, device="auto")).device == torch.device("cpu")


def test_auto_is_the_first_cuda_device_in_bf16(settings: TrainSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, cuda_devices=2)
    execution = prepare(settings)
    assert (str(execution.device), execution.precision) == ("cuda:0", "bf16")


def test_runs_at_once_go_round_the_cuda_devices(settings: TrainSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, cuda_devices=2)
    for worker, expected in enumerate(["cuda:0", "cuda:1", "cuda:0"]):
        monkeypatch.setenv(machine.WORKER, str(worker))
        assert str(prepare(replace(settings, device="auto")).device) == expected


@pytest.mark.parametrize(
    ("vendor", "extensions", "precision"),
    [
        ("AuthenticAMD", ("avx512f", "avx512_bf16"), "bf16"),
        ("GenuineIntel", ("avx512f", "avx512_bf16"), "fp32"),
        ("GenuineIntel", ("avx512_bf16", "amx_bf16"), "bf16"),
        ("", ("asimd", "bf16"), "fp32"),
    ],
)
def test_auto_on_the_cpu_is_bf16_only_where_that_is_fast(
    settings: TrainSettings, monkeypatch: pytest.MonkeyPatch, vendor: str, extensions: tuple[str, ...], precision: str
) -> None:
    monkeypatch.setattr(device, "processor", lambda: Processor("a CPU", vendor, "", extensions))
    assert prepare(replace(settings, device="cpu", precision="auto")).precision == precision


@pytest.mark.parametrize(
    ("wanted", "cuda_devices", "expected"),
    [("cpu", 2, "cpu"), ("cuda", 2, "cuda:0"), ("cuda:1", 2, "cuda:1"), ("cuda:7", 8, "cuda:7")],
)
def test_a_device_that_is_there_is_used(
    settings: TrainSettings, monkeypatch: pytest.MonkeyPatch, wanted: str, cuda_devices: int, expected: str
) -> None:
    pretend(monkeypatch, cuda_devices)
    assert str(prepare(replace(settings, device=wanted)).device) == expected


@pytest.mark.parametrize(
    ("changes", "cuda_devices", "message"),
    [
        ({"device": "cuda"}, 0, "device=cuda: no CUDA device is available here; use device=auto or device=cpu"),
        ({"device": "cuda:7"}, 0, "device=cuda:7: no CUDA device is available here; use device=auto or device=cpu"),
        ({"device": "cuda:7"}, 2, "device=cuda:7: only 2 CUDA devices are available here"),
        ({"device": "mps"}, 2, "device=mps: not available here; use device=auto or device=cpu"),
        ({"device": "cpu", "precision": "fp16"}, 2, "precision=fp16: only on CUDA devices; use precision=bf16"),
        ({"device": "cpu", "precision": "tf32"}, 2, "precision=tf32: only on CUDA devices; use precision=bf16"),
    ],
)
def test_what_the_machine_has_not_got_is_said_with_the_setting_and_a_remedy(
    settings: TrainSettings,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    cuda_devices: int,
    message: str,
) -> None:
    pretend(monkeypatch, cuda_devices)
    with pytest.raises(UserError) as caught:
        prepare(replace(settings, **changes))
    assert str(caught.value).startswith(message)


def test_fp32_is_not_tf32_even_after_a_run_that_was(settings: TrainSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, cuda_devices=1)
    for precision in ("fp32", "tf32", "fp32"):
        prepare(replace(settings, precision=precision))
        assert torch.backends.cuda.matmul.allow_tf32 is (precision == "tf32")
        assert torch.backends.cudnn.allow_tf32 is (precision == "tf32")


def test_every_run_sets_determinism_and_threads_anew(settings: TrainSettings) -> None:
    for deterministic, threads in ((True, 1), (False, 2), (True, 1)):
        execution = prepare(replace(settings, device="cpu", deterministic=deterministic, threads=threads))
        assert torch.backends.cudnn.deterministic is deterministic
        assert torch.backends.cudnn.benchmark is not deterministic
        assert execution.threads == torch.get_num_threads() == threads


@pytest.mark.parametrize(("variable", "threads"), [("3", 3), ("", 5), (None, 5)])
def test_threads_are_those_of_the_environment_or_all_cores(
    settings: TrainSettings, monkeypatch: pytest.MonkeyPatch, variable: str | None, threads: int
) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 5)
    if variable is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    assert prepare(replace(settings, device="cpu", threads=0)).threads == threads


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
def test_memory_that_ran_out_is_known_by_all_its_names(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def answer(found: object, _: torch.device) -> object:
    """What torch is to say of a device."""
    return found


def test_tf32_is_refused_where_the_hardware_has_none(settings: TrainSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, cuda_devices=1)
    for name, found in (("get_device_capability", (7, 0)), ("get_device_name", "Tesla V100")):
        monkeypatch.setattr(torch.cuda, name, partial(answer, found))
    with pytest.raises(UserError, match="precision=tf32: Tesla V100 has no TF32; use precision=fp32"):
        prepare(replace(settings, precision="tf32"))
