"""Times training steps of loeweX's Forward-Forward in torch, and of plain backprop through the same net.

    LOEWEX=CHECKOUT PYTHON benchmarks/peers/loewex.py --threads 2 --runs 7

The environment variable LOEWEX names a checkout of the repository loeweX/Forward-Forward, which is no package. One step is
what its training loop does with a batch: 100 positive, 100 negative and 100 neutral images of 784 pixels, forward, backward
and the optimiser. Each case runs in a process of its own, so that each has its own peak of memory.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import resource
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _protocol as protocol

BATCH, PIXELS, CLASSES = 100, 784, 10
CASES = {
    "ff_step_4x2000": ("ff", 4, 2000),
    "ff_step_3x1000": ("ff", 3, 1000),
    "backprop_4x2000": ("backprop", 4, 2000),
}


def main() -> None:
    options = protocol.parser(__doc__)
    options.add_argument("--case", choices=CASES, help="measure this case alone, in this process")
    arguments = options.parse_args()
    if arguments.case:
        _measure(arguments)
        return
    report = protocol.Report("loewex", arguments.threads, arguments.runs)
    for case in CASES:
        command = [
            sys.executable,
            __file__,
            "--case",
            case,
            "--threads",
            str(arguments.threads),
            "--runs",
            str(arguments.runs),
        ]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.returncode)
        part = json.loads(done.stdout.splitlines()[-1])
        report.version = part["version"]
        report.rows.extend(part["rows"])
    report.print()


def _measure(arguments: Any) -> None:
    """Time one case and print its report."""
    report = protocol.begin("loewex", arguments)
    with protocol.importing(report.peer):
        import torch

        utils = _loewex_utils()

    torch.set_num_threads(report.threads)
    torch.manual_seed(0)
    report.version = f"{_commit(Path(os.environ['LOEWEX']))} with torch {torch.__version__}"
    kind, layers, width = CASES[arguments.case]
    step, note = _forward_forward(torch, utils, layers, width) if kind == "ff" else _backprop(torch, layers, width)
    before = _resident_mb()
    row = report.measure(arguments.case, step, note, warmups=3)
    peak = _peak_mb()
    row["peak_rss_mb"], row["rss_growth_mb"] = peak, peak - before
    row["note"] += "; growth: peak of memory during the steps over the memory with the model and one batch in place"
    report.print()


def _forward_forward(torch: Any, utils: Any, layers: int, width: int) -> tuple[Callable[[], None], str]:
    """Return one training step with the settings of the peer's own configuration, but for the size and the device."""
    opt = _Options(
        device="cpu",
        input=_Options(batch_size=BATCH),
        model=_Options(peer_normalization=0.03, momentum=0.9, hidden_dim=width, num_layers=layers),
        training=_Options(
            learning_rate=1e-3, weight_decay=3e-4, momentum=0.9, downstream_learning_rate=1e-2, downstream_weight_decay=3e-3
        ),
    )
    with contextlib.redirect_stdout(io.StringIO()):  # the peer prints its model
        model, optimizer = utils.get_model_and_optimizer(opt)
    images = torch.rand(BATCH, 1, 28, 28)
    true = torch.randint(CLASSES, (BATCH,))
    wrong = (true + torch.randint(1, CLASSES, (BATCH,))) % CLASSES
    inputs = {
        "pos_images": _labelled(images, torch.nn.functional.one_hot(true, CLASSES)),
        "neg_images": _labelled(images, torch.nn.functional.one_hot(wrong, CLASSES)),
        "neutral_sample": _labelled(images, torch.full((BATCH, CLASSES), 1 / CLASSES)),
    }
    labels = {"class_labels": true}

    def step() -> None:
        optimizer.zero_grad()
        scalars = model(inputs, labels)
        scalars["Loss"].backward()
        optimizer.step()

    note = (
        f"784-{layers}x{width}, 100 positive + 100 negative + 100 neutral images in memory, float32, all layers and the"
        " linear classifier in one step, its own SGD with momentum 0.9, weight decay and peer normalization 0.03"
    )
    return step, note


def _backprop(torch: Any, layers: int, width: int) -> tuple[Callable[[], None], str]:
    """Return one training step of a plain network of the same hidden layers."""
    widths = [PIXELS, *([width] * layers)]
    hidden = [m for a, b in itertools.pairwise(widths) for m in (torch.nn.Linear(a, b), torch.nn.ReLU())]
    model = torch.nn.Sequential(*hidden, torch.nn.Linear(width, CLASSES))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    images, true = torch.rand(BATCH, PIXELS), torch.randint(CLASSES, (BATCH,))

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images), true).backward()
        optimizer.step()

    note = f"784-{layers}x{width}-10, torch alone: ReLU, cross entropy, SGD with momentum 0.9, B=100, float32"
    return step, note


class _Options(types.SimpleNamespace):
    """Settings by attribute, as the peer reads them."""


def _labelled(images: Any, label: Any) -> Any:
    """Write a label into the first pixels of images."""
    images = images.clone()
    images[:, 0, 0, :CLASSES] = label
    return images


def _loewex_utils() -> Any:
    """Import the peer's code from its checkout.

    Three packages that it imports serve its command line and its download of images, which take no part in a training step;
    where one is missing, an empty module stands in for it.
    """
    checkout = os.environ.get("LOEWEX")
    if not checkout or not (Path(checkout) / "src" / "ff_model.py").is_file():
        raise ImportError("LOEWEX names no checkout of loeweX/Forward-Forward")
    for name, members in {
        "torchvision": (),
        "hydra": (),
        "hydra.utils": ("get_original_cwd",),
        "omegaconf": ("OmegaConf",),
    }.items():
        stand_in = types.ModuleType(name)
        for member in members:
            setattr(stand_in, member, None)
        sys.modules[name] = stand_in
    sys.path.insert(0, checkout)
    from src import utils

    return utils


def _commit(checkout: Path) -> str:
    """Return the short name of the commit that is measured, where git can tell."""
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return "unknown"


def _peak_mb() -> float:
    """Return the largest resident memory of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _resident_mb() -> float:
    """Return the resident memory of this process now, or its peak so far where the system does not tell."""
    with contextlib.suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return _peak_mb()


if __name__ == "__main__":
    main()
