"""Captions of scenes: one English sentence that follows from what the picture shows."""

from t2t_lite.problems.microworld.scene import Scene, Thing

_PLACES = (
    ("in the top left corner", "at the top", "in the top right corner"),
    ("on the left", "in the middle", "on the right"),
    ("in the bottom left corner", "at the bottom", "in the bottom right corner"),
)


def caption(scene: Scene) -> str:
    """Returns the scene's caption, 7 to 16 words. Names the larger of two things first; otherwise in reading order."""
    things = scene.things
    if len(things) == 1:
        return f"There is {_named(things[0])} {_PLACES[things[0].row][things[0].column]}."
    if len({(thing.class_name, thing.size) for thing in things}) == 1:
        return _same_kind(scene)
    if len(things) == 2:
        return _pair(scene)
    first, second, third = (_named(thing, with_size=False) for thing in things)
    direction = "left to right" if scene.relation == "beside" else "top to bottom"
    return f"From {direction} there is {first}, {second} and {third}."


def _same_kind(scene: Scene) -> str:
    thing = scene.things[0]
    if len(scene.things) == 3:
        line = "row" if scene.relation == "beside" else "column"
        return f"Three {thing.colour} {_plural(thing.shape)} are in a {line}."
    arrangement = "side by side" if scene.relation == "beside" else "one above the other"
    return f"Two {thing.size} {thing.colour} {_plural(thing.shape)} are {arrangement}."


def _pair(scene: Scene) -> str:
    first, second = scene.things
    swapped = (first.size, second.size) == ("small", "large")
    if swapped:
        first, second = second, first
    if scene.relation == "beside":
        relation = "to the right of" if swapped else "to the left of"
    else:
        relation = "below" if swapped else "above"
    named = _named(first)
    return f"{named[0].upper()}{named[1:]} is {relation} {_named(second)}."


def _named(thing: Thing, with_size: bool = True) -> str:
    words = f"{thing.size} {thing.colour} {thing.shape}" if with_size else f"{thing.colour} {thing.shape}"
    return f"an {words}" if words.startswith("orange") else f"a {words}"


def _plural(shape: str) -> str:
    return f"{shape}es" if shape == "cross" else f"{shape}s"
