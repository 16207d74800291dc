"""Unsupervised Forward-Forward: populations learn to tell images from mixtures of two; a head learns at the end."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from mortalsim.checks import FloatArray
from mortalsim.fields import AtLeastOne, Rate, Share
from mortalsim.hardware import Chip, Datasheet, Task
from mortalsim.learners._contrast import Contrast
from mortalsim.learners.base import Batch, Info, State, output_of, require_hidden
from mortalsim.learners.schedules import half_linear


@dataclass(frozen=True, kw_only=True)
class UnsupervisedForwardForward(Contrast):
    """Forward-Forward without labels (Hinton 2022, section 3.2), and a softmax head on what was learned.

    Positive data are images. Negative data are hybrids: where a mask of large blobs is set they show one image, elsewhere
    another, so that they differ from images in nothing but their long-range shape. The mask is random bits, blurred in both
    directions again and again with weights 1/4, 1/2, 1/4, and cut at one half.

    After the share ``unlabelled`` of the training the hidden populations stay as they are, and the output is trained by the
    delta rule. It should be fed by all hidden populations but the first (``into_output = "later"`` in a short design).

    Parameters
    ----------
    rate, head_rate
        Dimensionless step sizes of the hidden populations and of the output, as `steps.ask` has them; each falls as
        `half_linear` says over its own part of the training.
    unlabelled
        Share of the training steps in which hidden populations learn.
    blurs
        How often a mask is blurred: the size of its blobs.
    momentum
        Weight of the past in the running mean of the hidden populations' gradient, kept digitally and sent as `Delta`; 0
        keeps nothing and sends `Outer`.
    decay, head_decay
        Weight decay per unit of step, weight per unit of product, of arrays into hidden populations and output, asked for
        by `Shrink`; 0: no request.
    shrink_every
        Steps between two requests to shrink; the factor makes up for the steps between.
    peer
        Pull of each neuron's mean activity towards its population's mean, on positive data, also where the neuron is off.
    goodness, top, objective, threshold, temperature, collaboration, skip, learn_ticks
        As in ``ff``.
    center
        Share of what rows have in common that is left to the bias lines of the hidden populations, as `steps.ask` has it.
    head_center
        The same for the output's.

    State
    -----
    steps : int64 (1,)
        Steps taken.
    due {population} : float64 (1,)
        Of each population that learns: weight per unit of product asked for since the last request to shrink.
    mean {population} : float32 (size,)
        Of each hidden population: running mean of its activities on positive data, a tenth of it from the last step.
    threshold {population} : float32 (1,)
        Of each hidden population: the goodness above which an image counts as whole.
    gradient{array} : float32 (array)
        Of each array into a hidden population, where ``momentum`` is above 0: running mean of its products.
    rows{array} : float32 (rows)
        Of each array whose target is centred: running mean of what each of its rows carries.

    Info
    ----
    loss : fraction
        Share of the batch's pairs of which the hybrid has more goodness, mean over hidden populations and the ticks learned;
        while the head learns: the head's share of wrong answers.
    pair_errors : fraction
        The loss while hidden populations learn.
    positive {population} : number
        While hidden populations learn, of each: mean goodness of images, in units of its threshold.
    negative {population} : number
        The same of hybrids.
    """

    name: ClassVar[str] = "ff_unsupervised"
    signals: ClassVar[str] = "whether it is an image"

    epochs: AtLeastOne = 50
    batch_size: AtLeastOne = 50
    head_rate: Rate = 6.5
    unlabelled: Share = 0.6
    blurs: Annotated[int, Field(ge=0, le=1000)] = 4

    def guessing_loss(self, sheet: Datasheet, classes: int) -> float | None:
        return None

    def init(self, sheet: Datasheet, task: Task, rng: np.random.Generator) -> State:
        sheet.require(self.name, *self.ports)
        require_hidden(sheet, self.name)
        sheet.output_of(self.name, task.classes)
        return self.init_contrast(sheet)

    def step(self, chip: Chip, task: Task, batch: Batch, state: State, rng: np.random.Generator) -> tuple[State, Info]:
        targets, state = batch.labelled(self.name), dict(state)
        if batch.progress >= self.unlabelled:
            return self._train_head(chip, batch, targets, state)
        rate = half_linear(batch.progress / self.unlabelled)
        trace = chip.read(np.concatenate([batch.x, self.hybrids(task, batch.x, rng)]))
        info = self.learn_pairs(chip, trace, state, rate)
        self.shrink(chip, state)
        return state, {"loss": info["pair_errors"]} | info

    def predict(self, chip: Chip, task: Task, x: FloatArray, state: State) -> FloatArray:
        return output_of(chip.read(x, want="output"))

    def hybrids(self, task: Task, x: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return mixtures (B, n_inputs) of each image of ``x`` and the next one."""
        lines = np.array(task.image_lines or range(x.shape[-1]))
        shape = task.image_shape if task.image_shape and prod(task.image_shape) == len(lines) else (len(lines),)
        mask = np.ones(x.shape, bool)
        mask[:, lines] = _blobs(len(x), shape, self.blurs, rng).reshape(len(x), -1)
        return np.where(mask, x, np.roll(x, -1, axis=0))

    def _train_head(self, chip: Chip, batch: Batch, targets: FloatArray, state: State) -> tuple[State, Info]:
        trace = chip.read(batch.x)
        rate = self.head_rate * half_linear((batch.progress - self.unlabelled) / max(1 - self.unlabelled, 1e-9))
        self.learn_output(chip, trace, targets, state, rate)
        self.shrink(chip, state)
        return state, {"loss": float(np.mean(output_of(trace).argmax(axis=-1) != targets.argmax(axis=-1)))}


def _blobs(count: int, shape: tuple[int, ...], blurs: int, rng: np.random.Generator) -> np.ndarray:
    """Return masks (count, *shape), true in blobs that wrap around the borders; channels share a mask."""
    spatial = shape[:2]
    noise = rng.integers(0, 2, (count, *spatial)).astype(np.float32)
    for _ in range(blurs):
        for axis in range(1, noise.ndim):
            noise = 0.5 * noise + 0.25 * (np.roll(noise, 1, axis) + np.roll(noise, -1, axis))
    mask = noise > np.float32(0.5)
    return mask if len(shape) < 3 else np.repeat(mask[..., None], shape[2], axis=-1)
