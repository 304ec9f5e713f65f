"""One answer on its way out: token events in, messages for the server out.

Token ids → bytes → whole characters → stop strings → parsed thinking, content and tool calls.

Invariants: after `is_finished` nothing more comes out; every answer ends in exactly one `Done` or `Fault`;
text is released in order and none is lost, whatever ends the answer; a token's log-probability leaves with the
release of its text, so that those of a stop string never do.

Where a format is to be kept after thinking, the first content shows that thinking is over; it came unconstrained,
so it is taken back and `restart` asks for the sequence to go on from there under the grammar.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from mlx_ollama.engine.sequence import Event, FaultEvent, FinishEvent, PrefillEvent, TokenEvent
from mlx_ollama.ipc.messages import Delta, Done, DoneReason, Fault, FaultKind, FromRunner, Progress
from mlx_ollama.parsers.parser import OutputParser, ParseError
from mlx_ollama.runner.detokenizer import Detokenizer
from mlx_ollama.runner.logprobs import PendingLogprobs
from mlx_ollama.runner.metrics import Clock, Step
from mlx_ollama.runner.repetition import Circle, IdenticalChunks
from mlx_ollama.runner.stop import StopMatcher
from mlx_ollama.runner.tokenizer import Tokenizer

_KINDS: dict[str, FaultKind] = {
    "invalid": "invalid",
    "busy": "busy",
    "not_implemented": "not_implemented",
}


@dataclass(kw_only=True)
class Wanted:
    """What a request wants of its answer. `shown` says which control tokens are text to its parser or stop
    strings; `has_format`: the answer keeps one (once thinking has ended), so that it is complete only where the
    format ends; `may_circle`: neither chance nor a limit will end an answer that goes round in a circle."""

    id: int
    prompt_ids: list[int]
    stops: list[str] = field(default_factory=list)
    logprobs: bool = False
    top_logprobs: int = 0
    context: bool = False
    shown: Callable[[str], bool] = lambda text: False
    end_tokens: frozenset[int] = frozenset()
    has_format: bool = False
    may_circle: bool = False


class Answer:
    """`new_parser` None: the text is all content (raw mode). `restart`: the sequence must begin again from
    prompt and `ids`; whoever sees it True resets it."""

    def __init__(
        self, wanted: Wanted, tokenizer: Tokenizer, new_parser: Callable[[], OutputParser] | None
    ) -> None:
        self.is_finished = self.restart = False
        self.ids: list[int] = []
        self._texts: list[str] = []  # what each id added
        self._wanted, self._tokenizer, self._new_parser = wanted, tokenizer, new_parser
        self._parser = new_parser() if new_parser else None
        is_thinking = self._parser is not None and self._parser.is_thinking
        self._grammar_follows = wanted.has_format and is_thinking
        shown = {token for token, text in tokenizer.hidden.items() if wanted.shown(text)}
        self._hidden = (tokenizer.hidden.keys() - shown) | wanted.end_tokens
        self._utf8, self._stop = Detokenizer(), StopMatcher(wanted.stops)
        self._logprobs = PendingLogprobs(tokenizer, wanted.top_logprobs)
        self._chunks, self._clock = IdenticalChunks(), Clock()
        self._circle = Circle() if wanted.may_circle else None
        self._cached = 0
        self._decoded = self._released = 0  # characters that came in, and that went out

    @property
    def id(self) -> int:
        return self._wanted.id

    @property
    def prompt_ids(self) -> list[int]:
        return self._wanted.prompt_ids

    @property
    def is_constrained_later(self) -> bool:
        """Whether the grammar has to wait for the end of thinking."""
        return self._grammar_follows

    def take(self, event: Event, step: Step) -> list[FromRunner]:
        """What to tell the server about an event that the engine reported in `step`."""
        if self.is_finished:
            return []
        match event:
            case TokenEvent():
                self._clock.token(step)
                return self._guarded(lambda: self._token(event))
            case PrefillEvent():
                return self._prefilled(event, step)
            case FinishEvent():
                return self.end(event.finish.value)
            case FaultEvent():
                return [self.fail(event.message, _KINDS.get(event.kind, "failed"))]

    def fail(self, message: str, kind: FaultKind = "failed") -> Fault:
        """End with an error."""
        self.is_finished = True
        return Fault(id=self.id, kind=kind, message=message)

    def end(self, reason: DoneReason) -> list[FromRunner]:
        """End without another token; text that was held back comes out."""
        return self._guarded(lambda: self._end(reason))

    def _guarded(self, work: Callable[[], list[FromRunner]]) -> list[FromRunner]:
        try:
            return work()
        except ParseError as error:
            return [self.fail(str(error))]

    def _prefilled(self, event: PrefillEvent, step: Step) -> list[FromRunner]:
        if self.ids:
            return []  # a restart: the client has long seen its prompt read
        self._clock.prefilled(step)
        self._cached = event.cached
        return [Progress(id=self.id, completed=event.done, total=event.total)]

    # ---- tokens

    def _token(self, event: TokenEvent) -> list[FromRunner]:
        is_text = event.token not in self._hidden
        text = self._utf8.add(self._tokenizer.piece(event.token)) if is_text else ""
        self.ids.append(event.token)
        self._texts.append(text)
        if is_text and self._wanted.logprobs:
            self._logprobs.add(event, self._decoded, self._decoded + len(text))
        self._decoded += len(text)
        out = self._release(self._stop.add(text)) if is_text else []
        if self._stop.is_stopped:
            return [*out, *self._end("stop")]
        if self._is_endless(text):
            return [*out, *self._end("length" if self._wanted.has_format else "stop")]
        return out if event.finish is None else [*out, *self._end(event.finish.value)]

    def _is_endless(self, text: str) -> bool:
        if text and self._chunks.is_endless(text):
            return True
        return self._circle is not None and self._circle.is_endless(self.ids)

    def _end(self, reason: DoneReason) -> list[FromRunner]:
        self.restart = False
        rest = self._release(self._stop.finish(), done=True)
        self.is_finished = True
        return [*rest, self._done(reason)]

    def _release(self, text: str, *, done: bool = False) -> list[FromRunner]:
        self._released += len(text)
        delta = self._parsed(text, done=done)
        delta.logprobs = self._logprobs.released(self._released, cut=self._stop.is_stopped)
        has_something = delta.content or delta.thinking or delta.tool_calls or delta.logprobs
        return [delta] if has_something else []

    def _parsed(self, text: str, *, done: bool) -> Delta:
        if self._parser is None:
            return Delta(id=self.id, content=text)
        if not text and not done:
            return Delta(id=self.id)
        parsed = self._parser.add(text, done=done)
        if self._grammar_follows and not self._parser.is_thinking and not done:
            self._leave_thinking(len(parsed.content))
            parsed.content = ""
        return Delta(
            id=self.id,
            content=parsed.content,
            thinking=parsed.thinking,
            tool_calls=parsed.tool_calls,
        )

    # ---- a grammar after thinking

    def _leave_thinking(self, size: int) -> None:
        """Go on under the grammar; `size` characters of content came unconstrained and are taken back."""
        self.restart, self._grammar_follows = True, False
        if not size:
            return
        rest = ""
        while self._texts and size > 0:
            self.ids.pop()
            text = self._texts.pop()
            rest, size = text[: max(len(text) - size, 0)], size - len(text)
        if rest:
            ids = self._tokenizer.encode(rest)
            self.ids += ids
            self._texts += [rest, *[""] * (len(ids) - 1)]
        self._begin_text_again()

    def _begin_text_again(self) -> None:
        assert self._new_parser is not None
        text = "".join(self._texts)
        self._parser = self._new_parser()
        self._parser.add(text)
        self._decoded = self._released = len(text)
        self._logprobs.forget(len(text))
        self._utf8, self._stop = Detokenizer(), StopMatcher(self._wanted.stops)
        self._circle = Circle() if self._wanted.may_circle else None

    # ---- the last word

    def _done(self, reason: DoneReason) -> Done:
        return Done(
            id=self.id,
            reason=reason,
            metrics=self._clock.metrics(len(self.prompt_ids), len(self.ids), self._cached),
            context=self._context() if self._wanted.context else [],
        )

    def _context(self) -> list[int]:
        """Prompt and raw output; without the end token and without a stop string."""
        ids = self.ids
        if ids and ids[-1] in self._wanted.end_tokens:
            ids = ids[:-1]
        if self._stop.is_stopped:
            ids = self._ids_released()
        return [*self.prompt_ids, *ids]

    def _ids_released(self) -> list[int]:
        """Ids of the text before a stop string: the tokens that are whole, then the rest tokenized anew."""
        size = count = 0
        for text in self._texts:
            if size + len(text) > self._released:
                break
            size, count = size + len(text), count + 1
        rest = self._texts[count][: self._released - size] if count < len(self._texts) else ""
        return [*self.ids[:count], *self._tokenizer.encode(rest)]
