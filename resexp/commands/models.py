"""`resexp models`: the networks in conf/model and in folders of one's own, without torch."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from resexp.analysis.paper import TEST_ERROR
from resexp.config.compose import model_preset, settings_of
from resexp.config.presets import content_of, presets
from resexp.config.settings import ModelConfig
from resexp.formatting import ABSENT
from resexp.model.cost import multiply_adds, parameters
from resexp.printing import printing


@dataclass
class ModelsSettings:
    """Root of `resexp models`."""

    json: bool


def task(cfg: DictConfig) -> None:
    """Print a table of the networks."""
    lines = [
        f"{'model':<12}{'layers':>7}{'parameters':>13}{'with B':>12}{'with C':>12}{'multiply-adds':>16}"
        f"{'paper, test error':>20}"
    ]
    records: list[dict[str, Any]] = []
    sources = HydraConfig.get().runtime.config_sources
    own = [Path(source.path) for source in sources if source.provider == "command-line"]
    for path in presets("model", own):
        content = content_of(path)
        if "defaults" in content:  # of a preset of one's own that builds on another
            content = model_preset(path.stem)
        settings: dict[str, Any] = {"shortcut": "A", "width": 1, "norm": "batch"} | content
        model = ModelConfig(**settings)
        published = TEST_ERROR.get(model.name)
        shown = f"{published.percent:.2f}%" if published else "-"
        mark = "*" if published and published.digitised else ""
        macs = f"{multiply_adds(model) / 1e6:,.1f} M"
        with_b, with_c = (
            parameters(replace(model, shortcut=option)) if model.residual else None for option in ("B", "C")
        )
        projected = "".join(f"{f'{count:,}' if count else ABSENT:>12}" for count in (with_b, with_c))
        lines.append(f"{model.name:<12}{model.depth:>7}{parameters(model):>13,}{projected}{macs:>16}{shown:>20}{mark}")
        records.append(
            {
                **{"model": model.name, "layers": model.depth, "parameters": parameters(model)},
                **{"parameters_with_b": with_b, "parameters_with_c": with_c, "multiply_adds": multiply_adds(model)},
                **{"paper_test_error": published and published.error, "digitised": published and published.digitised},
            }
        )
    lines.append("with B, C: parameters where projections are shortcuts of 2 blocks, or of all (model.shortcut=B or C)")
    lines.append("* never printed: measured from figure 6, within 0.1 points")
    lines += [f"{name}: {published.note}" for name, published in TEST_ERROR.items() if published.note]
    with printing(settings_of(cfg, ModelsSettings).json) as show:
        show("\n".join(lines), *records)
