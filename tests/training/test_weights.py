"""Small files of trained weights: what comes back is what was trained; anything else is refused in one line."""

import hashlib
import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TINY, Here
from faulty import interrupt

from resexp.config.compose import compose
from resexp.errors import UserError
from resexp.storage import checkpoint
from resexp.system.processor import Processor
from resexp.training import weights


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one finished run."""
    from resexp.training.train import train

    folder = tmp_path_factory.mktemp("trained")
    train(compose(*TINY, "model=plain20", f"runs={folder}/runs"))
    return folder / "runs"


@pytest.fixture
def exported(here: Here, tmp_path: Path, trained: Path) -> Path:
    here("export", f"runs={trained}", "out=weights", "device=cpu", "dtype=fp32")
    (path,) = (tmp_path / "weights").glob("*.pt")
    return path


def test_fp32_weights_have_the_error_of_the_run(here: Here, exported: Path, trained: Path) -> None:
    note = json.loads(exported.with_suffix(".json").read_text())
    assert note["test_error"] == note["run_test_error"]
    assert note["bytes"] == exported.stat().st_size
    (run,) = [path.parent for path in trained.rglob("run.json")]
    printed = here("evaluate", f"weights={exported}", "device=cpu")
    assert printed == here("evaluate", f"runs={run}", "device=cpu")
    assert f"test error {100 * note['test_error']:.2f}% " in printed
    assert printed.startswith("plain20 after 12 of 12 iterations: ")


def test_auto_is_the_precision_of_the_run(here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resexp.training.device.processor", lambda: Processor("a CPU", "", "", ("amx_bf16",)))
    for precision, other in (("fp32", "bf16"), ("bf16", "fp32")):
        runs, out = tmp_path / precision, tmp_path / f"weights-{precision}"
        here("train", *TINY, "model=plain20", f"runs={runs}", f"precision={precision}")
        here("export", f"runs={runs}", f"out={out}", "device=cpu")
        (run,) = [path.parent for path in runs.rglob("run.json")]
        (weights,) = out.glob("*.pt")
        for what in (f"runs={run}", f"weights={weights}"):
            assert here("evaluate", what, "device=cpu").strip().endswith(f"{precision} on cpu")
            assert f"{other} on cpu (trained in {precision})" in here(
                "evaluate", what, f"precision={other}", "device=cpu"
            )


def test_auto_is_not_bf16_where_a_cpu_has_to_imitate_it(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resexp.training.device.processor", lambda: Processor("a CPU", "", "", ()))
    here("train", *TINY, "model=plain20", "precision=bf16")
    assert here("evaluate", "device=cpu").strip().endswith("fp32 on cpu (trained in bf16)")


def test_fp16_takes_half_the_bytes_and_rounds(here: Here, tmp_path: Path, exported: Path, trained: Path) -> None:
    here("export", f"runs={trained}", "out=small", "device=cpu")
    (small,) = (tmp_path / "small").glob("*.pt")
    content, whole = checkpoint.load(small)["network"], checkpoint.load(exported)["network"]
    assert {value.dtype for value in content.values()} == {torch.float16, torch.int64}
    for name, value in weights.load_file(small).network.items():
        torch.testing.assert_close(value, whole[name], rtol=1e-3, atol=1e-6)
    assert small.stat().st_size < 0.75 * exported.stat().st_size


def test_nothing_in_the_file_tells_where_it_was_made(exported: Path, trained: Path) -> None:
    for path in (exported, exported.with_suffix(".json")):
        assert str(trained).encode() not in path.read_bytes()


def test_more_than_the_limit_is_refused_with_the_size(
    here: Here, tmp_path: Path, exported: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "MOST_BYTES", exported.stat().st_size + 1000)
    exported.rename(exported.with_name("other.pt"))
    exported.with_suffix(".json").unlink()
    with pytest.raises(
        UserError, match=r"out=weights: \d+,\d{3} bytes with shapes.*seed0\.pt, more than 20 MB together"
    ):
        here("export", f"runs={trained}", "out=weights", "device=cpu", "dtype=fp32")
    assert [path.name for path in (tmp_path / "weights").iterdir()] == ["other.pt"]


def test_what_is_not_such_a_file_is_refused_in_one_line(here: Here, exported: Path, trained: Path) -> None:
    def refusal(path: Path) -> str:
        with pytest.raises(UserError) as error:
            here("evaluate", f"weights={path}", "device=cpu")
        assert "\n" not in str(error.value)
        return str(error.value)

    content = exported.read_bytes()
    other = exported.with_name("other.pt")
    other.write_bytes(content[: len(content) // 2])
    assert re.search(r"weights=.*other\.pt: cannot be used \(it has no digest: truncated", refusal(other))
    other.write_bytes(content[:1000] + bytes([content[1000] ^ 1]) + content[1001:])
    assert "its content does not match its digest" in refusal(other)
    (run_checkpoint,) = trained.rglob("checkpoint.pt")
    assert "not a file of resexp export; a run is measured with runs=DIRECTORY" in refusal(run_checkpoint)
    assert "No such file" in refusal(exported.with_name("nowhere.pt"))
    state = checkpoint.load(exported)
    checkpoint.save(state | {"classes": ["cat", "dog"]}, other)
    assert re.search(r"data=shapes: 10 classes \(.*\) there; .*other\.pt knows 2 classes \(cat, dog\)", refusal(other))
    checkpoint.save(state | {"digest": "0"}, other)
    assert re.search(r"data=shapes: not the images that .*other\.pt was trained on", refusal(other))
    del state["network"]["head.weight"]
    checkpoint.save(state, other)
    assert "the weights do not fit plain20" in refusal(other)


def test_what_cannot_be_exported_is_refused(here: Here, trained: Path) -> None:
    with pytest.raises(UserError, match=r"seed=4: no finished run of it there; choose 0"):
        here("export", f"runs={trained}", "seed=4")
    with pytest.raises(UserError, match="dtype=int8: choose fp16 or fp32"):
        here("export", "dtype=int8")


def test_two_runs_whose_weights_would_share_a_file_are_refused_before_anything_is_written(
    here: Here, tmp_path: Path
) -> None:
    """Two presets of one name."""
    steps = "iterations: 4\nbatch_size: 20\ndrops: [2]\nrow_every: 2\nevaluate_every: 4\n"
    images = ("data=shapes", "data.train_images=96", "data.test_images=40", "data.image_size=8")
    for rate, runs in (("0.05", "all/a"), ("0.02", "all/b")):
        preset = tmp_path / runs / "own" / "recipe" / "mine.yaml"
        preset.parent.mkdir(parents=True)
        preset.write_text(f"defaults: [quick]\nname: mine\nlr: {rate}\n{steps}")
        here("train", "--config-dir", f"{runs}/own", "recipe=mine", *images, "device=cpu", f"runs={runs}")
    with pytest.raises(UserError, match=r"seed0\.pt: the name of two runs with other settings in all; name one"):
        here("export", "runs=all", "out=weights", "device=cpu")
    assert not (tmp_path / "weights").exists()
    here("export", "runs=all/b", "out=weights", "device=cpu")


def test_weights_of_the_middle_of_a_finished_run_are_not_exported_and_training_makes_the_end_again(
    here: Here, tmp_path: Path
) -> None:
    train = ("train", *TINY, "model=plain20", f"runs={tmp_path}/runs")
    interrupt(compose(*train[1:]), 6)
    here(*train)
    (file,) = tmp_path.rglob("checkpoint.pt")
    whole = checkpoint.load(file)
    for damage in (lambda: file.write_bytes(file.read_bytes()[:-9]), file.unlink):
        damage()
        for verb in (("export", "runs=runs"), ("evaluate", f"runs={file.parent}")):
            with pytest.raises(UserError, match=r"checkpoint\.pt: the weights at the end .* are lost; .* after 6 iter"):
                here(*verb, "device=cpu")
        assert not list(tmp_path.rglob("weights/*"))
        with pytest.raises(UserError, match=r"delete .*run\.json and repeat the command that trained the run"):
            here("export", "device=cpu")
        file.with_name("run.json").unlink()
        here(*train)
        assert all(
            torch.equal(value, whole["network"][name]) for name, value in checkpoint.load(file)["network"].items()
        )
        assert "test error" in here("export", "device=cpu", f"out={tmp_path}/again{len(list(tmp_path.iterdir()))}")


def test_train_says_that_the_weights_of_a_finished_run_are_damaged(
    here: Here, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train = ("train", *TINY, "runs=runs")
    here(*train)
    (file,) = tmp_path.rglob("checkpoint.pt")
    content = file.read_bytes()
    file.write_bytes(content[:1000] + bytes([content[1000] ^ 1]) + content[1001:])
    here(*train)
    assert "finished already" in caplog.text
    assert "checkpoint.pt is damaged; delete" in caplog.text


def test_what_was_trained_again_or_is_lost_or_edited_is_exported_again(here: Here, tmp_path: Path) -> None:
    def export() -> bool:
        return "test error" in here("export", "device=cpu")

    here("train", *TINY, "model=plain20", "precision=fp32")
    assert export()
    (file,) = tmp_path.glob("results/weights/*.pt")
    note, content, written = file.with_suffix(".json"), file.read_bytes(), file.stat().st_mtime_ns
    assert not export()
    assert file.stat().st_mtime_ns == written
    for damage in (file.unlink, note.unlink, lambda: file.write_bytes(b"x"), lambda: note.write_text("")):
        damage()
        assert export()
        assert file.read_bytes() == content
        assert not export()
    assert "test error" in here("export", "device=cpu", "dtype=fp32")
    assert export()
    here("train", *TINY, "model=plain20", "fresh=true", "precision=bf16")
    assert export()
    assert file.read_bytes() != content


def strange(state: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Files with a good digest that no export wrote."""
    name = "stem.0.weight"
    weight = state["network"][name]
    network = {
        "not finite": torch.full_like(weight, torch.nan),
        "complex": weight.to(torch.complex64),
        "a number": 5,
        "sparse": weight.to_sparse(),
        "without memory": torch.zeros(1).expand(10**9),
        "on no device": weight.to("meta"),
    }
    files = {what: state | {"network": state["network"] | {name: value}} for what, value in network.items()}
    for key in ("config", "iteration", "digest", "classes", "network"):
        files[f"without {key}"] = {one: value for one, value in state.items() if one != key}
        files[f"{key} of another type"] = state | {key: [5]}
    result = state["config"]["result"]
    huge = {**result, "model": {**result["model"], "width": 64, "depth": 9998}}
    typed = {**result, "model": {**result["model"], "depth": 8.0}}
    files |= {
        what: state | {"config": state["config"] | {"result": one}}
        for what, one in {"huge": huge, "8.0": typed}.items()
    }
    files["precision 5"] = state | {"precision": 5}
    files["a terminal's escapes"] = state | {"classes": ["\x1b[2J", *state["classes"][1:]]}
    return files


def test_a_file_from_a_stranger_is_refused_in_one_line(here: Here, exported: Path) -> None:
    other, state = exported.with_name("other.pt"), checkpoint.load(exported)
    for what, content in strange(state).items():
        checkpoint.save(content, other)
        with pytest.raises(
            UserError, match=r"weights=.*other\.pt: cannot be used|the weights do not fit plain20"
        ) as error:
            here("evaluate", f"weights={other}", "device=cpu")
        assert "\n" not in str(error.value), what
        assert "\x1b" not in str(error.value), what
    inside = io.BytesIO()
    with zipfile.ZipFile(inside, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("archive/data/0", bytes(10_000_000))
    sealed = inside.getvalue()
    other.write_bytes(sealed + checkpoint.MARK + hashlib.sha256(sealed).hexdigest().encode())
    with pytest.raises(UserError, match="it is compressed"):
        here("evaluate", f"weights={other}", "device=cpu")
