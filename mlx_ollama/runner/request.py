"""One chat or generate request: rendered, truncated, tokenized, and made a sequence for the engine.

Runs on a text thread of the request; touches no MLX.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, partial

from mlx_ollama.api.messages import Message
from mlx_ollama.engine.sequence import Grammar, Request
from mlx_ollama.errors import InvalidRequest
from mlx_ollama.ipc.messages import Chat, Generate, Rendered
from mlx_ollama.parsers.parser import OutputParser
from mlx_ollama.prompt.conversation import Conversation, TemplateError
from mlx_ollama.runner.answer import Answer, Wanted
from mlx_ollama.runner.images import Picture, prefix_key
from mlx_ollama.runner.model import MIN_CONTEXT, Model
from mlx_ollama.runner.prompting import Speech
from mlx_ollama.runner.sampling import max_tokens, sampling_params
from mlx_ollama.runner.truncation import TOO_LONG, clipped, fitting_messages

CHARACTERS_A_TOKEN = 64  # no vocabulary packs more into a token, on average over a prompt
MAX_CHECKPOINTS = 8
NO_IMAGES = "this model does not support image input"

Look = Callable[[bytes], Picture]


@dataclass(kw_only=True)
class Prepared:
    """What goes to the engine, and the answer that its events go to. `later`: the grammar that starts when
    thinking ends. `pictures`: those of the prompt, in its order; the engine's thread makes features of them."""

    request: Request
    answer: Answer
    later: Grammar | None = None
    pictures: list[Picture] = field(default_factory=list)

    def restarted(self, number: int) -> Request | None:
        """The rest of the answer as a sequence of its own, under the grammar; None when no room is left."""
        done = self.answer.ids
        left = None if self.request.max_tokens is None else self.request.max_tokens - len(done)
        ids = [*self.answer.prompt_ids, *done]
        if (left is not None and left < 1) or len(ids) >= self.request.num_ctx:
            return None
        return replace(self.request, id=number, ids=ids, max_tokens=left, grammar=self.later)


@dataclass(kw_only=True)
class _Prompt:
    text: str
    images: list[bytes] = field(default_factory=list)
    speech: Speech | None = None  # None: raw, the answer is not parsed
    last_message: Message | None = None


def window(message: Chat | Generate, model: Model) -> int:
    """The context length that a request gets: what it asks for, within what was loaded."""
    wanted = message.options.num_ctx
    return max(min(wanted, model.num_ctx), MIN_CONTEXT) if wanted > 0 else model.num_ctx


def prepare(message: Chat | Generate, number: int, model: Model) -> Prepared | Rendered:
    """`number` is the sequence's in the engine. Raises InvalidRequest and TemplateError."""
    look = cache(_look(model))
    prompt = _prompt(message, model, look)
    if message.debug_render_only:
        return Rendered(
            id=message.id,
            prompt=_shown_context(message, model) + prompt.text,
            image_count=len(prompt.images),
        )
    num_ctx = window(message, model)
    pictures = _place_pictures(prompt, model, look)
    ids = _ids(message, prompt, model, num_ctx)
    grammar = model.formats.grammar(message.format)
    answer = Answer(_wanted(message, prompt, ids, model, grammar), model.tokenizer, _parser(prompt))
    later = grammar if answer.is_constrained_later else None
    request = Request(
        id=number,
        ids=ids,
        sampling=sampling_params(
            message.options, num_ctx, message.top_logprobs if message.logprobs else None
        ),
        max_tokens=max_tokens(message.options, num_ctx),
        num_ctx=num_ctx,
        num_keep=_num_keep(message, ids, model),
        shift=message.shift,
        end_tokens=model.end_tokens,
        grammar=None if later else grammar,
        checkpoints=_message_ends(ids, model.end_tokens),
        key=prefix_key(model.key, pictures),
    )
    return Prepared(request=request, answer=answer, later=later, pictures=pictures)


# ---- prompt


def _look(model: Model) -> Look:
    """How an image becomes what the model sees; InvalidRequest where it sees nothing."""

    def look(image: bytes) -> Picture:
        if model.sight is None:
            raise InvalidRequest(NO_IMAGES)
        return model.sight.look(image)

    return look


def _prompt(message: Chat | Generate, model: Model, look: Look) -> _Prompt:
    if isinstance(message, Chat):
        return _conversation_prompt(message, message.messages, model, look)
    if message.raw:
        return _Prompt(text=message.prompt, images=message.images)
    if message.suffix:
        speech = model.prompter.of(message.prompting).infill(message.template, think=message.think)
        conversation = Conversation(
            prompt=message.prompt, suffix=message.suffix, think=message.think
        )
        return _Prompt(text=speech.render(conversation), images=message.images, speech=speech)
    return _conversation_prompt(message, message.messages, model, look)


