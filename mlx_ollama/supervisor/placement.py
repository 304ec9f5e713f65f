"""Pure: whether a model can be loaded now, and if not, who has to go first."""

from collections.abc import Sequence

from msgspec import Struct


class Resident(Struct, frozen=True, kw_only=True):
    """A loaded model. `used` orders by last use, larger is later; `is_leaving` already takes no requests."""

    key: str
    memory: int
    is_idle: bool
    used: float
    is_leaving: bool = False


class Load(Struct, frozen=True):
    """There is room; the runner may use up to `memory` bytes."""

    memory: int


class Evict(Struct, frozen=True):
    """End this runner, then ask again. Busy: let it finish what it has, and take nothing new."""

    key: str


class Wait(Struct, frozen=True):
    """Enough is leaving already; ask again when one has gone."""


class Refuse(Struct, frozen=True):
    """It cannot fit, not even alone."""


Decision = Load | Evict | Wait | Refuse


def place(
    needed: int, least: int, residents: Sequence[Resident], *, budget: int, max_loaded: int
) -> Decision:
    """Room for `needed` bytes beside `residents`.

    `least` (the bare weights) decides alone on refusal: an estimate must not turn a model away that might fit.
    Idle ones go first, least recently used first; among busy ones likewise, so that nobody waits for ever
    behind a model that is never idle.
    """
    if least > budget:
        return Refuse()
    staying = [resident for resident in residents if not resident.is_leaving]
    free = budget - sum(resident.memory for resident in residents)
    if len(residents) < max_loaded and (free >= needed or not residents):
        return Load(max(free, least))
    would_be_free = budget - sum(resident.memory for resident in staying)
    leaving_is_enough = len(staying) < max_loaded and would_be_free >= needed
    if leaving_is_enough or not staying:
        return Wait()
    return Evict(min(staying, key=lambda resident: (not resident.is_idle, resident.used)).key)
