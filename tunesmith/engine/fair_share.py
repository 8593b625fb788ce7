"""Who goes first, so that all who wait get as many tokens through the model."""

from collections.abc import Collection, Iterable, Mapping


class FairShare:
    """Credit by token, in the manner of deficit round robin (Shreedhar and Varghese 1995).

    What a pass has carried is credited in equal parts to all who waited for it, and charged to
    those whose tokens it carried. Who has most credit goes first, so many small batches pass for
    each large one. Credit is bounded by the largest batch: who cannot use up a share, or has used
    what was to spare, neither saves nor owes for ever.
    """

    def __init__(self) -> None:
        self._credit: dict[str, float] = {}
        self._last_pass: dict[str, int] = {}
        self._num_passes = 0
        self._bound = 0

    def in_order(self, waiting: Iterable[str]) -> list[str]:
        """Of two with the same credit, the one that has waited longer goes first."""
        return sorted(waiting, key=lambda w: (-self._credit.get(w, 0), self._last_pass.get(w, 0)))

    def charge(self, num_tokens: Mapping[str, int], waiting: Collection[str]) -> None:
        """Note a pass: whose tokens it carried, and who had waited for it, these included."""
        self._num_passes += 1
        self._bound = max(self._bound, *num_tokens.values())
        share = sum(num_tokens.values()) / len(waiting)
        for one in waiting:
            credit = self._credit.get(one, 0) + share - num_tokens.get(one, 0)
            self._credit[one] = min(max(credit, -self._bound), self._bound)
        for one in num_tokens:
            self._last_pass[one] = self._num_passes

    def forget(self, one: str) -> None:
        self._credit.pop(one, None)
        self._last_pass.pop(one, None)
