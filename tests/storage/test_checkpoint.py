"""A checkpoint comes back bit for bit, or it is refused: damaged, foreign, another run's, or carrying code."""

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from resexp.errors import UserError
from resexp.storage.checkpoint import Damaged, State, load, load_newest, save

RESULT: dict[str, Any] = {"model": {"name": "plain20", "depth": 20}, "recipe": {"drops": [6, 10], "lr": 0.1}, "seed": 0}


def state(iteration: int = 100, **changes: Any) -> State:
    """A small state with all that a run's has: tensors, containers, text, numbers, None."""
    weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(iteration))
    return {
        "result": RESULT,
        "iteration": iteration,
        "rows": "iteration,epoch\n100,0.25\n",
        "warming_up": True,
        "wrong_sum": torch.tensor(7),
        "network": {"weight": weight.contiguous(memory_format=torch.channels_last), "odd": torch.tensor([-0.0, 1e-45])},
        "momentum": [weight / 3, None],
        **changes,
    }


def bits(value: Tensor) -> bytes:
    return value.contiguous().numpy().tobytes()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.pt"


@pytest.mark.parametrize("read", [load, partial(torch.load, weights_only=True)], ids=["ours", "torch.load"])
def test_a_checkpoint_comes_back_bit_for_bit(path: Path, read: Callable[[Path], State]) -> None:
    save(state(), path)
    loaded, expected = read(path), state()
    assert bits(loaded["network"]["odd"]) == bits(expected["network"]["odd"])
    assert bits(loaded.pop("momentum")[0]) == bits(expected.pop("momentum")[0])
    assert_close(loaded.pop("network"), expected.pop("network"), rtol=0, atol=0, check_stride=True)
    assert loaded == expected


def test_every_flipped_bit_every_truncation_and_every_byte_too_many_is_noticed(path: Path) -> None:
    save(state(), path)
    whole, chance = path.read_bytes(), random.Random(0)
    near_the_end = range(8 * (len(whole) - 100), 8 * len(whole))
    damaged = [whole + b"\0", b"", whole[:1], whole[:-1]]
    damaged += [whole[:length] for length in chance.sample(range(len(whole)), 40)]
    for at in [*chance.sample(range(8 * len(whole)), 100), *chance.sample(near_the_end, 60)]:
        damaged.append(whole[: at // 8] + bytes([whole[at // 8] ^ 1 << at % 8]) + whole[at // 8 + 1 :])
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(Damaged):
            load(path)


class Trap:
    """What runs when a pickle that holds it is trusted: it creates a file."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.proof), "w")


def test_code_in_a_checkpoint_is_refused_and_not_run(path: Path, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    save(state(trap=Trap(proof)), path)
    with pytest.raises(Damaged, match="more than plain tensors"):
        load(path)
    assert not proof.exists()
    torch.load(path, weights_only=False)["trap"].close()
    assert proof.exists(), "the trap of this test is not armed"


@pytest.mark.parametrize("write", [torch.save, save], ids=["of another program", "without a state"])
def test_a_file_that_is_no_checkpoint_is_refused(path: Path, write: Callable[[Any, Path], None]) -> None:
    write([1, 2, 3], path)
    with pytest.raises(Damaged, match="not a checkpoint of this program"):
        load(path)


@pytest.fixture
def both(path: Path, tmp_path: Path) -> list[Path]:
    """The newest checkpoint, of iteration 300, and the one before it, of iteration 200."""
    previous = tmp_path / "checkpoint.previous.pt"
    for iteration in (100, 200, 300):
        save(state(iteration), path, previous)
    return [path, previous]


def newest(paths: list[Path], result: dict[str, Any] = RESULT) -> int | None:
    """The iteration of the newest checkpoint that can be used."""
    loaded = load_newest(paths, result, "use fresh=true")
    return None if loaded is None else loaded["iteration"]


def test_the_newest_checkpoint_is_used_and_the_one_before_is_kept(both: list[Path], tmp_path: Path) -> None:
    assert newest(both) == 300
    assert newest(both[::-1]) == 200
    assert newest([tmp_path / "none.pt", tmp_path / "neither.pt"]) is None


@pytest.mark.parametrize("content", [b"", b"nonsense", None])
def test_the_one_before_is_used_when_the_newest_is_bad_or_gone(
    both: list[Path], content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    both[0].unlink()
    if content is not None:
        both[0].write_bytes(content)
    assert newest(both) == 200
    (warning,) = caplog.messages
    assert str(both[0]) in warning
    assert ("is missing" in warning) == (content is None)


def test_bad_checkpoints_are_all_named_with_the_remedy(both: list[Path]) -> None:
    both[0].write_bytes(both[0].read_bytes()[:-1])
    both[1].unlink()
    both[1].mkdir()
    with pytest.raises(UserError) as error:
        newest(both)
    assert all(f"{path} cannot be used" in str(error.value) for path in both)
    assert str(error.value).endswith("use fresh=true")
    assert "\n" not in str(error.value)


def test_another_runs_checkpoint_is_refused(both: list[Path]) -> None:
    with pytest.raises(UserError, match="another run"):
        newest(both, {**RESULT, "seed": 1})
