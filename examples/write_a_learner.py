"""Write a learning rule of your own, have it checked against the contract, then train a chip with it.

The rule: shake all weights by a random sign pattern; if the loss fell, make the disturbance permanent.
Run it as ``python examples/write_a_learner.py``.
"""

from dataclasses import dataclass
from typing import ClassVar

from mortalsim import data
from mortalsim.chips import SimulatedChip, load_design
from mortalsim.hardware import Port, Replay, WeightNudge
from mortalsim.learners import Learner
from mortalsim.objectives import cross_entropy
from mortalsim.streams import Streams
from mortalsim.testing import check_learner
from mortalsim.training import error_rate, train


@dataclass(frozen=True, kw_only=True)
class KeepIfBetter(Learner):
    """Random search: no gradient, no taps, one bit learned from each try."""

    name: ClassVar[str] = "keep_if_better"
    ports: ClassVar[tuple[Port, ...]] = (Port.WEIGHT_NUDGE, Port.REPLAY)
    amplitude: float = 0.02

    def init(self, sheet, task, rng):
        sheet.require(self.name, *self.ports)
        sheet.output_of(self.name, task.classes)
        return {}

    def step(self, chip, task, batch, state, rng):
        nudge = WeightNudge(int(rng.integers(2**63)), self.amplitude)
        reads = (chip.read(batch.x, disturbed, want="output") for disturbed in (None, nudge))
        now, tried = (cross_entropy(trace.output, batch.labelled(self.name))[0].mean() for trace in reads)
        if tried < now:
            chip.write(Replay(nudge, 1.0))
        return state, {"loss": float(now)}

    def predict(self, chip, task, x, state):
        return chip.read(x, want="output").output


def main() -> None:
    design = load_design("mild")
    check_learner(KeepIfBetter(), lambda: SimulatedChip(design.with_sizes((12, 8, 4)), seed=0))
    print("keep_if_better keeps the contract of every learner")
    streams = Streams(seed=0)
    digits = data.load("digits", streams)
    chip, learner = SimulatedChip(design, seed=1), KeepIfBetter(epochs=40, batch_size=100)
    result = train(chip, learner, digits, streams, validate_every=0)
    error = error_rate(chip, learner, digits.task, digits.test_x, digits.test_y, result.state)
    for record in result.history[9::10]:
        print(f"epoch {record.epoch:3}: loss {record.info['loss']:.3f}")
    print(f"test error: {error:.1%}, guessing would give 90 %")


if __name__ == "__main__":
    main()
