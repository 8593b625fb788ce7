from pathlib import Path

import pytest

from tunesmith.domain.rules import Rule, severity

GUIDE = (Path(__file__).parents[3] / "docs" / "guides" / "doctor.md").read_text()


@pytest.mark.parametrize("rule", list(Rule))
def test_every_rule_is_in_the_guide_with_its_severity(rule: Rule) -> None:
    assert f"| `{rule}` | {severity(rule)} |" in GUIDE
