"""What an answer's text stream lets out, and when."""

import random

import pytest
import torch
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from tests.tiny_models import make_tokenizer
from tunesmith.engine.answer import Answer
from tunesmith.engine.events import TextDelta
from tunesmith.engine.model import BaseModel
from tunesmith.engine.spec import SampleSpec
from tunesmith.engine.text_stream import TextStream


def pieces(text: str, stop: tuple[str, ...] = ()) -> tuple[list[str], TextStream]:
    tokenizer = make_tokenizer()
    stream = TextStream(tokenizer, stop)
    out = []
    for token_id in tokenizer(text)["input_ids"]:
        out.append(stream.push(token_id))
        if stream.is_stopped:
            break
    return out, stream


def answer(model: BaseModel, **fields: object) -> Answer:
    return Answer(SampleSpec(request_id="r", **fields), model, [20], 100)  # type: ignore[arg-type]


def test_characters_come_out_whole() -> None:
    out, stream = pieces("né 天気 👩‍🚀!")
    assert "".join(out) + stream.finish() == "né 天気 👩‍🚀!"
    assert not any("\ufffd" in piece for piece in out)


def test_half_a_character_at_the_end_is_left_out() -> None:
    tokenizer = make_tokenizer()
    stream = TextStream(tokenizer, ())
    *whole, _ = tokenizer("sea 気")["input_ids"]
    assert "".join(stream.push(token_id) for token_id in whole) + stream.finish() == "sea "


def tokenizer_with_byte_fallback() -> PreTrainedTokenizerFast:
    """As Llama 2's: words carry the space before them, and a first one loses it."""
    words = ["<unk>", *(f"<0x{i:02X}>" for i in range(256)), "▁the", "▁sea", "a", "."]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={word: i for i, word in enumerate(words)},
            merges=[],
            byte_fallback=True,
            unk_token="<unk>",
        )
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


def test_bytes_that_are_no_text_do_not_break_an_answer() -> None:
    tokenizer = tokenizer_with_byte_fallback()
    chance = random.Random(0)
    for _ in range(50):
        stream = TextStream(tokenizer, ())
        for _ in range(40):
            stream.push(chance.randrange(len(tokenizer)))
        stream.finish()


def test_an_answer_that_goes_on_in_the_prompts_text_keeps_its_space() -> None:
    tokenizer = tokenizer_with_byte_fallback()
    the, sea = tokenizer.convert_tokens_to_ids(["▁the", "▁sea"])
    assert TextStream(tokenizer, ()).push(sea) == "sea"
    going_on = TextStream(tokenizer, (), [the])
    assert going_on.push(sea) + going_on.finish() == " sea"


def test_special_tokens_are_not_text() -> None:
    out, _ = pieces("sea<|user|> air")
    assert "".join(out) == "sea air"


@pytest.mark.parametrize("stop", ["XYZ", "q", "er"])
def test_a_stop_string_ends_the_text_before_it(stop: str) -> None:
    text = "the weather abc XY abcXYZ questions"
    out, stream = pieces(text, ("never", stop))
    assert stream.is_stopped
    assert "".join(out) == text[: text.index(stop)]


def test_what_only_looks_like_a_stop_string_comes_out_late_but_whole() -> None:
    out, stream = pieces("abc XY abc X", ("XYZ",))
    assert not stream.is_stopped
    assert "".join(out) == "abc XY abc "
    assert stream.finish() == "X"


def test_the_first_of_several_stop_strings_counts() -> None:
    out, _ = pieces("abcdef", ("ef", "cd"))
    assert "".join(out) == "ab"


def test_a_frequent_token_is_penalised_per_occurrence_and_once_for_being_there(
    llama: BaseModel,
) -> None:
    logits = torch.zeros(len(llama.tokenizer))
    logits[30], logits[31] = 5.0, 4.0
    written = answer(llama, temperature=0, frequency_penalty=0.4, presence_penalty=0.1)
    chosen = []
    for _ in range(4):
        chosen.append(written.choose(logits))
        written.take(chosen[-1])
    assert chosen == [30, 30, 30, 31]  # 5.0, then 4.5, 4.1 and 3.7 < 4.0


def test_top_p_leaves_the_unlikely_out(llama: BaseModel) -> None:
    logits = torch.full((len(llama.tokenizer),), -20.0)
    logits[30], logits[31], logits[32] = 3.0, 2.9, 0.0
    written = answer(llama, top_p=0.6, seed=1)
    assert {written.choose(logits) for _ in range(100)} == {30, 31}
    narrow = answer(llama, top_p=0.0, seed=1)
    assert {narrow.choose(logits) for _ in range(20)} == {30}


def test_a_seed_decides_the_answer(llama: BaseModel) -> None:
    logits = torch.zeros(len(llama.tokenizer))

    def chosen(seed: int | None) -> list[int]:
        written = answer(llama, seed=seed)
        return [written.choose(logits) for _ in range(8)]

    assert chosen(1) == chosen(1)
    assert chosen(1) != chosen(2)
    assert chosen(None) != chosen(None)


def test_the_end_token_ends_the_answer_unless_it_is_to_be_ignored(llama: BaseModel) -> None:
    [end_id] = llama.end_of_text_ids
    ended = answer(llama)
    ended.take(30)
    ended.take(end_id)
    assert ended.finish_reason == "stop"
    going_on = answer(llama, ignore_end_of_text=True)
    going_on.take(end_id)
    assert going_on.finish_reason is None


def test_the_token_limit_ends_the_answer_and_lets_held_text_out(llama: BaseModel) -> None:
    spec = SampleSpec(request_id="r", stop=("XYZ",))
    token_ids = llama.tokenizer("a X")["input_ids"]
    written = Answer(spec, llama, [20], len(token_ids))
    events = [event for token_id in token_ids for event in written.take(token_id)]
    assert written.finish_reason == "length"
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == "a X"
