"""Rendered scenes with one coloured shape each, its exact mask and its class, by numpy and Pillow."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

CLASSES = ("circle", "square", "triangle", "star", "cross", "ring")
SIZE = 64
HELD_OUT = 1_000_000
"""Seeds from here on are never trained on."""
MEAN, STD = 0.5, 0.25
PREP = {
    "size": [SIZE, SIZE],
    "color": "RGB",
    "scale": 1 / 255,
    "layout": "NCHW",
    "mean": [MEAN] * 3,
    "std": [STD] * 3,
    "resize": "stretch",
    "labels": list(CLASSES),
}
"""How a scene becomes the input of the networks that are trained on scenes."""

_SUPER = 4  # Pillow's polygons are not antialiased: everything is drawn four times as large and averaged down
_AREA = (0.04, 0.1)  # of the sharp outline; the soft edge adds about 3 %
_SOFTNESS = 1.2  # standard deviation of the edge, pixels
_VISIBLE = 0.08
_RING_HOLE = 0.55
_MARGIN = 3.0
_MIN_CONTRAST = 70.0
_APART = 5  # width of the filter that keeps two shapes apart: two pixels

Points = NDArray[np.float64]
Rng = np.random.Generator


def render(seed: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_], int]:
    """Render scene number `seed`: the image [64, 64, 3], the mask of its shape [64, 64] and the index of its class.

    Colour, place, rotation and area are drawn independently of the class, so that nothing but the outline tells the
    class. The edge is soft and the mask holds every pixel that the shape tints (6 to 16 % of the image): what tells
    an edge, its gradient, then lies in the mask and not half beside it. Equal seeds give equal scenes.
    """
    rng = np.random.default_rng(seed)
    label = int(rng.integers(len(CLASSES)))
    background = _clutter(rng, _gradient(rng))
    coverage = _coverage(rng, CLASSES[label])
    mask = coverage >= _VISIBLE
    colour = _colour(rng, background[mask].mean(axis=0))
    image = background + coverage[..., None] * (colour - background)
    image += rng.normal(0.0, rng.uniform(1.0, 8.0), image.shape)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8), mask, label


def draw(first: int, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Render `count` scenes from seed `first` on: images [N, 3, H, W] and classes [N]."""
    drawn = [render(seed) for seed in range(first, first + count)]
    return np.stack([image.transpose(2, 0, 1) for image, _, _ in drawn]), np.array([label for _, _, label in drawn])


