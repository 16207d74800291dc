"""What `reproduce` can do again: a wiring, a rule with its settings, and what others have published of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mortalsim.checks import DesignError
from mortalsim.chips import Design
from mortalsim.chips.design import SHORT

_HINTON = "Hinton 2022, section"

#: Fields of a design that say how it is wired, and not what of.
_WIRING: Final = ("sizes", *SHORT, "population", "array", "output", "dynamics")


@dataclass(frozen=True)
class Recipe:
    """One result that can be made again.

    Parameters
    ----------
    summary
        What it is, in a line.
    learner, settings, epochs
        The rule, what of its hyper-parameters differs from the defaults, and its number of epochs.
    hidden
        Neurons of each hidden population of a chain.
    additions
        Fields of a short design beside its sizes.
    populations, arrays, dynamics
        Of a wiring that is no chain, as in a design file; no dynamics: feed-forward.
    paper, paper_source
        Published test error, a fraction, and where it stands; None: there is none.
    public, public_source
        The best that public code is known to reach, and whose it is; None: nobody is known to have tried.
    """

    summary: str
    learner: str
    epochs: int
    hidden: tuple[int, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    additions: Mapping[str, Any] = field(default_factory=dict)
    populations: tuple[Mapping[str, Any], ...] = ()
    arrays: tuple[Mapping[str, Any], ...] = ()
    dynamics: Mapping[str, Any] | None = None
    paper: float | None = None
    paper_source: str = ""
    public: float | None = None
    public_source: str = ""

    def design(self, base: Design, inputs: int, classes: int, hidden: tuple[int, ...]) -> Design:
        """Return the wiring in the technology of ``base``; ``hidden`` stands for the recipe's own, if given."""
        kept = {name: getattr(base, name) for name in base.fields() if name not in _WIRING}
        if not self.populations:
            return type(base)(**kept, **self.additions, sizes=(inputs, *(hidden or self.hidden), classes))
        if hidden:
            raise DesignError(
                f"hidden: expected none for a wiring that is no chain of dense arrays, found {','.join(map(str, hidden))}. "
                "Leave it out."
            )
        own = {} if self.dynamics is None else {"dynamics": self.dynamics}
        return type(base)(**kept, **own, population=self.populations, array=self.arrays, output="out")


# The threshold and batches of ffnew.m, and its temperature at 1000 neurons; rates are its own times the squared lengths of
# the rows, but that the head's is half of that. Samples that would change next to nothing are left out.
_AS_IN_MATLAB: Final = {"batch_size": 100, "threshold": "width", "temperature": 0.03, "head_rate": 100, "skip": 0.01}

_UNLABELLED: Final = _AS_IN_MATLAB | {"head_rate": 200, "center": 0.0, "head_center": 0.0}

_PATCHED: Final = (
    {"name": "pixels", "shape": [28, 28]},
    {"name": "h1", "shape": [4, 4, 128]},
    {"name": "h2", "shape": [3, 3, 220]},
    {"name": "h3", "shape": [2, 2, 512]},
    {"name": "out", "shape": [10]},
)
_LOCAL: Final = (
    {"source": "pixels", "target": "h1", "wiring": {"kind": "patches", "size": 10, "stride": 6}},
    {"source": "h1", "target": "h2", "wiring": {"kind": "patches", "size": 2}},
    {"source": "h2", "target": "h3", "wiring": {"kind": "patches", "size": 2}},
    {"source": "h2", "target": "out"},
    {"source": "h3", "target": "out"},
)

_SETTLING: Final = (
    {"name": "pixels", "shape": [28, 28]},
    {"name": "label", "shape": [10]},
    {"name": "h1", "shape": [500]},
    {"name": "h2", "shape": [500]},
    {"name": "out", "shape": [10]},
)
# Behind a normaliser a label of any strength would be of unit mean square; h2 hears it at twice that, for which its
# converters have room.
_BOTH_WAYS: Final = (
    {"source": "pixels", "target": "h1"},
    {"source": "h2", "target": "h1"},
    {"source": "h1", "target": "h2"},
    {"source": "label", "target": "h2", "normaliser": "none", "converters": {"input_range": 7.0}},
    {"source": "h1", "target": "out"},
    {"source": "h2", "target": "out"},
)

RECIPES: Final[dict[str, Recipe]] = {
    "ff-supervised": Recipe(
        "Forward-Forward with the label in the input, dense populations",
        "ff",
        60,
        hidden=(1000, 1000, 1000),
        # The decay is ff-py's, which has the best public figure; ffnew.m has half of it.
        settings=_AS_IN_MATLAB | {"rate": 7.9, "center": 1.0, "decay": 0.002},
        additions={"into_output": "later"},
        paper=0.0136,
        paper_source=f"{_HINTON} 3.3 (4 x 2000)",
        public=0.0130,
        public_source="ff-py, in JAX, 3 x 1000, 125 epochs",
    ),
    "ff-local": Recipe(
        "unsupervised Forward-Forward with local receptive fields",
        "ff_unsupervised",
        40,
        settings=_UNLABELLED | {"rate": 5.0, "unlabelled": 0.5, "blurs": 10},
        populations=_PATCHED,
        arrays=_LOCAL,
        paper=0.0116,
        paper_source=f"{_HINTON} 3.2",
    ),
    "ff-local-supervised": Recipe(
        "Forward-Forward with local receptive fields and the label at each of them",
        "ff",
        30,
        settings=_AS_IN_MATLAB | {"rate": 5.0, "center": 1.0},
        populations=(_PATCHED[0], {"name": "label", "shape": [10]}, *_PATCHED[1:]),
        arrays=(_LOCAL[0], {"source": "label", "target": "h1"}, *_LOCAL[1:]),
    ),
    "ff-unsupervised": Recipe(
        "Forward-Forward on images and hybrids of two, and a softmax on what was learned",
        "ff_unsupervised",
        50,
        hidden=(1000, 1000, 1000, 1000),
        settings=_UNLABELLED | {"rate": 7.9, "unlabelled": 0.6, "blurs": 4},
        additions={"into_output": "later"},
        paper=0.0137,
        paper_source=f"{_HINTON} 3.2 (4 x 2000)",
        public=0.029,
        public_source="rmwkwok",
    ),
    "ff-recurrent": Recipe(
        "Forward-Forward with top-down connections, a clamped label and damped states",
        "ff",
        30,
        settings={
            **{"learn_ticks": 6, "score_ticks": 6, "score_first": True, "label_strength": 6.3},
            **{"rate": 12, "head_rate": 100, "batch_size": 100, "skip": 1e-3, "center": 1.0},
        },
        populations=_SETTLING,
        arrays=_BOTH_WAYS,
        dynamics={"kind": "recurrent", "ticks": 8, "keep": 0.3, "late": ("label",)},
        paper=0.0131,
        paper_source=f"{_HINTON} 3.4 (2000 wide)",
        public=0.02,
        public_source="and-rewsmith, who say below 2 %",
    ),
    "mono": Recipe(
        "local softmax heads, one read a step",
        "mono",
        30,
        hidden=(1000, 1000, 1000),
        # Measured at 1000 neurons with batches of 100: forward-forward-results.md.
        settings={
            **{"rate": 0.6, "center": 1.0, "head_rate": 26, "output_rate": 26, "batch_size": 100},
            **{"dropout": 0.3, "predict_by": "heads"},
        },
    ),
}
