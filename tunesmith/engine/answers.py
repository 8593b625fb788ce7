"""A conversation -> the texts that it is learned from, by rendering its template step by step.

An answer is learned behind what the model would be given to answer. Mostly that begins the whole
conversation, and one text serves for all answers. But some templates write what came before in
another way once more follows (Qwen3's drop the thoughts of earlier answers, Mistral's write the
system message with the last question alone): there an answer has a text of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from tunesmith.engine.errors import BadConversation
from tunesmith.engine.rendering import Message

Render = Callable[[list[Message], bool], str]  # of messages, with or without a generation prompt

_MARK = "\u2042mark\u2042"  # text that no template and hardly any conversation contains
_MAX_OPENING = 64  # characters that a template writes between a prompt and an answer's words


@dataclass(frozen=True, slots=True)
class Text:
    """`spans` are what the model would say in it, as ranges of characters."""

    text: str
    spans: tuple[tuple[int, int], ...]


def texts(render: Render, messages: list[Message], learned: Sequence[int]) -> list[Text]:
    """The texts that hold the messages `learned`, given by their growing indexes, in their order.

    Raises BadConversation where the template refuses the messages, or hides an answer.
    """
    whole = render(messages, False)
    found: list[Text] = []
    for index in reversed(learned):
        text, start, end = _answer(render, messages, index)
        later = found[-1] if found else Text(whole, ())
        if later.text.startswith(text):
            found[-1:] = [Text(later.text, ((start, end), *later.spans))]
        else:
            found.append(Text(text, ((start, end),)))
    return found[::-1]


def _answer(render: Render, messages: list[Message], index: int) -> tuple[str, int, int]:
    """The text in which the model would give this answer, and where the answer stands in it."""
    before, message = messages[:index], messages[index]
    prompt = _rendered(render, before, True)
    text = render([*before, message], False)
    start = _length_of_start(prompt, text)
    if start is not None:
        return text, start, len(text)
    start = _marked_start(render, [*before, message], text)
    if prompt is None or _length_of_start(_rendered(render, before, False), text) is not None:
        return text, start, len(text)
    said = text[_end_of_likeness(prompt, text[:start]) :]
    return prompt + said, len(prompt), len(prompt) + len(said)


def _rendered(render: Render, messages: list[Message], add_generation_prompt: bool) -> str | None:
    """None where the template refuses these messages, be they but a part of a conversation."""
    try:
        return render(messages, add_generation_prompt) if messages else None
    except BadConversation:
        return None


def _length_of_start(start: str | None, text: str) -> int | None:
    return len(start) if start is not None and text.startswith(start) else None


def _end_of_likeness(prompt: str, head: str) -> int:
    """Where `head`, which stands before an answer's words, ends as the prompt does.

    What comes behind it, such as a space, is the model's to write.
    """

    def num_alike(end: int) -> int:
        backwards = zip(reversed(prompt), reversed(head[:end]), strict=False)
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], backwards))

    return max(range(len(head), max(0, len(head) - _MAX_OPENING) - 1, -1), key=num_alike)


def _marked_start(render: Render, messages: list[Message], text: str) -> int:
    """Where the words of the last message begin in `text`, which the messages make.

    A mark shows it: before the words, or in their place where the template looks into them.
    """
    *before, message = messages
    for words in (_MARK + message["content"].strip(), _MARK):
        marked = _rendered(render, [*before, {**message, "content": words}], False) or ""
        head, found, tail = marked.partition(_MARK)
        if found and _MARK not in tail and text.startswith(head):
            return len(head)
    raise BadConversation(f"The chat template does not show where message {len(messages)} begins.")
