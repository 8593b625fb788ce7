"""Text metrics against the figures of the libraries that they are known from.

BLEU: sacrebleu 2.6.0, `BLEU(effective_order=True, tokenize="none")` on the words. GLEU and METEOR:
nltk 3.10.4, METEOR without WordNet. ROUGE: rouge-score 0.1.2 without stemming. Six decimals.
"""

import random
import time

import pytest

from tunesmith.domain.graders import Similarity
from tunesmith.services.similarity import (
    MAX_LENGTH,
    MAX_PARTIAL_LENGTH,
    similarity,
)

OBEYS = (
    "It is a guide to action which ensures that the military always obeys the commands of the party"
)
HEEDS = "It is a guide to action that ensures that the military will forever heed Party commands"
FOX = "The quick brown fox jumps over the lazy dog"
LOG = "The quick brown dog jumps on the log."
PAIRS = [
    (OBEYS, HEEDS, 0.411804, 0.439394, 0.694444),
    ("the cat sat on the mat", "the the the the the the the", 0.081706, 0.090909, 0.144928),
    ("two words", "two words", 1.0, 1.0, 0.9375),
    ("no", "yes", 0.0, 0.0, 0.0),
    ("the runner was running quickly", "runners run quick", 0.0, 0.0, 0.3125),
    (FOX, LOG, 0.211053, 0.3, 0.567901),
    ("a", "a b c d e f g", 0.002479, 0.045455, 0.078125),
    ("a b c d e f g", "a", 0.065673, 0.045455, 0.3125),
    (
        "to be or not to be , that is the question",
        "to be that is not the question or be",
        0.143677,
        0.315789,
        0.748121,
    ),
]
CONTRACTED = "It's 3.5 o'clock, now"
SPELLED = "it is 3 5 oclock now now"


@pytest.mark.parametrize(("text", "reference", "bleu", "gleu", "meteor"), PAIRS)
def test_bleu_gleu_and_meteor_are_those_of_their_libraries(
    text: str, reference: str, bleu: float, gleu: float, meteor: float
) -> None:
    assert similarity(Similarity.BLEU, text, reference) == pytest.approx(bleu, abs=1e-6)
    assert similarity(Similarity.GLEU, text, reference) == pytest.approx(gleu, abs=1e-6)
    assert similarity(Similarity.METEOR, text, reference) == pytest.approx(meteor, abs=1e-6)


@pytest.mark.parametrize(
    ("metric", "fox", "contracted"),
    [
        (Similarity.ROUGE_1, 0.705882, 0.571429),
        (Similarity.ROUGE_2, 0.266667, 0.166667),
        (Similarity.ROUGE_3, 0.153846, 0.0),
        (Similarity.ROUGE_4, 0.0, 0.0),
        (Similarity.ROUGE_5, 0.0, 0.0),
        (Similarity.ROUGE_L, 0.588235, 0.571429),
    ],
)
def test_rouge_is_that_of_its_library(metric: Similarity, fox: float, contracted: float) -> None:
    assert similarity(metric, FOX, LOG) == pytest.approx(fox, abs=1e-6)
    assert similarity(metric, CONTRACTED, SPELLED) == pytest.approx(contracted, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "reference", "expected"),
    [
        # `ratio` and `token_sort_ratio` of rapidfuzz's documented examples, as WRatio weighs them
        ("this is a test", "this is a test!", 28 / 29),
        ("fuzzy wuzzy was a bear", "wuzzy fuzzy was a bear", 0.95),
        ("fuzzy was a bear", "fuzzy fuzzy was a bear", 0.95),
        ("same", "same", 1.0),
        ("", "same", 0.0),
        ("", "", 0.0),
    ],
)
def test_fuzzy_match_is_weighted_as_rapidfuzz_does(
    text: str, reference: str, expected: float
) -> None:
    assert similarity(Similarity.FUZZY, text, reference) == pytest.approx(expected, abs=1e-6)


def test_long_texts_are_matched_as_wholes_alone() -> None:
    part = "needle in the haystack"
    short, long = (part + " x" * (length // 2) for length in (400, MAX_PARTIAL_LENGTH))
    assert similarity(Similarity.FUZZY, part, short) > 0.5
    assert similarity(Similarity.FUZZY, part, long) <= 0.95
    whole = "y" * (MAX_PARTIAL_LENGTH + 2)
    assert similarity(Similarity.FUZZY, whole, whole) == 1.0
    assert similarity(Similarity.FUZZY, whole, whole[:-2] + "zz") == pytest.approx(0.999, abs=1e-4)


@pytest.mark.parametrize("metric", Similarity)
def test_equal_texts_are_alike_and_unlike_ones_are_not(metric: Similarity) -> None:
    text = "one two three four five six"
    assert similarity(metric, text, text) == pytest.approx(1.0, abs=0.01)
    assert similarity(metric, "", text) == similarity(metric, text, "") == 0.0
    assert similarity(metric, "", "") == 0.0
    assert similarity(metric, "aaa bbb ccc ddd eee", "xxx yyy zzz vvv www") <= 0.3


@pytest.mark.parametrize("metric", Similarity)
def test_the_longest_texts_take_no_more_than_seconds(metric: Similarity) -> None:
    source = random.Random(7)
    words = ["".join(source.choices("abcdefg", k=source.randint(1, 5))) for _ in range(30_000)]
    text = " ".join(words)[:MAX_LENGTH]
    others = (" ".join(words[::-1])[:MAX_LENGTH], text[: MAX_LENGTH * 3 // 5], "ab" * 20_000)
    started = time.monotonic()
    for other in others:
        assert 0 <= similarity(metric, text, other) <= 1
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("metric", Similarity)
@pytest.mark.parametrize("text", ["\ud800 x", "\0", "日本語 テキスト", "🙂 🙃", "_", "İ ß"])
def test_any_text_has_a_similarity(metric: Similarity, text: str) -> None:
    assert 0 <= similarity(metric, text, "日本語 x") <= 1
    assert 0 <= similarity(metric, text, text) <= 1
