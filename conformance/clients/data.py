"""The training data of the clients' jobs."""

import json

SYSTEM = "Answer with the code of the colour."
_COLOURS = ("red", "green", "blue", "black", "white")
NUM_ROWS = 40


def conversations() -> bytes:
    """Forty conversations whose answers follow from the questions."""
    rows = []
    for number in range(NUM_ROWS):
        colour = _COLOURS[number % len(_COLOURS)]
        messages = [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": f"Item {number} is {colour}."},
            {"role": "assistant", "content": f"code-{colour[:2]}"},
        ]
        rows.append(json.dumps({"messages": messages}))
    return "\n".join(rows).encode()


def preferences() -> bytes:
    """The same questions, each with the answer that is wanted and one that is not."""
    rows = []
    for number in range(NUM_ROWS):
        colour = _COLOURS[number % len(_COLOURS)]
        question = {"role": "user", "content": f"Item {number} is {colour}."}
        row = {
            "input": {"messages": [{"role": "system", "content": SYSTEM}, question]},
            "preferred_output": [{"role": "assistant", "content": f"code-{colour[:2]}"}],
            "non_preferred_output": [{"role": "assistant", "content": colour}],
        }
        rows.append(json.dumps(row))
    return "\n".join(rows).encode()
