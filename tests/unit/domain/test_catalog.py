import pytest

from tests.factories import base_model


@pytest.mark.parametrize(
    ("num_parameters", "size"),
    [
        (8_030_261_248, "8B"),
        (1_711_376_384, "1.7B"),
        (32_800_000_000, "33B"),
        (998_000_000, "1B"),
        (134_515_008, "130M"),
        (3_400_000, "3.4M"),
        (1000, "1K"),
        (208, "208"),
    ],
)
def test_a_size_is_said_in_two_digits(num_parameters: int, size: str) -> None:
    assert base_model(num_parameters=num_parameters).size == size


def test_a_size_is_what_its_makers_say_where_that_is_known() -> None:
    assert base_model(num_parameters=70_553_706_496, nominal_size="70B").size == "70B"


def test_an_id_goes_with_the_name_alone() -> None:
    one, again = base_model("one", folder="/here"), base_model("one", folder="/there")
    assert one.id == again.id
    assert base_model("two").id != one.id
