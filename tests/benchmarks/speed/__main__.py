"""How fast the layers are, side by side with torch's dense ones and with other packages': time, memory, growth.

    python -m tests.benchmarks.speed [--quick] [--cases abcde,growth] [--output DIR]

Every system of a case runs once in every round, in an order shuffled anew; medians over the rounds, one more warms up.
Forward is without gradients, in evaluation mode and in training mode; a training step is zero_grad, forward, sum, backward to the
parameters (no gradient of the input, no optimizer). A ratio is dense over the system's time, both medians, with the quartiles of
the rounds' own ratios. In case (a) the input projections stand against a roofline measured in the same rounds, and the peak memory
of a training step is that of a process of its own. TedNet and TensorLy-Torch come with the extra `bench`; what is not
installed is left out, and named. Pictures need matplotlib; `--draw FILE` draws those of a record written without it.
"""

import argparse
import importlib.util
import json
import os
import sys
from pathlib import Path

import torch

from tests.benchmarks.speed import growth, memory, peers, report, timing
from tests.benchmarks.speed.cases import COMPRESSION, Case, cases, compression
from tests.benchmarks.speed.timing import PRECISIONS, Row, Setting
from tests.benchmarks.tables import version

KEYS = "abcde"


def run(case: Case, setting: Setting, options: argparse.Namespace, left_out: dict[str, str]) -> list[Row]:
    """Measure one case in one precision."""
    x = torch.randn(case.shape, device=setting.device)
    modules = {}
    for system in case.systems:
        if system.package in peers.MODULES and version(system.package) is None:
            left_out[system.name] = f"{system.package} is not installed (extra bench)"
            continue
        module = system.make().to(setting.device)
        if case.key != "a" and system.package == report.OURS and compression(module) < COMPRESSION:
            left_out[f"{system.name} in {case.title}"] = f"compresses {compression(module):.1f} times only"
            continue
        if system.package in peers.MODULES:
            try:
                timing.step(module, x, setting)
            except RuntimeError as error:
                left_out[f"{system.name}, {setting.precision}"] = str(error).splitlines()[0]
                continue
        modules[system.name] = module
    names = list(modules)[:2] if options.quick else list(modules)
    of_memory = memory.measured(case, names, setting, torch.get_num_threads()) if case.projections else []
    with setting.active():
        return [*timing.timed(case, modules, x, setting), *timing.projected(case, modules, x, setting), *of_memory]


def main() -> None:
    """Measure, print the tables, and write the record and the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes and one round, to see that it runs")
    parser.add_argument("--cases", default="a,b,c,d,e,growth", help="of a, b, c, d, e and growth (default: all)")
    parser.add_argument("--rounds", type=int, help="default: 7, quick 1")
    parser.add_argument("--patience", type=float, help="seconds of a system in one measure of a case (default: 6, quick 1)")
    parser.add_argument("--threads", type=int, help="default: torch's")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--precision", default="float32", help=f"of {', '.join(PRECISIONS)}, separated by commas")
    parser.add_argument("--output", type=Path, help="folder of speed.json and the pictures")
    parser.add_argument("--draw", type=Path, metavar="FILE", help="draw the pictures of a record beside it and stop")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    keys, precisions = options.cases.split(","), options.precision.split(",")
    if not set(keys) <= {*KEYS, "growth"} or not set(precisions) <= set(PRECISIONS):
        parser.error(f"unknown case or precision; cases {', '.join(KEYS)}, growth; precisions {', '.join(PRECISIONS)}")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch finds no CUDA device")
    if options.draw:
        draw(json.loads(options.draw.read_text()), options.draw.parent)
        return
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    rounds, patience = options.rounds or (1 if options.quick else 7), options.patience or (1 if options.quick else 6)
    settings = [Setting(options.device, precision, rounds, patience) for precision in precisions]
    if options.child:
        print(json.dumps(memory.measure(cases(keys[0], True)[0], options.child, settings[0])))
        return
    rows, left_out = [], {}
    for case in cases("".join(key for key in keys if key in KEYS), options.quick):
        for setting in settings:
            print(f"{case.title}, {setting.precision}", file=sys.stderr)
            rows += run(case, setting, options, left_out)
    record = {
        "machine": {
            "CPUs": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "device": options.device if options.device == "cpu" else torch.cuda.get_device_name(),
            **{package: version(package) or "not installed" for package in peers.MODULES},
        },
        "quick": options.quick,
        "rounds": rounds,
        "rows": rows,
        "growth": growth.measured(settings[0], options.quick) if "growth" in keys else [],
        "targets": [one for precision in precisions for one in report.verdicts(rows, options.device, precision)],
        "left_out": left_out,
    }
    print(report.text(record))
    if options.quick:
        print("Quick sizes and single rounds say nothing about the targets.")
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "speed.json").write_text(json.dumps(record, indent=1) + "\n")
        draw(record, options.output)


def draw(record: dict, folder: Path) -> None:
    """Draw the pictures, where matplotlib is."""
    if importlib.util.find_spec("matplotlib") is None:
        print("Left out: pictures: matplotlib is not installed (extra bench)")
        return
    from tests.benchmarks.speed import pictures

    for path in pictures.draw(record, folder):
        print(f"wrote {path.name}")


if __name__ == "__main__":
    main()
