"""What answers take, noted as they are given, and written down together every few seconds.

A write for each answer would make it wait. For one thread, the event loop's.
"""

from collections.abc import Mapping

from tunesmith.domain.usage import Account, Spent


class Consumption:
    """What has not been written down yet."""

    def __init__(self) -> None:
        self._spent: dict[Account, Spent] = {}

    def note(self, account: Account, spent: Spent) -> None:
        self._spent[account] = self._spent.get(account, Spent()) + spent

    def take(self) -> dict[Account, Spent]:
        taken, self._spent = self._spent, {}
        return taken

    def give_back(self, taken: Mapping[Account, Spent]) -> None:
        """What could not be written down is written with what comes next."""
        for account, spent in taken.items():
            self.note(account, spent)
