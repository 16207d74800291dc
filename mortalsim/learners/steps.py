"""Steps of local rules: what they ask of the arrays into a population, in sizes that carry over widths, lines and ticks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from mortalsim.checks import FloatArray
from mortalsim.hardware import ArraySpec, Chip, Datasheet, Delta, Outer, Tap, Trace
from mortalsim.learners.base import State
from mortalsim.parallel import chunks, map_chunks, one_blas_thread, workspace

#: Least squared length of rows that a step is divided by, so that silent rows give no step instead of an endless one.
SILENCE: Final = 1e-12

#: Weight of the past in the running mean of what a row carries.
MEMORY: Final = np.float32(0.95)

#: Entries of a running mean that make one chunk for a thread.
CHUNK: Final = 250_000


@dataclass(frozen=True, eq=False)
class Pull:
    """A term of an update whose factors are ``weights[b] * row``: one row (size,) for all samples, weighted (B,)."""

    weights: FloatArray
    row: FloatArray


@dataclass(frozen=True, eq=False)
class Memory:
    """What `ask` remembers of earlier steps, in a learner's state.

    Parameters
    ----------
    state
        The learner's state; entries are brought up to date in place.
    momentum
        Weight of the past in the running mean of the products, which is kept as ``gradient{array}``, of each array's shape,
        and asked for as `Delta`. 0: nothing is kept, and the products are asked for as `Outer`.
    center
        Share, 0 to 1, of the running means of what rows carry, ``rows{array}`` as `row_means` makes them, that is taken away
        from the rows before the products; not before those of pulls.
    """

    state: State
    momentum: float = 0.0
    center: float = 0.0

    def away(self, array: int) -> FloatArray:
        """Return what is taken away from the rows of an array."""
        return np.asarray(np.float32(self.center) * self.state[f"rows{array}"])


def ask(
    chip: Chip,
    trace: Trace,
    population: str,
    factors: Mapping[int, FloatArray],
    rate: float,
    *,
    memory: Memory | None = None,
    heard: Mapping[int, np.ndarray] | None = None,
    pulls: Mapping[int, Pull] | None = None,
) -> float:
    """Ask every array into a population for a step along the sum over samples and ticks of the products row x factor.

    The step is ``rate`` divided by the mean squared length of all rows that drive a neuron, as in the normalised LMS
    algorithm (Nagumo and Noda 1967): had a batch one sample only, a step would change a neuron's input on that sample by
    ``rate`` times its factor, whatever the number of lines and arrays, the scale of what they carry and the number of ticks.

    Where the rows have a large part in common, as pixels and rectified activities do, that part takes most of the step and
    moves all neurons together. A memory with ``center`` k takes k times its running mean away before the product, m = k mean
    (Schraudolph 1998, LeCun et al. 1998), and gives the bias line 1 - m (x - m) to carry instead of 1: the step is that of a
    neuron whose input is w (x - m) + c, written in terms of w x + b with b = c - w m. Its length is that of x - m. With
    k = 1 only c learns what all samples share. It is as slow as one line among many, and b is soon at its device's bound
    where neurons have many active rows; what noisy writes of the other lines do to w m then stays. A k a little below 1
    leaves w a hand in it.

    Parameters
    ----------
    chip, trace
        The chip, and a read of it with taps.
    population
        Whose arrays are to change.
    factors
        By tick of the population's state, (B, size). Ticks at which an array did not feed it drop out.
    rate
        Dimensionless step size.
    memory
        What is remembered of earlier steps; None: nothing.
    heard
        By tick, booleans (B,): samples that count; the factors of all others must be 0. None: all count.
    pulls
        Further terms by tick, about mean activities. Each is worked out as one sample more, of rows that are not centred,
        and its step is the rate divided by the squared length of these.

    Returns
    -------
    step
        Weight per unit of product that was asked for.
    """
    sheet, memory = chip.datasheet, memory or Memory({})
    taps = {array: [tap for tap in trace.of(array) if tap.tick in factors] for array in sheet.into(population)}
    raw = taps
    if memory.center:
        taps = {array: _centered(sheet, array, own, memory) for array, own in taps.items()}
    step = rate / max(drive(sheet, population, taps), SILENCE)
    # A pull has a step of its own, by the rows that it goes by: the same whatever they have in common.
    share = rate / max(drive(sheet, population, raw), SILENCE) / step if pulls and memory.center and step else 1.0
    if memory.center:
        taps = {array: _given_back(sheet, array, own, memory) for array, own in taps.items()}
    for array, own in taps.items():
        pre, post = _joined(own, factors, heard, _pulled(raw[array], pulls or {}, share))
        if pre is None or post is None:
            continue  # it did not feed the population at any of these ticks
        if memory.momentum:
            mean = memory.state[f"gradient{array}"]
            remember(sheet.arrays[array], mean, memory.momentum, pre, np.float32(1 - memory.momentum) * post)
            chip.write(Delta(array, mean, step))
        elif post.shape[-2]:  # every sample may have been left out
            chip.write(Outer(array, pre, post, step))
    return step


def drive(sheet: Datasheet, population: str, taps: Mapping[int, Sequence[Tap]]) -> float:
    """Return the squared length of all rows that drive a neuron: mean over samples, neurons and an array's ticks."""
    total = 0.0
    for array, own in taps.items():
        spec, size = sheet.arrays[array], sheet.populations[population].size
        ticks = Counter(tap.at for tap in own)
        for at, pre in {tap.at: tap.pre for tap in own}.items():
            share = ticks[at] / len(own)
            squares = np.einsum("...bi,...bi->...", pre, pre) / np.float32(max(pre.shape[-2], 1))
            if spec.columns is not None:  # each block drives its own columns only
                squares = np.einsum("...k,k->...", squares, (spec.columns < size).sum(axis=-1) / size)
            total += share * float(squares.mean())
    return total


