"""Images per second of training, in turn and repeated: each loop in a process that is stopped while others have a turn.

usual     the loop as people write it: torchvision transforms per image, a DataLoader with as many workers as cores,
          fp32, eager, `.item()` each step
resexp    `resexp train` as a user gets it, from its timing.csv: start-up, evaluations and checkpoints apart
bare      the step of the same network, engine and precision on one fixed batch: the ceiling
floor     on a GPU: the bytes a step must move over the measured copy bandwidth
together  several training processes at once on one device, in step; images per second of all of them

What is compared is measured turn by turn, a few seconds each, and a ratio is the median over the turns (with quartiles)
of one loop's speed over the other's: noise of the machine that lasts longer than a turn meets both. Every group of such
figures is kept in OUT/measured.jsonl as soon as it is there; --resume measures only what is missing.
"""

import argparse
import re
import statistics
import sys
from pathlib import Path

import table
from measuring import check, measure_all, plan, same_bits
from processes import CORES

from resexp.errors import UserError

ROOT = Path(__file__).resolve().parent.parent.parent
IMAGES = 10_000
"""Images of 32x32 pixels in the training set; their number does not matter to the speed."""


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words = {"type": lambda text: text.split(",") if text else []}
    numbers = {"type": positives}
    parser.add_argument("--networks", default=["resnet20", "resnet56"], **words)
    parser.add_argument("--measures", default=["usual", "resexp", "bare"], **words, help="of each network")
    parser.add_argument("--engines", default=["auto"], **words, help="auto, eager, compile, graph, compile+graph")
    parser.add_argument("--precisions", default=["auto"], **words, help="auto, fp32, tf32, bf16")
    parser.add_argument(
        "--depths", default=[], **numbers, help="resnets for seconds against depth: 20,32,44,56,110,1202"
    )
    parser.add_argument("--together", default=[], **numbers, help="numbers of processes at once: 1,2,4,8")
    parser.add_argument("--deterministic", action="store_true", help="also what deterministic=true costs")
    parser.add_argument("--layouts", action="store_true", help="also the bare step in contiguous layout")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch-size", type=positive, default=128)
    parser.add_argument(
        "--window",
        type=positive,
        default=10,
        help="iterations of 20 layers a figure is taken over, of more layers fewer",
    )
    parser.add_argument("--turns", type=positive, default=5, help="of each process: four windows, three of which count")
    parser.add_argument("--repeats", type=positive, default=2, help="of everything, in new processes")
    parser.add_argument("--images", type=positive, default=IMAGES, help="in the training set")
    parser.add_argument("--out", type=Path, help="folder for bench.csv, bench.png, summary.txt")
    parser.add_argument("--resume", action="store_true", help="keep what OUT/measured.jsonl holds")
    return parser.parse_args()


def positive(text: str) -> int:
    """A number from 1 on. Raises ArgumentTypeError for anything else."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def positives(text: str) -> list[int]:
    """Numbers from 1 on, between commas. Raises ArgumentTypeError for anything else."""
    return [positive(part) for part in text.split(",") if part]


def main() -> None:
    """Measure everything that is asked for and write it down."""
    arguments = parse()
    import torch

    gpu = torch.cuda.is_available() and arguments.device != "cpu"
    hardware = hardware_name(gpu)
    folder: Path = arguments.out or ROOT / "results" / "bench" / hardware
    try:
        groups = plan(arguments)
        check(groups)
    except UserError as error:
        sys.exit(f"scripts/bench: {error}")
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "measured.jsonl"
    if not arguments.resume:
        kept.unlink(missing_ok=True)
    found = measure_all(groups, arguments.repeats, arguments.turns, kept)
    rows = [table.row(spec, results) for spec, results in found]
    if gpu:
        rows += table.floor_rows(rows, arguments.batch_size)
    table.write(rows, folder / "bench.csv")
    table.draw(rows, folder / "bench.png", f"Training speed, batch {arguments.batch_size}, {hardware}")
    lines = [*table.ratios(rows), *table.prices(rows), *table.depth_lines(rows, arguments.depths)]
    lines += [*table.together_lines(rows), *same_bits(found)]
    if not gpu and (arguments.deterministic or arguments.together):
        lines.append("on a CPU deterministic=true changes nothing: what it costs there is noise")
    if CORES.exists():
        stolen = statistics.mean(result["stolen"] for _, results in found for result in results)
        lines.append(f"meanwhile {stolen:.1%} of the cores' time was not this machine's (stolen by its hypervisor)")
    (folder / "summary.txt").write_text("\n".join(lines) + "\n")
    print("\n".join([*lines, str(folder / "bench.csv")]))


def hardware_name(gpu: bool) -> str:
    """A folder's name for this machine: the GPU, or the CPU and its cores."""
    import torch

    from resexp.system.machine import cores
    from resexp.training.device import processor_name

    name = torch.cuda.get_device_name() if gpu else f"{processor_name()} {cores()} cores"
    return re.sub(r"[^a-z0-9]+", "-", re.sub(r"\(\w+\)", "", name).lower()).strip("-")


if __name__ == "__main__":
    main()
