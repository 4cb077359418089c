"""The CPU as the system describes it: which one decides the last bits of a curve, and which arithmetic is fast."""

import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
EXTENSIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve", "bf16")
"""Vector and matrix extensions that change how convolutions are computed."""


@dataclass(frozen=True)
class Processor:
    """`model` is what tells processors of one name apart: "family 25 model 17"; empty where it is not known."""

    name: str
    vendor: str
    model: str
    extensions: tuple[str, ...]

    @property
    def fast_bf16(self) -> bool:
        """Whether training in bf16 is faster than in fp32: with AMX, or with AVX512-BF16 on an AMD (Zen 4, Zen 5).

        On an Intel Xeon that has AVX512-BF16 and no AMX it was slower, 0.7 to 0.8 times; elsewhere nobody measured it.
        """
        amd = self.vendor == "AuthenticAMD"
        return "amx_bf16" in self.extensions or (amd and "avx512_bf16" in self.extensions)


@cache
def processor() -> Processor:
    """The CPU of this machine, from the first entry of /proc/cpuinfo where there is one."""
    try:
        lines = CPUINFO.read_text(encoding="utf-8").partition("\n\n")[0].splitlines()
    except OSError:
        lines = []
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = {*facts.get("flags", "").split(), *facts.get("Features", "").split()}
    model = f"family {facts['cpu family']} model {facts['model']}" if {"cpu family", "model"} <= facts.keys() else ""
    name = facts.get("model name") or platform.processor() or platform.machine()
    return Processor(name, facts.get("vendor_id", ""), model, tuple(one for one in EXTENSIONS if one in flags))
