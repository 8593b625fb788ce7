"""Wire <-> domain: completions of plain text, whole or in chunks."""

from codecs import getincrementaldecoder
from collections.abc import Iterator, Sequence
from typing import Any

from tunesmith.dialects.openai import errors
from tunesmith.dialects.openai import schemas_completions as schemas
from tunesmith.dialects.openai.translate_answers import Head, logprob, sampling, token_counts
from tunesmith.domain.assignments import Likely, SampleOutput, SamplePart, TokenLogprob
from tunesmith.domain.errors import TunesmithError
from tunesmith.services.inference import Sampling
from tunesmith.wire import streams
from tunesmith.wire.streams import Answer, Frame


def text_sampling(body: schemas.CreateCompletion) -> Sampling:
    is_ranked = body.num_drawn > body.num_choices
    return sampling(
        body,
        max_tokens=schemas.DEFAULT_TOKENS if body.max_tokens is None else body.max_tokens,
        top_logprobs=0 if body.logprobs is None and is_ranked else body.logprobs,
        echo=bool(body.echo),
    )


def completion(
    head: Head, body: schemas.CreateCompletion, drawn: Sequence[Answer]
) -> schemas.Completion:
    """`drawn` has the answers to each prompt in turn, of which the best are kept."""
    groups = [
        drawn[start : start + body.num_drawn] for start in range(0, len(drawn), body.num_drawn)
    ]
    answers = [answer for group in groups for answer in _best(group, body)]
    choices = [
        schemas.TextChoice(
            index=index,
            text=answer.text,
            logprobs=_logprobs(answer, body),
            finish_reason=_finish_reason(answer.end),
        )
        for index, answer in enumerate(answers)
    ]
    return schemas.Completion(
        id=head.id,
        created=head.created,
        model=head.model,
        choices=choices,
        usage=_usage([answer.end for answer in drawn], body.num_drawn),
        system_fingerprint=head.fingerprint,
    )


def _logprobs(answer: Answer, body: schemas.CreateCompletion) -> schemas.TextLogprobs | None:
    if body.logprobs is None:
        return None
    return Offsets().logprobs(answer.text, answer.logprobs)


def _best(group: Sequence[Answer], body: schemas.CreateCompletion) -> Sequence[Answer]:
    """Those with the highest log-probability per token."""
    if len(group) == body.num_choices:
        return group
    return sorted(group, key=_mean_logprob, reverse=True)[: body.num_choices]


def _mean_logprob(answer: Answer) -> float:
    values = [logprob(token.logprob or 0.0) for token in answer.logprobs[answer.num_echoed :]]
    return sum(values) / max(len(values), 1)


class Offsets:
    """Where in a choice's text each token begins, in characters.

    A token may hold a part of a character; its bytes say where it stands. A tokenizer may put a
    space before the first, which is no part of the text.
    """

    def __init__(self) -> None:
        self._decoder = getincrementaldecoder("utf-8")("replace")
        self._num_characters: int | None = None

    def logprobs(self, text: str, tokens: Sequence[TokenLogprob]) -> schemas.TextLogprobs:
        """Of a piece of the text, which follows those that were given before."""
        if self._num_characters is None:
            has_space = bool(tokens) and tokens[0].token_bytes[:1] == (ord(" "),)
            self._num_characters = -1 if has_space and not text.startswith(" ") else 0
        listed = schemas.TextLogprobs(tokens=[], token_logprobs=[], top_logprobs=[], text_offset=[])
        for token in tokens:
            value = None if token.logprob is None else logprob(token.logprob)
            listed.tokens.append(_shown(token))
            listed.token_logprobs.append(value)
            listed.top_logprobs.append(None if value is None else _top(token, value))
            listed.text_offset.append(max(self._num_characters, 0))
            self._num_characters += len(self._decoder.decode(bytes(token.token_bytes)))
        return listed


def _top(token: TokenLogprob, value: float) -> dict[str, float]:
    """The likeliest, and the token itself where it is none of them."""
    top = {_shown(likely): logprob(likely.logprob) for likely in reversed(token.top)}
    return {**dict(reversed(top.items())), _shown(token): value}


def _shown(token: TokenLogprob | Likely) -> str:
    """As the original shows tokens that are no text by themselves."""
    try:
        return bytes(token.token_bytes).decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token.token_bytes)


def _finish_reason(end: SampleOutput) -> schemas.FinishReason:
    return "length" if end.finish_reason == "length" else "stop"


def _usage(ends: Sequence[SampleOutput], num_per_prompt: int) -> schemas.TextUsage:
    prompt_tokens, completion_tokens = token_counts(ends, num_per_prompt)
    return schemas.TextUsage(
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        total_tokens=prompt_tokens + completion_tokens,
    )


class TextFrames:
    """The chunks of a streamed completion; usage, where wanted, is in the last alone."""

    def __init__(self, head: Head, body: schemas.CreateCompletion) -> None:
        self._body = body
        self._ends: dict[int, SampleOutput] = {}
        self._offsets = [Offsets() for _ in range(len(body.prompt) * body.num_choices)]
        self._head: dict[str, Any] = {
            "id": head.id,
            "object": "text_completion",
            "created": head.created,
            "model": head.model,
            "system_fingerprint": head.fingerprint,
        }

    def opening(self) -> Iterator[Frame]:
        return iter(())

    def part(self, index: int, output: SampleOutput) -> Iterator[Frame]:
        is_over = output.part is SamplePart.DONE
        if is_over:
            self._ends[index] = output
        if output.text or output.logprobs or is_over:
            yield self._chunk(index, output, _finish_reason(output) if is_over else None)

    def closing(self) -> Iterator[Frame]:
        if self._body.includes_usage:
            ends = [self._ends[index] for index in sorted(self._ends)]
            usage = _usage(ends, self._body.num_choices).model_dump()
            yield {**self._head, "choices": [], "usage": usage}
        yield streams.DONE

    def failure(self, error: TunesmithError) -> Iterator[Frame]:
        yield errors.frame(error)

    def _chunk(self, index: int, output: SampleOutput, finish_reason: str | None) -> Frame:
        logprobs = None
        if self._body.logprobs is not None and output.logprobs:
            logprobs = self._offsets[index].logprobs(output.text, output.logprobs).model_dump()
        choice = {
            "text": output.text,
            "index": index,
            "logprobs": logprobs,
            "finish_reason": finish_reason,
        }
        frame = {**self._head, "choices": [choice]}
        return {**frame, "usage": None} if self._body.includes_usage else frame
