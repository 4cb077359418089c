"""What is measured, and in which order; every group of figures is kept as soon as it is there."""

import argparse
import json
import statistics
import sys
from collections.abc import Generator
from contextlib import suppress
from functools import cache
from itertools import chain, product
from pathlib import Path
from typing import Any

from loops import LOOPS, settings
from processes import Group, Result, Spec, measure

from resexp.errors import UserError


def plan(arguments: argparse.Namespace) -> list[Group]:
    """What is to be measured: for each network, engine and precision what is compared; depths; several at once."""
    common = {name: getattr(arguments, name) for name in ("batch_size", "device", "images")}
    common |= {"layout": "channels_last", "deterministic": False, "processes": 1}

    def spec(network: str, measure: str, engine: str, precision: str, **more: Any) -> Spec:
        how = {"network": network, "measure": measure, "engine": engine, "precision": precision}
        return common | how | {"window": window(network, arguments.window)} | more

    ways = list(product(arguments.engines, arguments.precisions))
    groups: list[Group] = []
    for network, way in product(arguments.networks, ways):
        usual = spec(network, "usual", "eager", "fp32", layout="contiguous")
        group = [usual if what == "usual" else spec(network, what, *way) for what in arguments.measures]
        if arguments.deterministic and "resexp" in arguments.measures and way == ways[0]:
            group.append(spec(network, "resexp", *way, deterministic=True))
        if arguments.layouts and "bare" in arguments.measures and way == ways[0]:
            group.append(spec(network, "bare", *way, layout="contiguous"))
        groups.append(group)
    groups.append([spec(f"resnet{depth}", "resexp", *ways[0]) for depth in arguments.depths])
    for deterministic, number in product((False, True) if arguments.deterministic else (False,), arguments.together):
        beside = {"processes": number, "deterministic": deterministic}
        groups.append([spec(arguments.networks[0], "together", *ways[0], **beside)])
    return [group for group in groups if group]


@cache
def window(network: str, iterations: int) -> int:
    """Iterations that take about as long as those asked for take 20 layers. Raises UserError for no such network."""
    from resexp.config.compose import compose

    return max(1, round(iterations * 20 / compose(f"model={network}").model.depth))


def check(groups: list[Group]) -> None:
    """Raise UserError, before anything is measured, for what no loop could do here."""
    from resexp.training.device import prepare
    from resexp.training.engine import choose

    for spec in chain.from_iterable(groups):
        if spec["measure"] not in (*LOOPS, "together"):
            raise UserError(f"--measures {spec['measure']}: choose from {', '.join(LOOPS)}")
        if spec["images"] < spec["batch_size"]:
            raise UserError(f"--images {spec['images']}: not one mini-batch; use {spec['batch_size']} or more")
        config = settings(spec)
        choose(config.engine, prepare(config))


def measure_all(groups: list[Group], repeats: int, turns: int, kept: Path) -> list[tuple[Spec, list[Result]]]:
    """All groups in turn, the whole round repeated; those that are kept already are taken from there.

    Returns each spec, in the order of the plan, with its results of all groups and repeats; `at` says which.
    """
    known = dict(whole_lines(kept))
    found: dict[str, tuple[Spec, list[Result]]] = {}
    with kept.open("a") as file:
        for repeat, (number, group) in product(range(repeats), enumerate(groups)):
            key = json.dumps([repeat, turns, group], sort_keys=True)
            if key not in known:
                known[key] = measure(group, turns)
                file.write("\n" + json.dumps([key, known[key]]))
                file.flush()
            for spec, result in zip(group, known[key], strict=True):
                _, results = found.setdefault(json.dumps(spec), (spec, []))
                results.append(result | {"at": (repeat, number)})
                speed = statistics.median(result["speeds"])
                print(f"{repeat + 1} {described(spec)} {speed:10.1f} images/s", file=sys.stderr)
    return list(found.values())


def whole_lines(kept: Path) -> Generator[tuple[str, list[Result]], None, None]:
    """What was kept, without a line that a killed process left half written."""
    for line in kept.read_text().splitlines() if kept.exists() else []:
        with suppress(ValueError):
            yield json.loads(line)


def described(spec: Spec) -> str:
    """A spec in a line."""
    extra = "deterministic" if spec["deterministic"] else spec["layout"] if spec["layout"] == "contiguous" else ""
    what = f"{spec['processes']} at once" if spec["measure"] == "together" else spec["measure"]
    return f"{spec['network']:<10} {what:<9} {spec['engine']:<13} {spec['precision']:<5} {extra:<13}"


def same_bits(found: list[tuple[Spec, list[Result]]]) -> list[str]:
    """Whether runs beside others ended with the weights of the run alone, with deterministic=true and without."""
    lines: list[str] = []
    for deterministic in (False, True):
        kinds = [
            (spec["processes"], {digest for result in results for digest in result["digests"]})
            for spec, results in found
            if spec["measure"] == "together" and spec["deterministic"] == deterministic
        ]
        if kinds:
            equal = len(set().union(*(digests for _, digests in kinds))) == 1
            numbers = ", ".join(str(number) for number, _ in kinds)
            outcome = "equal to the bit" if equal else "not equal"
            lines.append(f"deterministic={str(deterministic).lower()}, {numbers} at once: weights {outcome}")
    return lines
