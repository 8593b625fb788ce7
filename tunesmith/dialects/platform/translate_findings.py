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


def tokens(file: File, model: str, counts: dict[str, Any]) -> wire.Tokens:
    return wire.Tokens(
        dataset=translate.dataset_id(file.id),
        baseModel=model,
        examples=counts["num_examples"],
        tokens=counts["num_tokens"],
        trainedTokens=counts["num_trained_tokens"],
        truncatedExamples=counts["num_truncated"],
        losingExamples=counts["num_losing"],
        lostTokens=counts["num_lost_tokens"],
        refusedExamples=counts["num_refused"],
        histogram=[wire.TokenColumn(upTo=up_to, examples=n) for up_to, n in counts["histogram"]],
        refused=[wire.RefusedRow(**row) for row in counts["refused"]],
        losing=[wire.LosingRow(**row) for row in counts["losing"]],
        mask=counts["mask_sha256"],
    )


def rows(file: File, model: str, seen: dict[str, Any]) -> wire.RowsSeen:
    return wire.RowsSeen(
        dataset=translate.dataset_id(file.id),
        baseModel=model,
        rows=[
            wire.RowSeen(
                line=row["line"], texts=list(map(_text, row["texts"])), refused=row["refused"]
            )
            for row in seen["rows"]
        ],
        hasMore=seen["has_more"],
    )


def _text(seen: dict[str, Any]) -> wire.TextSeen:
    return wire.TextSeen(
        tokens=seen["num_tokens"],
        trainedTokens=seen["num_trained"],
        cutTokens=seen["num_cut"],
        pieces=[
            wire.Piece(text=text, tokens=count, learned=is_learned)
            for text, count, is_learned in seen["pieces"]
        ],
    )
