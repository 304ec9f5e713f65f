"""Numbers for people, rounded as Ollama rounds them."""


def human_number(count: int) -> str:
    """A parameter count: `7.6B`, `596.05M`, `140K`, `999`."""
    if count >= 1_000_000_000:
        return _scaled(count, 1_000_000_000, "B", 1)
    if count >= 1_000_000:
        return _scaled(count, 1_000_000, "M", 2)
    if count >= 1000:
        return f"{count / 1000:.0f}K"
    return str(count)


def _scaled(count: int, unit: int, letter: str, decimals: int) -> str:
    if count % unit == 0:
        return f"{count // unit}{letter}"
    return f"{count / unit:.{decimals}f}{letter}"
