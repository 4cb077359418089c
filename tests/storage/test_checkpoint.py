"""A checkpoint comes back bit for bit, or it is refused: damaged, foreign, another run's, or carrying code."""

import random
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


def test_a_checkpoint_comes_back_bit_for_bit(path: Path) -> None:
    save(state(), path)
    found, expected = load(path), state()
    assert_close(found.pop("network"), expected["network"], rtol=0, atol=0, check_stride=True)
    assert bits(load(path)["network"]["odd"]) == bits(expected.pop("network")["odd"])
    assert bits(found.pop("momentum")[0]) == bits(expected.pop("momentum")[0])
    assert found == expected


def test_plain_torch_load_reads_a_checkpoint(path: Path) -> None:
    save(state(), path)
    found = torch.load(path, weights_only=True)
    assert found["iteration"] == 100
    assert bits(found["network"]["weight"]) == bits(state()["network"]["weight"])


def test_every_flipped_bit_is_noticed(path: Path) -> None:
    save(state(), path)
    whole = path.read_bytes()
    chance = random.Random(0)
    near_the_end = range(8 * (len(whole) - 100), 8 * len(whole))
    for at in [*chance.sample(range(8 * len(whole)), 100), *chance.sample(near_the_end, 60)]:
        damaged = bytearray(whole)
        damaged[at // 8] ^= 1 << at % 8
        path.write_bytes(damaged)
        with pytest.raises(Damaged):
            load(path)


def test_every_truncation_is_noticed(path: Path) -> None:
    save(state(), path)
    whole = path.read_bytes()
    for length in [0, 1, len(whole) - 1, *random.Random(0).sample(range(len(whole)), 40)]:
        path.write_bytes(whole[:length])
        with pytest.raises(Damaged):
            load(path)


def test_bytes_behind_a_checkpoint_are_noticed(path: Path) -> None:
    save(state(), path)
    path.write_bytes(path.read_bytes() + b"\0")
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


def test_a_file_of_another_program_is_refused(path: Path) -> None:
    torch.save({"state_dict": {}}, path)
    with pytest.raises(Damaged, match="not a checkpoint of this program"):
        load(path)


def test_something_other_than_a_state_is_refused(path: Path) -> None:
    save([1, 2, 3], path)  # pyright: ignore[reportArgumentType]
    with pytest.raises(Damaged, match="not a checkpoint of this program"):
        load(path)


def test_the_checkpoint_before_is_kept(path: Path, tmp_path: Path) -> None:
    previous = tmp_path / "previous.pt"
    for iteration in (100, 200, 300):
        save(state(iteration), path, previous)
    assert (load(path)["iteration"], load(previous)["iteration"]) == (300, 200)


@pytest.fixture
def both(path: Path, tmp_path: Path) -> list[Path]:
    """The newest checkpoint, of iteration 200, and the one before it."""
    previous = tmp_path / "checkpoint.previous.pt"
    save(state(100), path, previous)
    save(state(200), path, previous)
    return [path, previous]


def newest(paths: list[Path], result: dict[str, Any] = RESULT) -> State | None:
    return load_newest(paths, result, "use fresh=true")


def test_the_newest_checkpoint_is_used(both: list[Path]) -> None:
    found = newest(both)
    assert found is not None
    assert found["iteration"] == 200


@pytest.mark.parametrize("content", [b"", b"nonsense", None])
def test_the_one_before_is_used_when_the_newest_is_bad_or_gone(
    both: list[Path], content: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []

    def warn(text: str, *values: object) -> None:
        warnings.append(text % values)

    monkeypatch.setattr("resexp.storage.checkpoint.log.warning", warn)
    if content is None:
        both[0].unlink()
    else:
        both[0].write_bytes(content)
    found = newest(both)
    assert found is not None
    assert found["iteration"] == 100
    (warning,) = warnings
    assert str(both[0]) in warning
    assert ("is missing" in warning) == (content is None)


def test_bad_checkpoints_are_all_named_with_the_remedy(both: list[Path]) -> None:
    for path in both:
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError) as caught:
        newest(both)
    message = str(caught.value)
    assert all(str(path) in message for path in both)
    assert message.endswith("use fresh=true")
    assert "\n" not in message


def test_no_checkpoint_is_no_mistake(tmp_path: Path) -> None:
    assert newest([tmp_path / "checkpoint.pt", tmp_path / "previous.pt"]) is None


def test_another_runs_checkpoint_is_refused(both: list[Path]) -> None:
    with pytest.raises(UserError, match="another run"):
        newest(both, {**RESULT, "seed": 1})


def test_a_checkpoint_that_cannot_be_read_counts_as_bad(path: Path) -> None:
    path.mkdir()
    with pytest.raises(UserError, match="cannot be used"):
        newest([path])
