import json
import re
from collections import Counter

import pytest

from tunesmith.domain.catalog import KnownModel
from tunesmith.services import known_models

NAME = re.compile(r"[\w@][\w./@-]*")
UNITS = {"B": 10**9, "M": 10**6}


def each_known() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("known", known_models.list_known(), ids=lambda known: known.name)


def test_every_name_and_alias_names_one_model() -> None:
    names = Counter(
        name
        for known in known_models.list_known()
        for name in (*known_models.names_of(known), known.hub_id)
    )
    assert [name for name, times in names.items() if times > 1] == []


def test_no_model_goes_by_the_name_of_one_that_others_run() -> None:
    """A program that asks for such a model is told that it is not here, until the operator says."""
    names = [n for known in known_models.list_known() for n in known_models.names_of(known)]
    assert [n for n in names if n.startswith(("gpt-", "davinci", "babbage", "o1", "o3"))] == []


def test_the_file_says_nothing_that_nobody_reads() -> None:
    entries = json.loads(known_models._FILE.read_text())
    assert {key for entry in entries for key in entry} <= set(KnownModel.__slots__)


@each_known()
def test_an_entry_has_all_that_programs_ask_for(known: KnownModel) -> None:
    assert all(NAME.fullmatch(name) for name in known_models.names_of(known))
    assert re.fullmatch(r"[\w-]+/[\w.-]+", known.hub_id)
    assert all(text.strip() for text in (known.licence, known.provider, known.display_name))
    assert known.context_tokens % 1024 == 0
    assert 2048 <= known.context_tokens <= 1024 * 1024


@each_known()
def test_a_number_of_parameters_is_the_size_that_the_name_says(known: KnownModel) -> None:
    nominal = float(known.size[:-1]) * UNITS[known.size[-1]]
    assert 0.75 < known.num_parameters / nominal < 1.3
    assert known.fits(known.num_parameters)
    in_hub_id = re.search(r"-(\d+(?:\.\d+)?[BbMm])\b", known.hub_id)
    assert in_hub_id is None or in_hub_id[1].upper() == known.size


def test_a_model_is_known_by_its_short_name_alone() -> None:
    known = known_models.find_known("llama-3.1-8b")
    assert known is not None
    assert "@cf/meta/llama-3.1-8b-instruct" in known.aliases
    assert known_models.find_known("@cf/meta/llama-3.1-8b-instruct") is None
    assert known_models.find_known("nothing") is None
