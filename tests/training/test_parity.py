"""A change that is not numerical does not move the loss; a change of arithmetic or engine moves it within bounds."""

import pytest
import torch
from parity import NETWORKS, golden_file, losses

BF16_BOUND = 0.005
"""For losses of about 2.3: bf16 keeps 8 bits, and 50 iterations add the roundings up; a CPU showed 0.0015."""


@pytest.mark.parametrize("network", NETWORKS)
def test_the_first_losses_are_those_committed(network: str) -> None:
    committed = tuple(float(line) for line in golden_file(network).read_text().splitlines())
    assert losses(network, "precision=fp32") == pytest.approx(committed, abs=1e-4)


@pytest.mark.parametrize("network", NETWORKS)
def test_bf16_follows_fp32(network: str) -> None:
    exact, rounded = losses(network, "precision=fp32"), losses(network, "precision=bf16")
    assert exact != rounded
    assert rounded == pytest.approx(exact, abs=BF16_BOUND)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-3), ("bf16", BF16_BOUND)])
@pytest.mark.parametrize("engine", ["eager", "compile", "graph", "compile+graph"])
def test_a_gpu_follows_the_cpu(network: str, precision: str, bound: float, engine: str) -> None:
    exact = losses(network, "precision=fp32")
    found = losses(network, f"precision={precision}", "device=cuda", engine=engine)
    assert found == pytest.approx(exact, abs=bound)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_a_graph_is_the_eager_loop_to_the_bit_when_deterministic() -> None:
    same = ("precision=fp32", "device=cuda", "deterministic=true")
    assert losses("resnet20", *same, engine="graph") == losses("resnet20", *same)
