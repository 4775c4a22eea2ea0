"""How often this process looks for garbage that reference counting does not find."""

import gc

_THRESHOLDS = 20_000, 20, 100


def collect_seldom() -> None:
    """Look seldom, and never again at what is alive now: modules, settings, schemas.

    A call of a model leaves hundreds of objects behind, nearly all of which are freed without
    the collector. By default it ran many times a second, for a tenth of the processor.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