def lines(sheet: Datasheet, population: str) -> float:
    """Return how many rows drive a neuron of a population, the mean over its neurons."""
    size, total = sheet.populations[population].size, 0
    for array in sheet.into(population):
        spec = sheet.arrays[array]
        columns = size if spec.columns is None else int(np.count_nonzero(spec.columns < size))
        total += spec.n_in * columns
    return total / size


def row_means(sheet: Datasheet, populations: Iterable[str]) -> State:
    """Return the entries of a learner's state that a memory with ``center`` needs, for all arrays into some populations.

    They are ``rows{array}``, float32 (n_in,) or (blocks, n_in): the running mean of what each row carries.
    """
    arrays = [array for name in populations for array in sheet.into(name)]
    return {f"rows{array}": np.zeros(_row_shape(sheet.arrays[array]), np.float32) for array in arrays}


def _row_shape(spec: ArraySpec) -> tuple[int, ...]:
    return (*spec.shape[:-2], spec.n_in)


def running_mean(before: FloatArray, level: FloatArray) -> FloatArray:
    """Return the running mean ``before`` with a new ``level`` taken in; the first level is the mean."""
    return np.asarray(MEMORY * before + (1 - MEMORY) * level if before.any() else level)


def _centered(sheet: Datasheet, array: int, taps: Sequence[Tap], memory: Memory) -> list[Tap]:
    """Bring the running mean of an array's rows up to date and return the taps without its share; ground stays."""
    spec = sheet.arrays[array]
    rows = np.arange(spec.n_in) if spec.rows is None else spec.rows
    carried = rows < sheet.populations[spec.source].size
    pres = {tap.at: tap.pre for tap in taps}
    if not pres:
        return list(taps)
    level = np.mean([pre.mean(axis=-2) for pre in pres.values()], axis=0)
    before = memory.state[f"rows{array}"]
    memory.state[f"rows{array}"] = (running_mean(before, level) * carried).astype(np.float32)
    away = memory.away(array)[..., None, :]
    centered = {at: pre - away for at, pre in pres.items()}
    return [tap._replace(pre=centered[tap.at]) for tap in taps]


def _given_back(sheet: Datasheet, array: int, taps: Sequence[Tap], memory: Memory) -> list[Tap]:
    """Return centred taps whose bias line takes back what the other rows' steps do to what was taken away."""
    spec, away = sheet.arrays[array], memory.away(array)
    rows = np.arange(spec.n_in) if spec.rows is None else spec.rows
    bias = (rows == sheet.populations[spec.source].size)[..., None, :]
    pres = {tap.at: tap.pre for tap in taps}
    given = {at: pre - np.einsum("...bi,...i->...b", pre, away)[..., None] * bias for at, pre in pres.items()}
    return [tap._replace(pre=given[tap.at].astype(np.float32)) for tap in taps]


def _pulled(taps: Sequence[Tap], pulls: Mapping[int, Pull], share: float) -> list[tuple[FloatArray, FloatArray]]:
    """Return rows and factors of further terms, each as one sample; ``share`` is their step in units of the others'.

    Rows stand as they are. What they have in common is what moves a neuron's mean, and that is what these terms are about:
    by centred rows, and the bias line alone, a neuron that takes over would be pulled back hundreds of times as slowly.
    """
    pairs = [(tap.pre, pulls[tap.tick]) for tap in taps if tap.tick in pulls]
    return [((pull.weights @ pre)[..., None, :], np.float32(share) * pull.row[None]) for pre, pull in pairs]


def _joined(
    taps: Sequence[Tap],
    factors: Mapping[int, FloatArray],
    heard: Mapping[int, np.ndarray] | None,
    pulled: Sequence[tuple[FloatArray, FloatArray]],
) -> tuple[FloatArray | None, FloatArray | None]:
    """Return what an array's rows carried and the factors that belong to it, ticks one after the other as samples."""
    if len(taps) == 1 and heard is None and not pulled:  # the usual case, at no cost
        return (taps[0].pre, factors[taps[0].tick]) if taps[0].tick in factors else (None, None)
    pres: dict[int, FloatArray] = {}
    posts: dict[int, FloatArray] = {}
    some: dict[int, np.ndarray] = {}
    for tap in taps:
        if tap.tick in factors:  # a clamped source carries the same at every tick: add up first, multiply once
            pres[tap.at] = tap.pre
            posts[tap.at] = posts[tap.at] + factors[tap.tick] if tap.at in posts else factors[tap.tick]
            if heard is not None:
                some[tap.at] = some[tap.at] | heard[tap.tick] if tap.at in some else heard[tap.tick]
    every = slice(None)
    rows = [(pres[at][..., some.get(at, every), :], posts[at][..., some.get(at, every), :]) for at in pres]
    rows += pulled
    if not rows:
        return None, None
    if len(rows) == 1:
        return rows[0]
    return np.concatenate([pre for pre, _ in rows], axis=-2), np.concatenate([post for _, post in rows], axis=-2)


def remember(spec: ArraySpec, mean: FloatArray, memory: float, pre: FloatArray, post: FloatArray) -> None:
    """Make ``mean``, of the array's shape, ``memory`` times itself plus the product of pre and post, in place."""
    if spec.rows is not None:
        mean *= np.float32(memory)
        mean += spec.product(pre, post)
        return
    n_in, n_out = mean.shape

    def chunk(first: int, last: int) -> None:
        rows = mean[first:last]
        rows *= np.float32(memory)
        rows += np.matmul(pre[:, first:last].T, post, out=workspace("running mean", last - first, n_out))

    with one_blas_thread:
        map_chunks(chunk, chunks(n_in, max(1, CHUNK // n_out)))
