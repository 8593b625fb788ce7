"""The doctor's report -> wire."""

from typing import Any

from tunesmith.dialects.platform import schemas_findings as wire
from tunesmith.dialects.platform import translate
from tunesmith.domain.files import File
from tunesmith.services.examinations import Mended


def findings(file: File, against: File | None, report: dict[str, Any]) -> wire.Findings:
    return wire.Findings(
        dataset=translate.dataset_id(file.id),
        against=None if against is None else translate.dataset_id(against.id),
        examples=report["num_examples"],
        trainable=report["is_trainable"],
        fixable=report["num_fixable"],
        counts=report["counts"],
        findings=[
            wire.Finding(
                **{key: found[key] for key in ("rule", "severity", "line", "path", "message")},
                seenLine=found["seen_line"],
                fixable=found["is_fixable"],
            )
            for found in report["findings"]
        ],
        hasMore=report["has_more"],
    )


def fixed(file: File, mended: Mended) -> wire.Fixed:
    return wire.Fixed(
        dataset=translate.dataset(file),
        linesChanged=mended.lines_changed,
        linesDropped=mended.lines_dropped,
        diff=mended.diff,
        diffIsWhole=mended.is_diff_whole,
    )
