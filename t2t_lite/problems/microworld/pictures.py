"""Renders scenes as pictures of filled shapes, with random rotation, colour, lighting, texture and noise."""

import numpy as np
from PIL import Image, ImageDraw

from t2t_lite.problems.microworld.scene import Scene, Thing

SIDE = 32  # pixels
_FINE = 4  # supersampling factor, which smooths the edges of shapes

COLOUR_RGB: dict[str, tuple[int, int, int]] = {
    "red": (215, 25, 35),
    "green": (25, 145, 45),
    "blue": (35, 65, 220),
    "yellow": (248, 228, 35),
    "purple": (135, 35, 175),
    "orange": (252, 132, 15),
    "white": (250, 250, 250),
    "black": (12, 12, 12),
}
BACKGROUND_RGB: dict[str, tuple[int, int, int]] = {
    "grey": (136, 138, 140),
    "pink": (236, 158, 186),
    "brown": (134, 100, 74),
    "turquoise": (105, 200, 205),
}
_RADIUS = {"small": 4.9, "large": 7.5}  # of the circle around the shape, in pixels
_CENTRES = np.array([5.3, 16.0, 26.7])  # of the three rows and of the three columns, in pixels
_ROWS, _COLUMNS = np.mgrid[0:SIDE, 0:SIDE] / (SIDE - 1.0) - 0.5  # from -0.5 to 0.5, for backgrounds


def draw(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Renders a scene with random rotations, tints, lighting, background texture and noise.

    Returns:
      uint8 (32, 32, 3).
    """
    picture = _background(scene.background, rng)
    for thing in scene.things:
        cover = _cover(thing, rng)[..., None]
        colour = np.array(COLOUR_RGB[thing.colour]) + rng.normal(0, 7, 3)
        picture += cover * (colour - picture)
    if rng.random() < 0.3:
        picture = _blur(picture, rng.uniform(0.02, 0.1))
    picture = 127.5 + (picture - 127.5) * rng.uniform(0.9, 1.05) + rng.uniform(-8, 8)
    picture += rng.standard_normal(picture.shape, dtype=np.float32) * rng.uniform(0, 7)
    return np.clip(picture + 0.5, 0, 255).astype(np.uint8)


def _arc(radius: float, start: float, stop: float, points: int) -> np.ndarray:
    angles = np.radians(np.linspace(start, stop, points))
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)  # (points, 2): x right, y down


def _outlines() -> dict[str, list[np.ndarray]]:
    """Returns each shape's outline within the unit circle, and the outline of its hole if it has one."""
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    star = _arc(1.0, -90, 270, 11)[:-1]
    star[1::2] *= 0.42
    arm = 0.3  # half as wide as an arm of the cross
    end = np.sqrt(1 - arm**2)
    half = [(-arm, -end), (arm, -end), (arm, -arm), (end, -arm), (end, arm), (arm, arm)]
    heart_y = -12 * np.cos(turn) + 6.5 * np.cos(2 * turn) + 2 * np.cos(3 * turn) + np.cos(4 * turn) - 1.5
    heart = np.stack([16 * np.sin(turn) ** 3, heart_y], axis=1)
    # The crescent runs along a circle, then back along a smaller one through both of its tips.
    tip_x, tip_y, bite_x = np.cos(np.radians(40)), np.sin(np.radians(40)), 0.42
    bite_radius, bite_angle = np.hypot(tip_x - bite_x, tip_y), np.degrees(np.arctan2(tip_y, tip_x - bite_x))
    bite = _arc(bite_radius, 360 - bite_angle, bite_angle, 24) + np.array([bite_x, 0])
    crescent = np.concatenate([_arc(1.0, 40, 320, 32), bite])
    return {
        "circle": [_arc(0.93, 0, 360, 40)],
        "square": [_arc(1.0, 45, 315, 4)],
        "triangle": [_arc(1.0, -90, 150, 3)],
        "star": [star],
        "cross": [np.array(half + [(-x, -y) for x, y in half])],
        "ring": [_arc(0.98, 0, 360, 40), _arc(0.5, 0, 360, 30)],
        "heart": [heart / np.linalg.norm(heart, axis=1).max()],
        "moon": [crescent],
    }


_OUTLINES = _outlines()


def _cover(thing: Thing, rng: np.random.Generator) -> np.ndarray:
    """Returns the coverage of each pixel by a shape: float32 (32, 32) in [0, 1]."""
    radius = _RADIUS[thing.size] * rng.uniform(0.96, 1.03)
    # A large shape at the border moves inwards, so that it is not cut off.
    centre = np.clip(_CENTRES[[thing.column, thing.row]], radius + 0.3, SIDE - radius - 0.3) + rng.uniform(
        -0.25, 0.25, 2
    )
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    canvas = Image.new("L", (SIDE * _FINE, SIDE * _FINE))
    pen = ImageDraw.Draw(canvas)
    for outline, ink in zip(_OUTLINES[thing.shape], (255, 0), strict=False):
        pen.polygon(((outline @ turn * radius + centre) * _FINE).ravel().tolist(), fill=ink)
    return np.asarray(canvas.reduce(_FINE), np.float32) / 255


def _background(name: str, rng: np.random.Generator) -> np.ndarray:
    """Renders a background, float64 (32, 32, 3): a tint, flat, shaded, striped or mottled at low contrast."""
    tint = np.array(BACKGROUND_RGB[name]) + rng.normal(0, 5, 3)
    angle, kind = rng.uniform(0, 2 * np.pi), rng.integers(4)
    across = np.cos(angle) * _COLUMNS + np.sin(angle) * _ROWS
    shade: np.ndarray
    if kind == 0:
        shade = np.zeros((SIDE, SIDE))
    elif kind == 1:
        shade = across * rng.uniform(15, 35)
    elif kind == 2:
        shade = np.sin(across * rng.uniform(15, 50) + rng.uniform(0, 6)) * rng.uniform(4, 9)
    else:
        shade = np.kron(rng.normal(0, 5, (SIDE // 4, SIDE // 4)), np.ones((4, 4)))
    return tint + shade[..., None]


def _blur(picture: np.ndarray, weight: float) -> np.ndarray:
    """Mixes the four neighbours, each with a weight, into each pixel."""
    padded = np.pad(picture, ((1, 1), (1, 1), (0, 0)), mode="edge")
    around = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    return picture * (1 - 4 * weight) + weight * around
