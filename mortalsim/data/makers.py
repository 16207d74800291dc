"""Makers of new images from given ones: hybrids of two, and shifted copies. Images are rows (B, pixels), channels last."""

from __future__ import annotations

import numpy as np
import scipy.ndimage

from mortalsim.checks import FloatArray, ShapeError, check_array, check_whole

BLUR = np.array([0.25, 0.5, 0.25], dtype=np.float32)


def hybrid(
    a: FloatArray, b: FloatArray, image_shape: tuple[int, ...], rng: np.random.Generator, blurs: int = 6
) -> FloatArray:
    """Return images that agree with ``a`` in some regions and with ``b`` in the others: negative data without labels.

    A mask of random bits is blurred again and again with [1/4, 1/2, 1/4] along both directions and cut at one half; the
    hybrid is mask * a + (1 - mask) * b (Hinton 2022, section 3.2). Borders are periodic, so the mask has no bias there.

    Parameters
    ----------
    a, b
        (B, pixels), to be mixed row by row.
    image_shape
        (height, width) or (height, width, channels), whose product is the number of pixels.
    rng
        Where the masks come from, one for each row.
    blurs
        Number of blurrings, at least 0; more of them make larger regions. The paper gives no number; 6 is ours.
    """
    height, width, channels = _shape(image_shape)
    pixels = height * width * channels
    a = check_array("a", a, {"B": None, "pixels": pixels})
    b = check_array("b", b, {"B": len(a), "pixels": pixels})
    blurs = check_whole("blurs", blurs, 0, 10_000)
    mask = rng.integers(0, 2, (len(a), height, width)).astype(np.float32)
    for _ in range(blurs):
        for axis in (1, 2):
            mask = scipy.ndimage.convolve1d(mask, BLUR, axis=axis, mode="wrap")
    mask = np.repeat(mask.reshape(len(a), -1), channels, axis=1)  # all channels of a pixel come from the same image
    return np.where(mask > 0.5, a, b)


def jitter(images: FloatArray, image_shape: tuple[int, ...], reach: int, rng: np.random.Generator) -> FloatArray:
    """Return each image shifted by up to ``reach`` pixels along both directions; what comes in from outside is dark.

    Parameters
    ----------
    images
        (B, pixels).
    image_shape
        (height, width) or (height, width, channels), whose product is the number of pixels.
    reach
        Largest shift in pixels, at least 0; every shift from -reach to reach is equally likely.
    rng
        Where the shifts come from, two for each image.
    """
    height, width, channels = _shape(image_shape)
    images = check_array("images", images, {"B": None, "pixels": height * width * channels})
    reach = check_whole("reach", reach, 0, max(height, width))
    padded = np.pad(images.reshape(-1, height, width, channels), ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    down, right = rng.integers(0, 2 * reach + 1, (2, len(images), 1, 1))
    rows = down + np.arange(height)[:, None]
    columns = right + np.arange(width)
    return np.asarray(padded[np.arange(len(images))[:, None, None], rows, columns].reshape(images.shape))


def _shape(image_shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return height, width and channels."""
    if not isinstance(image_shape, tuple | list) or len(image_shape) not in (2, 3):
        raise ShapeError(
            f"image_shape: expected (height, width) or (height, width, channels), found {image_shape!r:.80}. "
            "Write (28, 28), say."
        )
    height, width, *more = (check_whole("image_shape", size, 1, 100_000) for size in image_shape)
    return height, width, more[0] if more else 1