def _conversation_prompt(
    message: Chat | Generate, messages: list[Message], model: Model, look: Look
) -> _Prompt:
    template = message.template if isinstance(message, Generate) else ""
    tools = message.tools if isinstance(message, Chat) else []
    prompter = model.prompter.of(message.prompting)
    speech = prompter.speech(template, tools=tools, think=message.think)
    limit = window(message, model)
    if message.truncate and not template:
        count = partial(_count, speech, model, look, limit)
        messages = fitting_messages(messages, count, limit)
    return _Prompt(
        text=_rendered(speech, messages, limit),
        images=[image for part in messages for image in part.images],
        speech=speech,
        last_message=messages[-1] if messages else None,
    )


def _count(speech: Speech, model: Model, look: Look, limit: int, messages: list[Message]) -> int:
    """Tokens of the messages' prompt; an absurdly long one is not tokenized to find out that it is too long.

    Images count what they become, where Ollama takes 768 for each: nothing is left out that has room.
    """
    try:
        text = _rendered(speech, messages, limit)
    except InvalidRequest:
        return limit + 1
    if len(text) > limit * CHARACTERS_A_TOKEN:
        return len(text)
    images = [image for part in messages for image in part.images]
    return len(model.tokenizer.encode_prompt(text)) + sum(look(i).prepared.tokens for i in images)


def _rendered(speech: Speech, messages: list[Message], limit: int) -> str:
    """The prompt. What no window of `limit` tokens holds may be more than a template may give:
    that is the request's fault, not the template's."""
    try:
        return speech.render_messages(messages)
    except TemplateError:
        if sum(len(message.content) for message in messages) > limit * CHARACTERS_A_TOKEN:
            raise InvalidRequest(TOO_LONG) from None
        raise


def _place_pictures(prompt: _Prompt, model: Model, look: Look) -> list[Picture]:
    """Put the model's own tokens in place of the images' marks; the pictures in the order of the prompt."""
    if not prompt.images:
        return []
    pictures = [look(image) for image in prompt.images]
    assert model.sight is not None
    is_bare = prompt.last_message is None
    prompt.text, placed = model.sight.place(prompt.text, pictures, is_bare=is_bare)
    return placed


def _shown_context(message: Chat | Generate, model: Model) -> str:
    if not isinstance(message, Generate) or not message.context:
        return ""
    model.tokenizer.check_ids(message.context)
    return model.tokenizer.decode(message.context)


# ---- tokens


def _ids(message: Chat | Generate, prompt: _Prompt, model: Model, num_ctx: int) -> list[int]:
    may_clip = message.truncate and message.shift
    text = _bounded(prompt.text, num_ctx * CHARACTERS_A_TOKEN, may_clip)
    context = message.context if isinstance(message, Generate) else None
    if context:
        model.tokenizer.check_ids(context)
        ids = [*context, *model.tokenizer.encode(text)]
    else:
        ids = model.tokenizer.encode_prompt(text)
    if not ids:
        raise InvalidRequest("empty prompt")
    keep = _num_keep(message, ids, model)
    truncate = message.truncate and not prompt.images  # half an image is none
    return clipped(ids, num_ctx, keep, truncate=truncate, shift=message.shift)


def _bounded(text: str, limit: int, may_clip: bool) -> str:
    """A text that cannot fit is cut in its middle before it costs minutes of tokenizing."""
    if len(text) <= limit:
        return text
    if not may_clip:
        raise InvalidRequest(TOO_LONG)
    return text[: limit // 2] + text[len(text) - limit // 2 :]


def _num_keep(message: Chat | Generate, ids: list[int], model: Model) -> int:
    """The first token of all, where the model wants one, is kept beside those that were asked for."""
    keep = message.options.num_keep
    return len(ids) if keep < 0 else keep + model.tokenizer.adds_bos


def _message_ends(ids: list[int], end_tokens: frozenset[int]) -> tuple[int, ...]:
    ends = [place + 1 for place, token in enumerate(ids) if token in end_tokens]
    return tuple(ends[-MAX_CHECKPOINTS:])


# ---- answer


def _wanted(
    message: Chat | Generate,
    prompt: _Prompt,
    ids: list[int],
    model: Model,
    grammar: Grammar | None,
) -> Wanted:
    stops = message.options.stop
    return Wanted(
        id=message.id,
        prompt_ids=ids,
        stops=stops,
        logprobs=message.logprobs,
        top_logprobs=message.top_logprobs,
        context=isinstance(message, Generate) and not message.raw,
        shown=_shown(prompt.speech, stops),
        end_tokens=model.end_tokens,
        has_format=grammar is not None,
        may_circle=message.options.temperature <= 0 and message.options.num_predict <= 0,
    )


def _shown(speech: Speech | None, stops: list[str]) -> Callable[[str], bool]:
    """A control token is text where a parser reads it or a stop string holds it."""
    return lambda token: (
        any(token in stop for stop in stops) or (speech is not None and speech.reads(token))
    )


def _parser(prompt: _Prompt) -> Callable[[], OutputParser] | None:
    speech = prompt.speech
    return None if speech is None else lambda: speech.parser(prompt.text, prompt.last_message)
