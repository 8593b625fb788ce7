"""All findings of a file: counted, and shown as far as anybody reads."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tunesmith.doctor.findings import Finding
from tunesmith.domain.rules import Rule, Severity, severity

SHOWN_PER_RULE = 100


@dataclass(slots=True)
class Report:
    num_examples: int = 0
    shown: list[Finding] = field(default_factory=list)
    counts: Counter[Rule] = field(default_factory=Counter)
    num_fixable: int = 0
    shown_per_rule: int = SHOWN_PER_RULE

    def add(self, finding: Finding) -> None:
        self.counts[finding.rule] += 1
        self.num_fixable += finding.patch is not None
        if self.counts[finding.rule] <= self.shown_per_rule:
            self.shown.append(finding)

    def count(self, asked: Severity) -> int:
        return sum(number for rule, number in self.counts.items() if severity(rule) is asked)

    @property
    def is_trainable(self) -> bool:
        """Whether a job would take the file."""
        return self.count(Severity.ERROR) == 0

    def as_json(self) -> dict[str, Any]:
        return {
            "num_examples": self.num_examples,
            "is_trainable": self.is_trainable,
            "num_fixable": self.num_fixable,
            "counts": [
                {"rule": rule, "severity": severity(rule), "count": self.counts[rule]}
                for rule in Rule
                if rule in self.counts
            ],
            "findings": [_as_json(finding) for finding in self.shown],
            "has_more": sum(self.counts.values()) > len(self.shown),
        }


def _as_json(finding: Finding) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "severity": finding.severity,
        "line": finding.line,
        "path": finding.path,
        "message": finding.message,
        "seen_line": finding.seen,
        "is_fixable": finding.patch is not None,
    }
