"""How two devices make one weight, one way a file; a file put here is found by its name."""

from typing import Annotated, TypeAlias

from mortalsim.devices.pairs.base import Maintained, Pair, Upkeep
from mortalsim.registry import Registry
from mortalsim.settings import choice

__all__ = ["PAIRS", "AnyPair", "Maintained", "Pair", "Upkeep"]

PAIRS = Registry("mortalsim.devices.pairs", Pair)

#: A field that holds any pair: in a design file ``"two_sided"`` or ``{kind = "one_sided", upper = 0.8}``.
AnyPair: TypeAlias = Annotated[Pair, *choice(PAIRS, "kind")]
