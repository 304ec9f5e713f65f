"""What a template may use, so that none runs for long or fills the memory."""

from mlx_ollama.prompt.conversation import TemplateError

MAX_STEPS = 1_000_000
CALL_STEPS = 5  # what running another template costs
MAX_OUTPUT = 4 << 20  # characters of the result
MAX_MADE = 8 << 20  # characters of all strings that functions made
MAX_VARIABLES = 1000  # visible at once
MAX_TEMPLATE_DEPTH = 40  # Go stops at 100000, with the same words


class Limits:
    """What one rendering has left; shared by all templates it runs."""

    def __init__(self) -> None:
        self.steps = MAX_STEPS
        self.output = MAX_OUTPUT
        self.made = MAX_MADE

    def step(self, count: int = 1) -> None:
        self.steps -= count
        if self.steps < 0:
            raise TemplateError(f"template takes more than {MAX_STEPS} steps")

    def scan(self, size: int) -> None:
        """Work on something of that many characters or entries that leaves nothing behind."""
        self.steps -= size >> 8

    def write(self, size: int) -> None:
        self.output -= size
        if self.output < 0:
            raise TemplateError(f"template gives more than {MAX_OUTPUT} characters")

    def make(self, size: int) -> None:
        self.made -= size
        if self.made < 0:
            raise TemplateError(f"template makes more than {MAX_MADE} characters of text")
