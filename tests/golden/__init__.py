"""The golden data's evaluators, one a format; `__main__` runs them."""


class Deliberate(str):
    """What differs on purpose: the case counts as passed, and -v prints it."""

    __slots__ = ()
