from pathlib import Path

import pytest

from resexp.system import processor
from resexp.system.processor import Processor

EPYC = "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            f"{EPYC}flags\t\t: fpu avx2 avx512f avx512_bf16\n\nprocessor\t: 1\nmodel name\t: another\n",
            Processor("AMD EPYC", "AuthenticAMD", "family 25 model 17", ("avx2", "avx512f", "avx512_bf16")),
        ),
        ("processor\t: 0\nmodel name\t: Arm\nFeatures\t: fp asimd bf16\n", Processor("Arm", "", "", ("asimd", "bf16"))),
    ],
)
def test_the_first_processor_is_described(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: Processor
) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    assert processor.processor.__wrapped__() == expected


def test_a_system_without_that_file_has_a_processor_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "none")
    assert processor.processor.__wrapped__().extensions == ()
