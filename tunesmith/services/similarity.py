"""How alike two texts are, from 0 to 1: the metrics of machine translation and summaries.

Their sources differ in how they split text. Here ROUGE counts words in lower case, METEOR words
and punctuation marks in lower case, BLEU and GLEU words and punctuation marks as they stand.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

import snowballstemmer
from rapidfuzz import fuzz
from rapidfuzz.distance import LCSseq

from tunesmith.domain.graders import Similarity

MAX_LENGTH = 50_000  # characters of either text; keeps every metric below a second
MAX_PARTIAL_LENGTH = 2_000  # the fuzzy match of parts takes the third power of the length
MAX_ORDER = 4

_WORD = re.compile(r"[^\W_]+")
_WORD_OR_MARK = re.compile(r"\w+|[^\w\s]")

Tokens = Sequence[str]


def similarity(metric: Similarity, text: str, reference: str) -> float:
    """Both at most `MAX_LENGTH` long."""
    match metric:
        case Similarity.FUZZY:
            return fuzzy(text, reference)
        case Similarity.BLEU:
            return bleu(_WORD_OR_MARK.findall(text), _WORD_OR_MARK.findall(reference))
        case Similarity.GLEU:
            return gleu(_WORD_OR_MARK.findall(text), _WORD_OR_MARK.findall(reference))
        case Similarity.METEOR:
            words = _WORD_OR_MARK.findall(text.lower())
            return meteor(words, _WORD_OR_MARK.findall(reference.lower()))
    words, reference_words = _WORD.findall(text.lower()), _WORD.findall(reference.lower())
    if metric is Similarity.ROUGE_L:
        return rouge_l(words, reference_words)
    return rouge_n(words, reference_words, int(metric.value[-1]))


def fuzzy(text: str, reference: str) -> float:
    """RapidFuzz's WRatio; without its match of parts where a text is very long."""
    if max(len(text), len(reference)) <= MAX_PARTIAL_LENGTH:
        return fuzz.WRatio(text, reference) / 100
    if not text or not reference:
        return 0.0
    return max(fuzz.ratio(text, reference), 0.95 * fuzz.token_ratio(text, reference)) / 100


def bleu(words: Tokens, reference: Tokens) -> float:
    """Of one sentence, as SacreBLEU: orders without a match are smoothed, too long ones left out.

    Papineni et al. 2002; smoothing 3 of Chen and Cherry 2014.
    """
    logs, smoothed = [], 1.0
    for order in range(1, MAX_ORDER + 1):
        found = Counter(_ngrams(words, order))
        if not found:
            break
        matches = (found & Counter(_ngrams(reference, order))).total()
        if matches == 0:
            if order == 1:
                return 0.0
            smoothed *= 2
        logs.append(math.log((matches or 1 / smoothed) / found.total()))
    if not logs:
        return 0.0
    brevity = min(0.0, 1 - len(reference) / len(words))
    return math.exp(brevity + sum(logs) / len(logs))


def gleu(words: Tokens, reference: Tokens) -> float:
    """The lesser of precision and recall over all n-grams up to four. Wu et al. 2016."""
    found, wanted = _all_ngrams(words), _all_ngrams(reference)
    most = max(found.total(), wanted.total())
    return (found & wanted).total() / most if most else 0.0


def meteor(words: Tokens, reference: Tokens) -> float:
    """Exact words, then English stems; synonyms would need WordNet. Banerjee and Lavie 2005.

    Its constants are those of NLTK: the mean leans to recall by 0.9, and the penalty for matches
    out of order is half the cube of their fragmentation.
    """
    matches = _aligned(words, reference)
    if not matches:
        return 0.0
    precision, recall = len(matches) / len(words), len(matches) / len(reference)
    mean = precision * recall / (0.9 * precision + 0.1 * recall)
    steps = pairwise(matches)
    chunks = 1 + sum((a + 1, b + 1) != later for (a, b), later in steps)
    return mean * (1 - 0.5 * (chunks / len(matches)) ** 3)


def rouge_n(words: Tokens, reference: Tokens, order: int) -> float:
    """The F1 of n-grams. Lin 2004."""
    found, wanted = Counter(_ngrams(words, order)), Counter(_ngrams(reference, order))
    return _f1((found & wanted).total(), found.total(), wanted.total())


def rouge_l(words: Tokens, reference: Tokens) -> float:
    """The F1 of the longest common subsequence. Lin 2004."""
    return _f1(LCSseq.similarity(words, reference), len(words), len(reference))


def _f1(num_matches: int, num_found: int, num_wanted: int) -> float:
    return 2 * num_matches / (num_found + num_wanted) if num_matches else 0.0


def _ngrams(words: Tokens, order: int) -> Iterator[tuple[str, ...]]:
    return zip(*(words[start:] for start in range(order)), strict=False)


def _all_ngrams(words: Tokens) -> Counter[tuple[str, ...]]:
    return Counter(ngram for order in range(1, MAX_ORDER + 1) for ngram in _ngrams(words, order))


def _aligned(words: Tokens, reference: Tokens) -> list[tuple[int, int]]:
    """Places of matching words in both, each used once; the later ones find their match first."""
    matches: list[tuple[int, int]] = []
    left = [list(enumerate(words)), list(enumerate(reference))]
    stemmer = snowballstemmer.stemmer("porter")  # has a state: threads may not share one
    for stage in (list, stemmer.stemWords):
        forms = [stage([word for _, word in side]) for side in left]
        places: dict[str, list[int]] = defaultdict(list)
        for (place, _), form in zip(left[1], forms[1], strict=True):
            places[form].append(place)
        for (place, _), form in zip(reversed(left[0]), reversed(forms[0]), strict=True):
            if places[form]:
                matches.append((place, places[form].pop()))
        used = [set(side) for side in zip(*matches, strict=True)] or [set(), set()]
        left = [[w for w in side if w[0] not in u] for side, u in zip(left, used, strict=True)]
    return sorted(matches)
