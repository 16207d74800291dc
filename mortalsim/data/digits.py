"""1,797 real handwritten digits of 8 x 8 pixels, shipped with scikit-learn; nothing to download.

Source: Alpaydin and Kaynak 1998, UCI repository.
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from mortalsim.data.base import Dataset, Source, stratified_split
from mortalsim.streams import Streams

TEST_FRACTION = 0.2
VALID_FRACTION = 0.1  # of what is not test: 144 images
BRIGHTEST = 16.0


class Digits(Source):
    """20 % of each class for test and a tenth of the rest for validation."""

    def load(self, streams: Streams) -> Dataset:
        images, labels = load_digits(return_X_y=True)
        x, y = (images / BRIGHTEST).astype(np.float32), labels.astype(np.int64)
        rest, test = stratified_split(y, TEST_FRACTION, streams.generator("data", "digits", "test"))
        train, valid = stratified_split(y[rest], VALID_FRACTION, streams.generator("data", "digits", "valid"))
        train, valid = rest[train], rest[valid]
        quiet = np.argsort(x[train].var(axis=0), kind="stable")[:10]
        lines = tuple(sorted(int(line) for line in quiet))
        return Dataset("digits", x[train], y[train], x[valid], y[valid], x[test], y[test], 10, lines, (8, 8))
