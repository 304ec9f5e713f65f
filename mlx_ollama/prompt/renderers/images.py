"""Where images stand in a message's text."""

from mlx_ollama.api.messages import Message
from mlx_ollama.prompt.renderers.history import SPACE


class ImageMarks:
    """Marks for the images of one conversation; `count` is the number of the next image.

    With `tags` each image is `[img-N]`, in place of the first `[img]` or in front; else `mark` in front.
    """

    def __init__(self, tags: bool, mark: str = "") -> None:
        self._tags = tags
        self._mark = mark
        self.count = 0

    def text(self, message: Message, content: str | None = None) -> str:
        """The message's content (or `content` instead) with its images marked."""
        text = message.content if content is None else content
        images = len(message.images)
        if not images:
            return text
        first, self.count = self.count, self.count + images
        if not self._tags:
            return self._mark * images + text
        return text if "[img-" in text else _tagged(text, range(first, self.count))


def _tagged(text: str, numbers: range) -> str:
    front = ""
    for number in numbers:
        if "[img]" in text:
            text = text.replace("[img]", f"[img-{number}]", 1)
        else:
            front += f"[img-{number}]"
    needs_blank = front and text and text[0] not in SPACE and text[0] != "\ufffd"
    return f"{front} {text}" if needs_blank else front + text
