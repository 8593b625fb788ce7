"""Conversations in which the system message lists labels and each answer is one of them."""

import random
from collections.abc import Callable

from scripts.tiny.instructions import NOUNS, invented_word
from scripts.tiny.service import Situation, choose_area, expand
from scripts.tiny.words import ADJECTIVES, COLOURS, PLACES, phrases

Message = dict[str, str]

OPENERS = phrases(
    "Hi,|Hello,|Hello there,|Good morning,|Hey,|Hey guys,|Dear team,|Please help.|Hi there.|Okay,"
    "|I have a question.|I need help.|Can you help me?|Sorry to bother you.|I am confused.|So,"
    "|I was wondering.|I have noticed something.|I have been a customer for several years."
    "|I am on holiday.|I am traveling.|I checked everything.|I have trouble.|There is an issue."
    "|I was shopping a couple of days ago.|I recently moved.|It seems something went wrong."
)
CLOSERS = phrases(
    "Please help.|Thank you.|Thanks!|What should I do?|Can you help?|What now?|Why?|How is that?"
    "|Please tell me what to do.|I need it soon.|It is urgent.|What is going on?|Help!"
    "|Please advise.|Can you fix this?|It happened a few weeks ago.|It has been an hour."
    "|I need it asap.|This has happened multiple times.|I am sure everything was correct."
    "|What are the steps?|The seller says it is fine.|It worked earlier.|I am still waiting."
    "|Can you check the status?|Can you please look into this?|Is that normal?|How does this work?"
    "|What is the reason?|Did I do something wrong?|I have tried everything."
    "|I don't know what to do anymore."
)
SHORT_FORMS = {
    "I am": "I'm", "I have": "I've", "is not": "isn't", "has not": "hasn't", "did not": "didn't",
    "do not": "don't", "does not": "doesn't", "What is": "What's", "cannot": "can't",
    "Where is": "Where's", "could not": "couldn't", "I would": "I'd", "There is": "There's",
}  # fmt: skip
SYSTEM_MESSAGES = [
    "Choose the label that fits the message.\n{}",
    "Answer with one of these labels:\n{}",
    "Labels:\n{}\n\nReply with the label of the message.",
    "What is the message about? Pick one:\n{}",
    "Classify the customer's message. The labels are:\n{}",
    "Possible intents:\n{}\nAnswer with the intent only.",
]


def message_text(situation: Situation, subject: str, rng: random.Random) -> str:
    """One message about the situation, more or less carefully written."""
    text = expand(rng.choice(situation.messages), rng).replace("{o}", subject)
    if text.startswith("Why") and text.endswith("."):
        text = text[:-1] + "?"
    if rng.random() < 0.25:
        text = f"{rng.choice(OPENERS)} {text}"
    if rng.random() < 0.25:
        text = f"{text} {rng.choice(CLOSERS)}"
    if rng.random() < 0.4:
        for long, short in SHORT_FORMS.items():
            text = text.replace(long, short)
    if rng.random() < 0.15:
        text = text.lower()
    if rng.random() < 0.1:
        text = text.rstrip(".?!")
    return text


def some_situation(rng: random.Random) -> tuple[Situation, str]:
    area = choose_area(rng)
    return rng.choice(area.situations), rng.choice(area.objects)


def spelling(rng: random.Random) -> Callable[[str], str]:
    """One of the usual ways to write a label, snake_case most of the time."""
    style = rng.random()
    if style < 0.75:
        return lambda name: name.replace(" ", "_").lower()
    if style < 0.85:
        return lambda name: name.replace(" ", "-").lower()
    return str if style < 0.95 else str.capitalize


def label_list(labels: list[str], rng: random.Random) -> str:
    style = rng.random()
    if style < 0.5:
        return "\n".join(labels)
    if style < 0.75:
        return "\n".join(f"- {label}" for label in labels)
    return ", ".join(labels)


def list_size(rng: random.Random) -> int:
    return rng.choice([rng.randint(2, 5), rng.randint(2, 8), rng.randint(5, 20)])


def classification(rng: random.Random, num_labels: int) -> list[Message]:
    """Messages of customers, each to be filed under one of the situations that are listed."""
    named: dict[str, tuple[Situation, str]] = {}
    spell = spelling(rng)
    while len(named) < num_labels:
        situation, subject = some_situation(rng)
        taken = {(id(other), about) for other, about in named.values()}
        if (id(situation), subject) not in taken:
            name = rng.choice(situation.names).format(o=subject)
            named[spell(name)] = (situation, subject)
    asked = rng.choices(list(named.items()), k=rng.randint(1, 3) if num_labels < 8 else 5)
    turns = [(message_text(*about, rng), label) for label, about in asked]
    return conversation(list(named), turns, rng)


def matching(rng: random.Random, num_labels: int) -> list[Message]:
    """Labels made of arbitrary words, asked for by some of these words."""
    labels: dict[str, list[str]] = {}
    while len(labels) < num_labels:
        words = rng.sample(NOUNS + ADJECTIVES + COLOURS + PLACES, rng.randint(1, 3))
        if rng.random() < 0.2:
            words[-1] = invented_word(rng)
        labels["_".join(words)] = words
    turns = []
    for label, words in rng.choices(list(labels.items()), k=rng.randint(2, 6)):
        said = rng.sample(words, len(words))
        ask = rng.choice(["Something about {}.", "It is about {}.", "{}", "I mean the {} one."])
        turns.append((ask.format(" and ".join(said)), label))
    return conversation(list(labels), turns, rng)


def conversation(
    labels: list[str], turns: list[tuple[str, str]], rng: random.Random
) -> list[Message]:
    listed = label_list(sorted(labels) if rng.random() < 0.4 else labels, rng)
    messages = [{"role": "system", "content": rng.choice(SYSTEM_MESSAGES).format(listed)}]
    for asked, label in turns:
        messages.append({"role": "user", "content": asked})
        messages.append({"role": "assistant", "content": label})
    return messages


def choose_a_label(rng: random.Random) -> list[Message]:
    """Mostly short lists; now and then one of up to eighty labels."""
    num_labels = rng.randint(26, 80) if rng.random() < 0.03 else list_size(rng)
    return rng.choice([classification, classification, matching])(rng, num_labels)
