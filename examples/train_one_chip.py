"""Train one chip by Forward-Forward through the seam, and show its error before and after.

Run it as ``python examples/train_one_chip.py [--epochs N] [--design NAME]``.
"""

import argparse

from mortalsim import build
from mortalsim.learners import LEARNERS
from mortalsim.streams import Streams
from mortalsim.training import error_rate, train


def main(epochs: int, design: str) -> None:
    run = Streams(seed=0)
    # The design gets as many inputs and outputs as the data need; the data are laid out for the design's inputs.
    plan, digits = build.fitted(design, build.load_data("digits", run))
    chip = build.make_chip(plan, run, number=1)
    sheet, task = chip.datasheet, digits.task
    print(f"inputs {', '.join(sheet.inputs)}; hidden {', '.join(sheet.hidden)}; output {sheet.output}")
    learner = LEARNERS.get("ff")(epochs=epochs)

    # Nothing is learned yet: the state is what the learner begins with, the weights are as fabricated.
    untrained = learner.init(sheet, task, run.generator("untrained"))
    before = error_rate(chip, learner, task, digits.test_x, digits.test_y, untrained)
    print(f"before: {before:6.1%} of {len(digits.test_x)} test digits wrong")

    def report(record) -> None:
        if record.valid_error is not None:
            print(f"epoch {record.epoch:3}: loss {record.info['loss']:.3f}, validation error {record.valid_error:.1%}")

    result = train(chip, learner, digits, run.child("train"), on_epoch=report)

    after = error_rate(chip, learner, task, digits.test_x, digits.test_y, result.state)
    spent = chip.meter
    print(f"after:  {after:6.1%} of the same digits wrong")
    print(f"cost, validation and tests included: {spent.reads:,} reads, {spent.pulses:,} pulses, {spent.joules:.2g} J")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=20, help="passes through the training data (default: 20)")
    parser.add_argument("--design", default="mild", help="a shipped design or a .toml file (default: mild)")
    main(**vars(parser.parse_args()))
