"""Exchanges about customer service: answers, paraphrases, comparisons, summaries, extraction."""

import random
from collections.abc import Callable

from scripts.tiny.instructions import Exchange
from scripts.tiny.labels import message_text, some_situation
from scripts.tiny.service import choose_area
from scripts.tiny.words import DAYS, MONTHS, NAMES

CURRENCIES = ["euros", "dollars", "pounds", "francs", "crowns"]


def answer(rng: random.Random) -> Exchange:
    situation, subject = some_situation(rng)
    return message_text(situation, subject, rng), situation.reply.replace("{o}", subject)


def paraphrase(rng: random.Random) -> Exchange:
    situation, subject = some_situation(rng)
    ask = rng.choice(["Say it another way: {}", "Rewrite this: {}", "In other words: {}"])
    question = ask.format(message_text(situation, subject, rng))
    return question, message_text(situation, subject, rng)


def same_request(rng: random.Random) -> Exchange:
    area = choose_area(rng)
    situation, subject = rng.choice(area.situations), rng.choice(area.objects)
    other = situation if rng.random() < 0.5 else rng.choice(area.situations)
    first, second = (message_text(about, subject, rng) for about in (situation, other))
    question = f"1. {first}\n2. {second}\nDo both messages ask for the same thing?"
    return question, "Yes." if other is situation else "No."


def summary(rng: random.Random) -> Exchange:
    situation, subject = some_situation(rng)
    ask = rng.choice(["Summarise in a few words: {}", "What is this about? {}", "Subject line: {}"])
    name = rng.choice(situation.names).format(o=subject)
    return ask.format(message_text(situation, subject, rng)), name


def subject_of(rng: random.Random) -> Exchange:
    situation, subject = some_situation(rng)
    ask = rng.choice(["Which thing is meant? {}", "Name the thing: {}"])
    return ask.format(message_text(situation, subject, rng)), subject


def detail(rng: random.Random) -> Exchange:
    """A message with several details, one of which is asked for."""
    situation, subject = some_situation(rng)
    details = {
        "name": rng.choice(NAMES),
        "amount": f"{rng.randint(1, 900)} {rng.choice(CURRENCIES)}",
        "order number": str(rng.randint(1000, 99999)),
        "date": f"{rng.randint(1, 28)} {rng.choice(MONTHS)}",
        "day": rng.choice(DAYS),
    }
    phrases = {
        "name": "My name is {}.",
        "amount": "It was {}.",
        "order number": "The order number is {}.",
        "date": "It happened on {}.",
        "day": "Please call me on {}.",
    }
    chosen = rng.sample(sorted(details), rng.randint(1, 4))
    said = " ".join(phrases[key].format(details[key]) for key in chosen)
    field = rng.choice(chosen)
    text = f"{message_text(situation, subject, rng)} {said}"
    return f"What is the {field}?\n{text}", details[field]


def frequently_asked(rng: random.Random) -> str:
    """A page of questions and answers, as plain text."""
    entries = []
    for _ in range(rng.randint(2, 4)):
        question, reply = answer(rng)
        situation, subject = some_situation(rng)
        title = rng.choice(situation.names).format(o=subject).capitalize()
        entries.append(f"Question: {question}\nAnswer: {reply}")
        entries.append(
            f"{title}\n" + " ".join(message_text(situation, subject, rng) for _ in range(2))
        )
    return "\n\n".join(entries)


EXCHANGES: dict[Callable[[random.Random], Exchange], int] = {  # with their weights
    summary: 5, answer: 3, subject_of: 2, detail: 2, paraphrase: 2, same_request: 1,
}  # fmt: skip


def support_exchange(rng: random.Random) -> Exchange:
    return rng.choices(list(EXCHANGES), list(EXCHANGES.values()))[0](rng)