def normalise(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Convert bytes to the input of the networks, as `PREP` states it."""
    return ((images.astype(np.float32) / 255 - MEAN) / STD).astype(np.float32)


def _outline(name: str) -> tuple[Points, float]:
    """Return the vertices of a class with circumradius 1, and the area that they enclose (less a ring's hole)."""
    if name == "star":
        inner = 0.42
        radii = np.tile([1.0, inner], 5)
        return _polar(radii), 5 * inner * math.sin(math.pi / 5)
    if name == "cross":
        arm = 1 / math.sqrt(10)  # half the arm's width, a third of its reach
        quarter = np.array([(3 * arm, -arm), (3 * arm, arm), (arm, arm)])
        turn = np.array([(0.0, 1.0), (-1.0, 0.0)])
        return np.concatenate([quarter @ np.linalg.matrix_power(turn, k) for k in range(4)]), 20 * arm**2
    if name in ("circle", "ring"):
        hole = _RING_HOLE if name == "ring" else 0.0
        return _polar(np.ones(96)), math.pi * (1 - hole**2)
    corners = {"triangle": 3, "square": 4}[name]
    return _polar(np.ones(corners)), corners / 2 * math.sin(2 * math.pi / corners)


def _polar(radii: Points) -> Points:
    """Return vertices at equal angles with the given radii."""
    angle = np.arange(len(radii)) * 2 * math.pi / len(radii)
    return np.stack([radii * np.cos(angle), radii * np.sin(angle)], axis=1)


def _coverage(rng: Rng, name: str) -> Points:
    """Draw a shape at a random position, rotation and area: the share of every pixel that it covers, in 0..1."""
    points, unit_area = _outline(name)
    radius = math.sqrt(rng.uniform(*_AREA) * SIZE**2 / unit_area)
    centre = rng.uniform(radius + _MARGIN, SIZE - radius - _MARGIN, 2)
    turn = rng.uniform(0, 2 * math.pi)
    rotation = np.array([(math.cos(turn), math.sin(turn)), (-math.sin(turn), math.cos(turn))])
    canvas = Image.new("L", (SIZE * _SUPER, SIZE * _SUPER))
    draw = ImageDraw.Draw(canvas)
    _polygon(draw, centre + radius * points @ rotation, 255)
    if name == "ring":
        _polygon(draw, centre + _RING_HOLE * radius * points, 0)
    soft = canvas.reduce(_SUPER).filter(ImageFilter.GaussianBlur(_SOFTNESS))
    return np.asarray(soft, dtype=np.float64) / 255


def _polygon(draw: ImageDraw.ImageDraw, points: Points, fill: int | tuple[int, ...]) -> None:
    draw.polygon([(float(x) * _SUPER, float(y) * _SUPER) for x, y in points], fill=fill)


def _colour(rng: Rng, behind: Points) -> Points:
    """Draw a colour that differs from the mean colour behind the shape."""
    while True:
        colour = rng.uniform(0, 255, 3)
        if np.linalg.norm(colour - behind) >= _MIN_CONTRAST:
            return colour


def _gradient(rng: Rng) -> Points:
    """Draw a linear gradient between two random colours in a random direction, with soft noise."""
    first, second = rng.uniform(0, 255, (2, 3))
    second = first + rng.uniform(0.1, 0.7) * (second - first)
    angle = rng.uniform(0, 2 * math.pi)
    y, x = np.mgrid[0:SIZE, 0:SIZE] / (SIZE - 1) - 0.5
    along = np.clip(0.5 + (x * math.cos(angle) + y * math.sin(angle)) / math.sqrt(2), 0, 1)[..., None]
    cells = int(rng.integers(4, 13))
    cloud = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
    smooth = np.asarray(cloud.resize((SIZE, SIZE), Image.Resampling.BICUBIC), dtype=np.float64)
    noise = (smooth - 127.5) * rng.uniform(0.0, 0.35)
    return np.asarray(np.clip(first + along * (second - first) + noise, 0, 255), dtype=np.float64)


def _clutter(rng: Rng, background: Points) -> Points:
    """Draw thin lines and small irregular blobs on the background."""
    size = SIZE * _SUPER
    canvas = Image.fromarray(background.astype(np.uint8)).resize((size, size), Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(canvas)
    for _ in range(int(rng.integers(2, 7))):
        ends = rng.uniform(0, size, 4).tolist()
        draw.line(ends, fill=_ink(rng), width=int(rng.integers(_SUPER // 2, _SUPER * 3 // 2 + 1)))
    for _ in range(int(rng.integers(3, 9))):
        # Uneven radii keep a blob from being a small member of one of the classes.
        points = rng.uniform(1.5, 4.0) * _polar(rng.uniform(0.35, 1.0, int(rng.integers(6, 10))))
        _polygon(draw, points * (1.0, rng.uniform(0.4, 1.0)) + rng.uniform(0, SIZE, 2), _ink(rng))
    return np.asarray(canvas.reduce(_SUPER), dtype=np.float64)


def _ink(rng: Rng) -> tuple[int, ...]:
    return tuple(rng.integers(0, 256, 3).tolist())


def render_pair(seed: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.int64]]:
    """Render a scene with two shapes of different classes, which do not touch.

    Drawn as `render` draws one shape. Equal seeds give equal scenes.

    Args:
        seed: The number of the scene.

    Returns:
        The image [64, 64, 3], the masks of the shapes [2, 64, 64], and the indices of their classes [2].
    """
    rng = np.random.default_rng((2, seed))
    labels = rng.choice(len(CLASSES), 2, replace=False)
    background = _clutter(rng, _gradient(rng))
    touching = True
    while touching:
        first, second = (_coverage(rng, CLASSES[k]) for k in labels)
        near = np.asarray(Image.fromarray(np.uint8(first > 0)).filter(ImageFilter.MaxFilter(_APART)))
        touching = bool((near * second).any())
    image, masks = background, []
    for coverage in (first, second):
        mask = coverage >= _VISIBLE
        image = image + coverage[..., None] * (_colour(rng, background[mask].mean(axis=0)) - image)
        masks.append(mask)
    image = image + rng.normal(0.0, rng.uniform(1.0, 8.0), image.shape)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8), np.stack(masks), labels.astype(np.int64)
