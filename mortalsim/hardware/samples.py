"""What a chip can be asked to read: a plain array, or images that share what was not written over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from mortalsim.checks import FloatArray, ShapeError, check_whole


@dataclass(frozen=True, eq=False)
class Overlaid:
    """Samples that are the same images with different things written over some of their lines.

    Stands for the plain array (V * B, n_inputs) of all images with the first values, then all with the second, and so on;
    numpy turns it into that where a chip asks for an array. A chip that knows of it can work out once what the images share.

    Parameters
    ----------
    images
        (B, n_inputs).
    lines
        (k,): different lines, integers; may be empty.
    values
        (V, B, k).

    Raises
    ------
    ShapeError
        The shapes do not fit together, or there is no such line.
    """

    images: FloatArray
    lines: np.ndarray
    values: FloatArray

    def __post_init__(self) -> None:
        shapes = {"images": "(B, n_inputs)", "lines": "(k,)", "values": "(V, B, k)"}
        for (name, wanted), dimensions in zip(shapes.items(), (2, 1, 3), strict=True):
            if np.ndim(getattr(self, name)) != dimensions:
                raise ShapeError(f"{name}: expected shape {wanted}, found {np.shape(getattr(self, name))}.")
        (samples, width), lines, found = np.shape(self.images), np.asarray(self.lines), np.shape(self.values)
        places = lines.tolist()
        if found[1:] != (samples, lines.size) or not found[0]:
            raise ShapeError(f"values: expected shape (V, B, k) = (any, {samples}, {lines.size}), found {found}.")
        whole = not lines.size or np.issubdtype(lines.dtype, np.integer)
        if not whole or len(set(places)) < lines.size or min(places, default=0) < 0 or max(places, default=0) >= width:
            raise ShapeError(f"lines: expected different whole numbers, 0 to {width - 1}, found {self.lines}.")
        object.__setattr__(self, "lines", lines.astype(np.int64))

    @classmethod
    def repeated(cls, images: FloatArray, times: int) -> Overlaid:
        """Return ``images`` (B, n_inputs) repeated ``times`` times, with nothing written on them."""
        times = check_whole("times", times, 1)
        return cls(images, np.zeros(0, np.int64), np.zeros((times, len(images), 0), np.float32))

    def __len__(self) -> int:
        return len(self.values) * len(self.images)

    def __array__(self, dtype: np.typing.DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        x = np.tile(np.asarray(self.images, dtype or np.float32), (len(self.values), 1))
        x[:, self.lines] = np.reshape(self.values, (len(x), len(self.lines)))
        return x


#: What a chip can be asked to read.
Samples: TypeAlias = FloatArray | Overlaid
