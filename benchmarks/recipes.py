"""Make the table of recipes that were run again from their run folders.

    python benchmarks/recipes.py COMMIT:FOLDER [COMMIT:FOLDER ...]

prints rows in Markdown, one a design, learner and run; COMMIT is the one that the run was made with.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

HEADINGS = (
    "recipe", "design", "learner", "seed", "epochs", "test %, by chip", "validation %",
    "reads", "pulses", "energy (J)", "computed in", "commit",
)  # fmt: skip


def rows_of(folder: Path, commit: str) -> list[tuple[str, ...]]:
    """Return the cells of each row of a run's table, the run's command behind them."""
    results = json.loads((folder / "results.json").read_text())
    asked = json.loads((folder / "config.json").read_text())
    config, found = asked["config"], []
    name = f"{config['recipe']}{' +-' + str(config['shift']) + ' px' if config['shift'] else ''}"
    name += f" ({config['dataset']})" if config["dataset"] != "mnist" else ""
    name += f" {','.join(map(str, config['hidden']))}" if config["hidden"] else ""
    for row in results["rows"]:
        epochs = asked["learners"][row["learner"]]["epochs"]
        found.append(
            (
                name, row["design"], row["learner"], str(config["seed"]), str(epochs),
                ", ".join(f"{100 * error:.2f}" for error in row["test_errors"]), f"{100 * row['valid_error']:.2f}",
                f"{row['reads'] / 1e6:.2f} M", _count(row["pulses"]), f"{row['joules']:.3g}",
                f"{row['wall'] / 60:.0f} min", commit, _short(asked["command"]),
            )
        )  # fmt: skip
    return found


def _short(command: str) -> str:
    """Return a command without the folders of the machine that it ran on."""
    words = command.split()
    words = [words[0].rpartition("/")[2], *words[1:]]
    if "--out" in words:
        del words[words.index("--out") : words.index("--out") + 2]
    return " ".join(words)


def _count(pulses: Any) -> str:
    return f"{pulses / 1e6:.0f} M" if pulses else "none"


def main(pairs: list[str]) -> None:
    """Print the table, and the commands under it."""
    split = [pair.partition(":") for pair in pairs]
    rows = [row for commit, _, folder in split for row in rows_of(Path(folder), commit)]
    print("| " + " | ".join(HEADINGS) + " |\n|" + "---|" * len(HEADINGS))
    for row in rows:
        print("| " + " | ".join(row[:-1]) + " |")
    print()
    for command in dict.fromkeys(row[-1] for row in rows):
        print(f"    {command}")


if __name__ == "__main__":
    main(sys.argv[1:])
