"""What is said of a picture: one sentence that follows from what can be seen, and from nothing else."""

from t2t_lite.problems.microworld.scene import Scene, Thing

_PLACES = (
    ("in the top left corner", "at the top", "in the top right corner"),
    ("on the left", "in the middle", "on the right"),
    ("in the bottom left corner", "at the bottom", "in the bottom right corner"),
)


def caption(scene: Scene) -> str:
    """Returns the scene's caption, 7 to 16 words. Of two things the large one comes first, else reading order holds."""
    things = scene.things
    if len(things) == 1:
        return f"There is {_named(things[0])} {_PLACES[things[0].row][things[0].column]}."
    if len({(thing.class_name, thing.size) for thing in things}) == 1:
        return _alike(scene)
    if len(things) == 2:
        return _pair(scene)
    first, second, third = (_named(thing, with_size=False) for thing in things)
    way = "left to right" if scene.relation == "beside" else "top to bottom"
    return f"From {way} there is {first}, {second} and {third}."


def _alike(scene: Scene) -> str:
    thing = scene.things[0]
    if len(scene.things) == 3:
        line = "row" if scene.relation == "beside" else "column"
        return f"Three {thing.colour} {_plural(thing.shape)} are in a {line}."
    how = "side by side" if scene.relation == "beside" else "one above the other"
    return f"Two {thing.size} {thing.colour} {_plural(thing.shape)} are {how}."


def _pair(scene: Scene) -> str:
    first, second = scene.things
    turned = (first.size, second.size) == ("small", "large")
    if turned:
        first, second = second, first
    if scene.relation == "beside":
        how = "to the right of" if turned else "to the left of"
    else:
        how = "below" if turned else "above"
    named = _named(first)
    return f"{named[0].upper()}{named[1:]} is {how} {_named(second)}."


def _named(thing: Thing, with_size: bool = True) -> str:
    words = f"{thing.size} {thing.colour} {thing.shape}" if with_size else f"{thing.colour} {thing.shape}"
    return f"an {words}" if words.startswith("orange") else f"a {words}"


def _plural(shape: str) -> str:
    return f"{shape}es" if shape == "cross" else f"{shape}s"
