"""Figure 8: many small guests in one job."""

from sample import alternate, below
from world import MIB, World

_GUESTS = 20
_SIZE, _DATA = 64 * MIB, 4 * MIB
_LIMIT = 2.5  # seconds


def measure(settings):
    """A Full and an Incremental of all of them, one Plugin line each, streamed."""
    with World(settings, "many") as world:
        for number in range(_GUESTS):
            image = world.image(f"small-{number}", _SIZE, _DATA, seed=number)
            world.guest("VMS", image, "qcow2", name=f"VM{number}")
        world.start()
        full, increment = alternate(
            settings.runs, world.seconds("VMS"), world.seconds("VMS", "Incremental")
        )
    name = f"{_GUESTS} guests of {_DATA // MIB} MiB each in one job"
    return [
        below(f"8. {level} of {name}", sample.median, _LIMIT, sample.show(), " s")
        for level, sample in (("Full", full), ("Incremental", increment))
    ]
