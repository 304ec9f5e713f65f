"""Sizes and times for people, rounded as the `ollama` program rounds them."""

import math

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
_DECIMAL = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "KB"))
_BINARY = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def human_bytes(count: int) -> str:
    """`98 MB`, `4.7 GB`: decimal units, one place below ten."""
    for unit, name in _DECIMAL:
        if count >= unit:
            value = count / unit
            is_short = value >= 10 or value == int(value)
            return f"{int(value)} {name}" if is_short else f"{value:.1f} {name}"
    return f"{count} B"


def human_binary(count: int) -> str:
    """`25.0 GiB`: binary units, always one place."""
    for unit, name in _BINARY:
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} B"


def human_duration(nanoseconds: int) -> str:
    """`5 minutes`, `About an hour`; hours are rounded, all else cut off."""
    seconds = nanoseconds // SECOND
    minutes = seconds // 60
    exact = _hours(nanoseconds)
    hours = math.floor(exact + 0.5)
    if seconds < 1:
        return "Less than a second"
    if seconds < 60:
        return "1 second" if seconds == 1 else f"{seconds} seconds"
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    return "About an hour" if hours == 1 else _long_duration(hours, int(exact))


def _hours(nanoseconds: int) -> float:
    """Whole hours and the rest added as floats, as Go does."""
    return nanoseconds // HOUR + (nanoseconds % HOUR) / HOUR


def _long_duration(hours: int, whole: int) -> str:
    if hours < 48:
        return f"{hours} hours"
    days = hours // 24
    if days < 14:
        return f"{days} days"
    if days < 60:
        return f"{days // 7} weeks"
    if days < 730:
        return f"{days // 30} months"
    return f"{whole // 24 // 365} years"


def human_time(age: int | None, unknown: str = "") -> str:
    """How long ago, in nanoseconds; negative for what is still to come; `unknown` for None."""
    if age is None:
        return unknown
    if age >= 0:
        return f"{human_duration(age)} ago"
    if int(_hours(-age)) // 24 // 365 > 20:
        return "Forever"
    return f"{human_duration(-age)} from now"


def processor(size: int, size_vram: int) -> str:
    """Where a loaded model is, from what ps says of it."""
    if size_vram == 0:
        return "100% CPU"
    if size_vram == size:
        return "100% GPU"
    if size_vram > size or size == 0:
        return "Unknown"
    percent = math.floor((size - size_vram) / size * 100 + 0.5)
    return f"{percent}%/{100 - percent}% CPU/GPU"
