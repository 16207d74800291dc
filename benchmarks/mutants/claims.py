"""Faults that would make a claim of the package false while every sum still works out: a table kept by hand.

Each entry names a function and a piece of its text, which must stand there exactly once; a test sees to it, so that the
table follows the code.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.mutants.faults import Fault


class Claim(NamedTuple):
    """One fault of a kind that a claim rules out.

    Parameters
    ----------
    kind
        What would be false.
    place
        File in the package and function in it, ``learners/ff.py::ForwardForward.step``.
    old, new
        A piece of the function's text, on one line, and what stands there instead.
    """

    kind: str
    place: str
    old: str
    new: str


_FF, _ADAM = "learners/ff.py::ForwardForward.", "learners/insilico.py::InSilico.step"
_PAT, _AP = "learners/physics_aware.py::PhysicsAware.step", "learners/ap.py::ActivityPerturbation."
_UN = "learners/ff_unsupervised.py::UnsupervisedForwardForward."
_PAIRS, _MONO = "learners/_contrast.py::Contrast.", "learners/mono.py::Mono."
_LF = "learners/learned_feedback.py::LearnedFeedback."
_WP, _TAUGHT = "learners/wp.py::WeightPerturbation.", "experiments/transfer.py::_passed_on"
_SOFT, _DISTILL = "distill/transfer.py::soft_targets", "distill/transfer.py::distill"
_P, _NET, _CHIP = "experiments/variance.py::_theory", "chips/netlist.py::", "chips/simulated.py::SimulatedChip."

CLAIMS = (
    Claim("student taught uniform answers", _SOFT, "teacher.scores(x) / np", "0 * teacher.scores(x) / np"),
    Claim("student taught another image's answers", _DISTILL, "_Lesson(images, targets,", "_Lesson(images, targets[::-1],"),
    Claim("teacher not softened", _SOFT, " / np.float32(temperature)", ""),
    Claim("teacher softened the wrong way", _SOFT, " / np.float32(temperature)", " * np.float32(temperature)"),
    Claim("teacher not softened in transfer", _TAUGHT, "else task.temperature", "else 1.0"),
    Claim("student not softened in transfer", _TAUGHT, "softened or learner", "learner"),
    Claim("student of ap not softened", _AP + "softened", "temperature=temperature", ""),
    Claim("student of wp not softened", _WP + "softened", "temperature=temperature", ""),
    Claim("outputs of ap not softened", _AP + "_halves", ", self.temperature)", ")"),
    Claim("gradient's size changes with the temperature", "objectives.py::cross_entropy", "temperature * (", "1 * ("),
    Claim("wrong labels uniform", _FF + "step", "-1000, guess)", "-1000, 0 * guess)"),
    Claim("wrong labels may be right", _FF + "step", "== labels[..., None], -1000", "== labels[..., None], 0"),
    Claim("prediction sums the first population", _FF + "predict", "hidden[min(1, len(hidden) - 1) :]", "hidden"),
    Claim("peer mean forgets", _PAIRS + "_learn_population", "0.9 * state", "0.5 * state"),
    Claim("peer mean of one batch", _PAIRS + "_learn_population", "0.1 * level)", "0.5 * level)"),
    Claim("peer pull has the wrong sign", _PAIRS + "_learn_population", "np.float32(self.peer)", "np.float32(-self.peer)"),
    Claim("running threshold forgets", _PAIRS + "_margins", "0.9 * state", "0.1 * state"),
    Claim("decay not scheduled", _PAIRS + "_learn_population", '{name}"] + step', '{name}"] + 1'),
    Claim("threshold that follows", _PAIRS + "_margins", 'first and self.threshold != "width"', 'self.threshold != "width"'),
    Claim("threshold at nothing", _PAIRS + "_margins", "state[key] = level", "state[key] = 0 * level"),
    Claim("temperature of one", _PAIRS + "_margins", "self.temperature / np.sqrt(size)", "1 / np.sqrt(size)"),
    Claim("margins of one pair member", _PAIRS + "_coefficients", "expit(bad - good)", "expit(-good)"),
    Claim("no collaboration", _PAIRS + "_helped", "np.float32(self.collaboration) *", "0 *"),
    Claim("steps not normalised", "learners/steps.py::ask", "step = rate / max(", "step = rate / 65 + 0 * max("),
    Claim("steps by one array's lines", "learners/steps.py::drive", "total += share", "total = share"),
    Claim("steps by the sum over ticks", "learners/steps.py::drive", "/ len(own)", "/ 1"),
    Claim("centring forgets", "learners/steps.py::running_mean", "MEMORY * before", "0 * before"),
    Claim("centring takes the bias away", "learners/steps.py::_centered", ") * carried", ") * 1"),
    Claim("centring gives nothing back", "learners/steps.py::_given_back", "* bias for", "* 0 * bias for"),
    Claim("heads of mono never learn", _MONO + "_host_step", "rate / max(", "0 * rate / max("),
    Claim("mono's rate goes by no width", _MONO + "judge", "np.float32(len(head)) * (slope", "(slope"),
    Claim("centring takes all away", "learners/steps.py::Memory.away", "np.float32(self.center) * self", "self"),
    Claim("centring gives all back", "learners/steps.py::_given_back", "memory.away(array)", "memory.state[f'rows{array}']"),
    Claim("mono sends no error back", _MONO + "judge", "slope @ head.T", "0 * (slope @ head.T)"),
    Claim("shadow follows another step", _MONO + "_chip_step", "np.float32(step) *", "np.float32(2 * step) *"),
    Claim("single-read rules never gate", "learners/_single_read.py::SingleRead.step", "> self.gate", ">= 0"),
    Claim("output of single-read rules stays", "learners/_single_read.py::SingleRead.step", "-self.output_rate *", "0 *"),
    Claim("groups of one neuron", "learners/groups.py::_owners", "* classes // neurons", "* classes // neurons // 2"),
    Claim("feedback never learned", _LF + "_regressed", "share * np.where", "0 * share * np.where"),
    Claim("feedback without slopes", _LF + "step", "(slope @ feedback) * own", "(slope @ feedback)"),
    Claim("falling curves taken as rising",
          "learners/learned_feedback.py::_relative", "(slopes / size", "(abs(slopes) / size"),
    Claim("hybrids are images", _UN + "hybrids", "np.roll(x, -1", "np.roll(x, 0"),
    Claim("labels from the start", _UN + "step", ">= self.unlabelled", ">= 0"),
    Claim("schedule of ff", _FF + "step", "half_linear(batch.progress)", "1.0"),
    Claim("schedule of ap", _AP + "step", "half_linear(batch.progress)", "1.0"),
    Claim("schedule of wp", _WP + "step", "half_linear(batch.progress)", "1.0"),
    Claim("schedule of insilico", _ADAM, "half_linear(batch.progress)", "1.0"),
    Claim("schedule of physics_aware", _PAT, "half_linear(batch.progress)", "1.0"),
    Claim("schedule of the oracle", "experiments/_oracle.py::Oracle.step", "half_linear(batch.progress)", "1.0"),
    Claim("schedule itself", "learners/schedules.py::half_linear", "2.0 * (1.0 - progress)", "1.0"),
    Claim("schedule never ends", "training/session.py::Session._step", "self.done / self.total", "0.0"),
    Claim("Adam's bias correction", _ADAM, "np.sqrt(1 - 0.999 ** steps[0]) / (1 - 0.9 ** steps[0])", "1.0"),
    Claim("Adam's first bias correction", _ADAM, " / (1 - 0.9 ** steps[0])", ""),
    Claim("Adam's second moment", _ADAM, "(np.sqrt(square) + np.float32(1e-8))", "1"),
    Claim("Adam's second memory", _ADAM, "np.float32(0.999) *", "np.float32(0.9) *"),
    Claim("Adam's weights beyond the range", _ADAM, "np.clip(weights, -spec.target_range, spec.target_range)", "weights"),
    Claim("shadow of physics_aware beyond the range", _PAT,
          "np.clip(shadow, -spec.target_range, spec.target_range)", "shadow"),
    Claim("shadow of physics_aware follows another step", _PAT, "np.float32(sizes", "np.float32(2 * sizes"),
    Claim("loss that wp reports", _WP + "step", "0.5 * (plus + minus)", "0.5 * (plus - minus)"),
    Claim("loss that ap reports", _AP + "step", "total / self.probes", "total"),
    Claim("loss that ff reports", _FF + "step", '"loss": pairs_info["pair_errors"]', '"loss": 0.0'),
    Claim("loss that physics_aware reports", _PAT, "float(loss.mean())", "float(loss.sum())"),
    Claim("loss that readout reports", "learners/readout.py::Readout.step", "float(loss.mean())", "float(loss.sum())"),
    Claim("pair errors", _PAIRS + "learn_pairs", "+= mistakes /", "+= 1 - mistakes /"),
    Claim("populations that count", _FF + "predict", "if self.score_first", "if not self.score_first"),
    Claim("pair errors of wrong pairs", _PAIRS + "_learn_population", "bad > good", "bad < good"),
    Claim("read noise in the theory of wp and ap", _P, "(2 * amplitude**2)", "(4 * amplitude**2)"),
    Claim("read noise in the theory of wp", _P, "float(noise.sum()) / (len(noise)", "float(noise.sum()) / (2 * len(noise)"),
    Claim("read noise in the theory of ap", _P, "noiseless + float((probed", "noiseless + 0.5 * float((probed"),
    Claim("nominal noise of the quietest neuron", _NET + "_with_noise",
          "variance[: spec.size].max()", "variance[: spec.size].min()"),
    Claim("nominal noise of the last array", _NET + "_with_noise", "variance[own] += ", "variance[own] = "),
    Claim("nominal noise of one device", "chips/technology.py::Technology.nominal_variance", "return 2 *", "return 1 *"),
    Claim("time of one wave", _NET + "build_netlist", "(1 + max(answer.wave for answer in timetable))", "1"),
    Claim("output conversions of the last population", _NET + "_joules",
          "joules += parts.spec.size", "joules = parts.spec.size"),
    Claim("input conversions", _NET + "_joules", "joules + conversions *", "joules + 0 * conversions *"),
    Claim("energy of one device of a pair", "chips/technology.py::Technology.pair_joules", "return 2 *", "return 1 *"),
    Claim("arrays of a Replay one after the other", _CHIP + "_replay", "max(slowest, cost", "slowest + max(0.0, cost"),
    Claim("rows of a Replay one after the other", _CHIP + "_replay", "cost.parallel *", "cost.by_row *"),
    Claim("a Replay takes no time", _CHIP + "_replay", "self._spend(slowest, 0.0)", "self._spend(0.0, 0.0)"),
    Claim("energy of a Replay", _CHIP + "_replay", "total(cost.pulses, spec.joules_per_pulse)", "0.0"),
    Claim("crossed bounds", "chips/fabrication.py::fabricate_devices",
          "devices.values(LOW) + (device.g_max - device.g_min) / 10", "0"),
    Claim("gains not lognormal", "circuits/neurons.py::fabricate_neurons", "gain = np.exp(spec", "gain = 1 + (spec"),
    Claim("slopes of wild not of unit mean", "circuits/curves/wild.py::Wild.fabricate", " - self.roughness**2 / 2", ""),
    Claim("writes share random numbers with verifying", "chips/crossbar.py::Crossbar._send",
          "ROUND, draw.turn", "VERIFY, draw.turn"),
    Claim("writes share random numbers with reads", "chips/crossbar.py::Crossbar._send",
          "ROUND, draw.turn", "0, draw.turn"),
    Claim("reads share random numbers", _CHIP + "read", "self._turn += 1", "self._turn += 0"),
    Claim("writes share random numbers", _CHIP + "write", "self._turn += 1", "self._turn += 0"),
    Claim("a gain is a loss", "experiments/width.py::_gains", "[a - b for", "[b - a for"),
    Claim("gains across widths", "experiments/width.py::_gains",
          "(rule.design, rule.width) == (other.design, other.width)", "rule.design == other.design"),
    Claim("a rule pays that gains nothing for sure", "experiments/width.py::_sentences",
          'row["low"] > 0', 'row["gain"] > 0'),
    Claim("all samples whatever is asked", "experiments/width.py::Width.work", "task.images)", "0)"),
    Claim("pulls go by centred rows", "learners/steps.py::ask", "_pulled(raw[array]", "_pulled(own"),
    Claim("damped states teach neurons that are off", "learners/_contrast.py::Contrast._measured",
          "(post - share * states[kept[tick].old]) / (1 - share)", "post"),
    Claim("continuous devices leave their bounds", "kernels/continuous.py::move_all",
          "min(max(g_now[e] + wanted[e], low[e]), high[e])", "g_now[e] + wanted[e]"),
    Claim("stuck continuous devices move", "kernels/continuous.py::compiled_move_devices",
          "skip_stuck(2 * n, fetched, wanted)", "pass"),
    Claim("dropped neurons learn", "learners/_single_read.py::SingleRead.step", "learning & (seen != 0)", "learning"),
    Claim("dropout shrinks activities", "learners/_single_read.py::SingleRead._seen",
          " / np.float32(1 - self.dropout)", ""),
    Claim("readout forgets its last samples", "learners/readout.py::Readout.step", "batch.final or ", ""),
    Claim("the best wrong label may be right", "experiments/_inside.py::_means", "= -np.inf", "+= 0"),
    Claim("fields stand one pixel off", "experiments/_inside.py::first_fields", "canvases[columns[block][feeding], pixel]",
          "canvases[columns[block][feeding], pixel - 1]"),
    Claim("a quick run takes all images", "experiments/reproduce.py::Reproduce.work", "if task.quick", "if False"),
    Claim("a recipe is not shifted", "experiments/reproduce.py::Reproduce.work", "shift=task.shift", "shift=0"),
    Claim("populations judge by the wrong tick", "experiments/_inside.py::look_inside", "own[-1].T", "own[0].T"),
    Claim("read noise of another chip", _CHIP + "__init__", 'own_noise.key("noise")', 'Streams(0).key("noise")'),
)  # fmt: skip


def claimed(claim: Claim, root: Path) -> Fault:
    """Return the fault of an entry.

    Raises
    ------
    LookupError
        The function does not exist, or its text does not hold the piece exactly once.
    """
    name, _, function = claim.place.partition("::")
    file = f"mortalsim/{name}"
    source = (root / file).read_bytes()
    node: Any = ast.parse(source)
    for part in function.split("."):
        named = [inner for inner in ast.iter_child_nodes(node) if isinstance(inner, ast.FunctionDef | ast.ClassDef)]
        node = next((inner for inner in named if inner.name == part), None)
        if node is None:
            raise LookupError(f"claim {claim.kind!r}: there is no {function} in {file}; change its entry.")
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    begin, end = starts[node.lineno - 1], starts[node.end_lineno]
    text, old = source[begin:end], claim.old.encode()
    if text.count(old) != 1:
        raise LookupError(f"claim {claim.kind!r}: {claim.place} holds {claim.old!r} {text.count(old)} times, not once.")
    start = begin + text.index(old)
    line = source[:start].count(b"\n") + 1
    return Fault(file, line, "claim", start, start + len(old), claim.old, claim.new)
