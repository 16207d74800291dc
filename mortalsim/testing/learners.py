"""What every learning rule must keep to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import is_dataclass

import numpy as np

from mortalsim.boards import in_process
from mortalsim.checks import MissingPort
from mortalsim.hardware import Chip, Datasheet, Task
from mortalsim.learners.base import Batch, Learner, State
from mortalsim.objectives import one_hot
from mortalsim.streams import Streams
from mortalsim.testing.proxies import SeamOnly, WithoutPort, expect


def check_learner(
    learner: Learner,
    make: Callable[[], Chip],
    steps: int = 3,
    seed: int = 0,
    *,
    task: Task | None = None,
    elsewhere: bool = False,
) -> None:
    """Check one learning rule.

    Parameters
    ----------
    learner
        The rule with its hyper-parameters.
    make
        Returns the same fresh chip at every call; it must have every port that the rule declares.
    steps
        Training steps to take.
    seed
        Of the made-up data and of the rule's own draws.
    task
        The job; one of 0 classes brings unlabelled batches. None: as many classes as the output has neurons, 4 without one,
        and the label on the last inputs.
    elsewhere
        True: train also a chip that lives in another process, of which only the three members cross over, and expect the
        same result to the last bit. Then ``make`` must be what `mortalsim.boards.in_process` takes.

    Raises
    ------
    NotConforming
        The rule reaches behind the seam, needs a port that it does not declare, does not refuse a chip without a declared
        one, keeps anything but arrays, reports no finite loss, or is not reproducible.
    """
    name = type(learner).__name__
    frozen = is_dataclass(learner) and type(learner).__dataclass_params__.frozen  # type: ignore[attr-defined]
    expect(frozen, f"{name}: hyper-parameters are a frozen dataclass")
    task = task or _task_for(make().datasheet)
    for port in learner.ports:
        try:
            learner.init(WithoutPort(make(), port).datasheet, task, np.random.Generator(np.random.Philox(seed)))
        except MissingPort:
            continue
        expect(False, f"{name}: declares the port {port.value} and accepts a chip without it")
    first, second = (_train(learner, make(), task, steps, seed) for _ in range(2))
    expect(np.array_equal(first, second), f"{name}: the same chip, data and seed gave different predictions")
    if elsewhere:
        with in_process(make) as chip:
            third = _train(learner, chip, task, steps, seed)
        expect(np.array_equal(first, third), f"{name}: the same chip in another process learned something else")


def _task_for(sheet: Datasheet) -> Task:
    classes = 4 if sheet.output is None else sheet.populations[sheet.output].size
    return Task(classes, tuple(range(sheet.n_inputs - classes, sheet.n_inputs)) if classes <= sheet.n_inputs else None)


def _train(learner: Learner, whole: Chip, task: Task, steps: int, seed: int) -> np.ndarray:
    chip, name, streams = SeamOnly(_only_declared(learner, whole)), type(learner).__name__, Streams(seed)
    sheet = chip.datasheet
    rng = streams.generator("data")
    state = learner.init(sheet, task, streams.generator("init"))
    given = {key: array.copy() for key, array in state.items() if isinstance(array, np.ndarray)}
    started = learner.started(sheet, given, [np.zeros(spec.shape, np.float32) for spec in sheet.arrays])
    _check_state(f"{name}.started", {} if started is None else started)
    draws = streams.generator("learner")
    batch_size = 4
    x = rng.random((steps, batch_size, sheet.n_inputs), dtype=np.float32)
    labels = rng.integers(max(task.classes, 1), size=(steps, batch_size))
    for i in range(steps):
        _check_state(name, state)
        targets = one_hot(labels[i], task.classes) if task.classes else None
        batch = Batch(x[i], targets, i / steps, final=i + 1 == steps)
        state, info = learner.step(chip, task, batch, state, draws)
        expect(bool(np.isfinite(info.get("loss", np.nan))), f"{name}.step: info needs a finite 'loss'")
    scores = learner.predict(chip, task, x[0], state)
    wanted = (batch_size, task.classes or scores.shape[-1])
    expect(scores.shape == wanted, f"{name}.predict: expected scores (B, classes) = {wanted}, found {scores.shape}")
    expect(bool(np.isfinite(scores).all()), f"{name}.predict: scores are not finite")
    return np.asarray(scores)


def _only_declared(learner: Learner, chip: Chip) -> Chip:
    # Ports that the rule does not declare are taken away, so that using one shows.
    for port in chip.datasheet.ports - set(learner.ports):
        chip = WithoutPort(chip, port)
    return chip


def _check_state(name: str, state: State) -> None:
    plain = all(isinstance(array, np.ndarray) and array.dtype != object for array in state.values())
    expect(plain, f"{name}: state holds something else than plain arrays")
