"""Training rows of the shapes that the engine treats differently."""

from typing import Any

LONG_SYSTEM = "You answer questions about the weather and the sea, in one short line. " * 3

Row = dict[str, Any]


def conversation(user: str, assistant: str, system: str | None = None) -> Row:
    messages = [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    return {"messages": messages}


def without_shared_prefix(count: int) -> list[Row]:
    return [
        conversation(f"{i} {'rain or shine ' * (i % 4)}?", f"answer {i * i} {'!' * (i % 3)}")
        for i in range(count)
    ]


def with_shared_prefix(count: int) -> list[Row]:
    return [conversation(f"question {i}", f"the {i * 7}", LONG_SYSTEM) for i in range(count)]


def with_same_prompt(count: int) -> list[Row]:
    """Several first targets are predicted from the shared prefix's last token."""
    return [conversation("say a number", f"{i * 7} it is", LONG_SYSTEM) for i in range(count)]


def with_several_turns(count: int) -> list[Row]:
    rows = []
    for i in range(count):
        row = conversation(f"hello {i}", f"good day {i}", LONG_SYSTEM if i % 2 else None)
        row["messages"] += conversation("and now?", f"it rains {i * 3}")["messages"]
        rows.append(row)
    return rows


def with_weight_zero(count: int) -> list[Row]:
    rows = with_several_turns(count)
    for row in rows:
        first = next(m for m in row["messages"] if m["role"] == "assistant")
        first["weight"] = 0
    return rows


def completions(count: int) -> list[Row]:
    return [
        {"prompt": f"the sea is {'very ' * i}", "completion": f"blue {i}"} for i in range(count)
    ]


def preferences(count: int, system: str | None = LONG_SYSTEM) -> list[Row]:
    """The better answers say a number that depends on the question, the worse ones do not."""
    return [
        {
            "input": {"messages": conversation(f"question {i}", "", system)["messages"][:-1]},
            "preferred_output": [{"role": "assistant", "content": f"the {i * 7} it is"}],
            "non_preferred_output": [{"role": "assistant", "content": "no idea " * (1 + i % 3)}],
        }
        for i in range(count)
    ]


def short_preferences(count: int) -> list[Row]:
    return preferences(count, system=None)


def preferences_of_one_prompt(count: int) -> list[Row]:
    """All first targets are predicted from the shared prefix's last token."""
    rows = preferences(count)
    for row in rows:
        row["input"] = rows[0]["input"]
    return rows
