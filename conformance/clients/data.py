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
