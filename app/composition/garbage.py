"""Python's cycle collector, as a process of many long-lived objects wants it."""

import gc

YOUNG_OBJECTS = 50_000
"""So many containers are made before the young ones are looked through; 700 is Python's own number."""


def collect_rarely() -> None:
    """Call it once everything has been built: what there is now stays, and is not looked through any more.

    Looking through it again and again took a third of a delivery, and a tenth of an append.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 100)
