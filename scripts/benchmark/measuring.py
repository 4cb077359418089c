"""What is measured, in which order, by which processes; every figure is kept as soon as it is there."""

import argparse
import json
import subprocess
import sys
from collections.abc import Generator
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

LOOPS = Path(__file__).with_name("loops.py")

Spec = dict[str, Any]
Result = dict[str, Any]


def plan(arguments: argparse.Namespace) -> list[Spec]:
    """What is to be measured, each kind once, in the order of the table."""
    engine, precision = arguments.engines[0], arguments.precisions[0]
    plain = {"layout": "channels_last", "deterministic": False, "processes": 1}
    first = {"engine": engine, "precision": precision, **plain}
    specs: list[Spec] = []
    for network in arguments.networks:
        for measure in arguments.measures:
            ways = product(arguments.engines, arguments.precisions) if measure != "usual" else [("eager", "fp32")]
            for way in ways:
                how = dict(zip(("engine", "precision"), way, strict=True))
                specs.append({"network": network, "measure": measure, **first, **how})
        if arguments.deterministic and "resexp" in arguments.measures:
            specs += [{"network": network, "measure": "resexp", **first, "deterministic": True}]
        if arguments.layouts and "bare" in arguments.measures:
            specs += [{"network": network, "measure": "bare", **first, "layout": "contiguous"}]
    specs += [{"network": f"resnet{depth}", "measure": "resexp", **first} for depth in arguments.depths]
    for deterministic, number in product((False, True) if arguments.deterministic else (False,), arguments.together):
        beside = {"processes": number, "deterministic": deterministic}
        specs.append({"network": arguments.networks[0], "measure": "together", **first, **beside})
    common = {name: getattr(arguments, name) for name in ("iterations", "warm_up", "batch_size", "device", "images")}
    unique = {json.dumps(spec): {**common, **spec} for spec in specs}
    return [shortened(spec) for spec in unique.values()]


def shortened(spec: Spec) -> Spec:
    """The network of 1202 layers is measured over as few iterations as give one figure."""
    return spec | {"iterations": spec["warm_up"]} if spec["network"].endswith("1202") else spec


def measure(spec: Spec) -> Result:
    """One measurement, by as many processes at once as it asks for."""
    command = [sys.executable, str(LOOPS), json.dumps(spec)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(spec["processes"])]
    try:
        if spec["measure"] == "together":
            for process in processes:
                process.stdout.readline()
            for process in processes:
                process.stdin.write("go\n")
                process.stdin.flush()
        results = [json.loads(last_line(process)) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return results[0] if spec["measure"] != "together" else merged(results, spec)


def last_line(process: "subprocess.Popen[str]") -> str:
    """What a process ends with. Raises CalledProcessError if it failed."""
    out, _ = process.communicate()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return out.splitlines()[-1]


def merged(results: list[Result], spec: Spec) -> Result:
    """Several processes as one: all images over the time from the first start to the last end."""
    seconds = max(result["ended"] for result in results) - min(result["began"] for result in results)
    return {
        **results[0],
        "speed": len(results) * spec["iterations"] * spec["batch_size"] / seconds,
        "seconds_startup": max(result["seconds_startup"] for result in results),
        "peak_memory_mb": sum(result["peak_memory_mb"] for result in results),
        "digests": sorted({result["digest"] for result in results}),
    }


def measure_all(specs: list[Spec], repeats: int, kept: Path) -> list[list[Result]]:
    """All measurements in turn, the whole round repeated; those that are kept already are taken from there."""
    known = dict(whole_lines(kept))
    found: list[list[Result]] = [[] for _ in specs]
    with kept.open("a") as file:
        for repeat in range(repeats):
            for spec, results in zip(specs, found, strict=True):
                key = json.dumps([repeat, spec], sort_keys=True)
                if key not in known:
                    known[key] = measure(spec)
                    file.write("\n" + json.dumps([key, known[key]]))
                    file.flush()
                results.append(known[key])
                print(f"{repeat + 1} {described(spec)} {results[-1]['speed']:10.1f} images/s", file=sys.stderr)
    return found


def whole_lines(kept: Path) -> Generator[tuple[str, Result], None, None]:
    """What was kept, without a line that a killed process left half written."""
    for line in kept.read_text().splitlines() if kept.exists() else []:
        with suppress(ValueError):
            yield json.loads(line)


def described(spec: Spec) -> str:
    """A spec in a line."""
    extra = "deterministic" if spec["deterministic"] else spec["layout"] if spec["layout"] == "contiguous" else ""
    what = f"{spec['processes']} at once" if spec["measure"] == "together" else spec["measure"]
    return f"{spec['network']:<10} {what:<9} {spec['engine']:<13} {spec['precision']:<5} {extra:<13}"


def same_bits(specs: list[Spec], found: list[list[Result]]) -> list[str]:
    """Whether runs beside others ended with the weights of the run alone, with deterministic=true and without."""
    lines: list[str] = []
    for deterministic in (False, True):
        kinds = [
            (spec["processes"], {digest for result in results for digest in result["digests"]})
            for spec, results in zip(specs, found, strict=True)
            if spec["measure"] == "together" and spec["deterministic"] == deterministic
        ]
        if kinds:
            equal = len(set().union(*(digests for _, digests in kinds))) == 1
            numbers = ", ".join(str(number) for number, _ in kinds)
            outcome = "equal to the bit" if equal else "not equal"
            lines.append(f"deterministic={str(deterministic).lower()}, {numbers} at once: weights {outcome}")
    return lines
