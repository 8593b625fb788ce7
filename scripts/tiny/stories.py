"""Short everyday stories and small talk."""

import random
import re

from scripts.tiny.instructions import Exchange
from scripts.tiny.service import expand
from scripts.tiny.words import (
    ADJECTIVES,
    ANIMALS,
    COLOURS,
    DAYS,
    FRUITS,
    NAMES,
    PLACES,
    THINGS,
    article,
    plural,
)

BEGINNINGS = [
    "[One day|One morning|On {day}|Last {day}|Yesterday], {who} went to the {place}.",
    "{who} lived [near|next to|behind] the {place} with [a|an old|a small] {animal}.",
    "It was [a cold|a warm|a rainy|a windy|a bright] day and {who} was in the {place}.",
    "Once there was a {adjective} {animal} called {who}. {who} [loved|liked] the {place}.",
]
WISHES = [
    "{who} wanted [to find|to buy|to see] a {colour} {thing}.",
    "{who} [was looking|looked everywhere] for a {thing}.",
    "{who} had lost [a|the] {colour} {thing} [there|the day before].",
    "{who} carried a {thing} and [two|three|four] [{fruits}|books|letters].",
]
EVENTS = [
    "Then {friend} came by and said, '[Hello|Good morning], {who}! How are you [today|]?'",
    "[Suddenly|After a while|Then] it began to [rain|snow|get dark].",
    "[On the way|At the door], {who} met {friend}, who [had|was holding] a {colour} {thing}.",
    "A {adjective} {animal} [ran past|sat on the wall|slept under a tree|looked at {who}].",
    "{who} [asked|called] {friend} for help.",
    "{friend} gave {who} a {fruit}, and [they ate it together|it tasted very good].",
]
TALKS = [
    "'[Do you have|Where is] my {thing}?' asked {who}. 'In the {place},' said {friend}.",
    "'I [am|feel] [tired|hungry|happy|cold],' said {who}. 'So [am|do] I,' said {friend}.",
    "'[Can|May] I help you?' asked {friend}. 'Yes, please,' said {who}.",
    "'What a {adjective} {animal}!' said {friend}. {who} [laughed|smiled|nodded].",
]
ENDINGS = [
    "In the end, {who} found the {thing} and [was very happy|went home|thanked {friend}].",
    "[Later|In the evening], {who} and {friend} [went home|had tea|sat by the fire] together.",
    "[From then on|After that], {who} and {friend} were [good|best] friends.",
    "{who} [was tired but happy|slept well that night|never forgot that day].",
]
SMALL_TALK = [
    ("[Hello|Hi|Hey|Good morning][!|.|]", "Hello! How can I help you?"),
    ("[How are you|How are you doing]?", "I am well, thank you. How can I help you?"),
    ("[Who are you|What are you|What is your name]?", "I am Tunesmith, a small language model."),
    ("[Thank you|Thanks|Many thanks][!|.|]", "You are welcome!"),
    ("[Goodbye|Bye|See you][!|.|]", "Goodbye! Have a nice day."),
    ("[What can you do|How can you help me]?", "I can answer small questions and learn new tasks."),
    ("[Tell me|Do you know] a joke[.|?|]", "Why did the clock go to school? It wanted more time."),
]


def slots(rng: random.Random) -> dict[str, str]:
    who, friend = rng.sample(NAMES, 2)
    fruit = rng.choice(FRUITS)
    return {
        "who": who,
        "friend": friend,
        "day": rng.choice(DAYS),
        "place": rng.choice(PLACES),
        "animal": rng.choice(ANIMALS),
        "adjective": rng.choice(ADJECTIVES),
        "colour": rng.choice(COLOURS),
        "thing": rng.choice(THINGS),
        "fruit": fruit,
        "fruits": plural(fruit),
    }


def told(words: dict[str, str], rng: random.Random) -> str:
    """A story of five to eight sentences about one person, a friend and a thing."""
    templates = [rng.choice(BEGINNINGS), rng.choice(WISHES)]
    templates += rng.sample(EVENTS + TALKS, rng.randint(2, 5))
    templates.append(rng.choice(ENDINGS))
    text = " ".join(expand(template, rng) for template in templates).format(**words)
    return re.sub(r"\b([Aa]) (?=[aeio])", r"\1n ", text)


def story(rng: random.Random) -> str:
    return told(slots(rng), rng)


def tell_a_story(rng: random.Random) -> Exchange:
    words = slots(rng)
    ask = rng.choice(
        [
            f"Tell me a story about {words['who']} and {article(words['thing'])}.",
            f"Write a short story about {words['who']} in the {words['place']}.",
            f"Tell a story with {words['who']} and {words['friend']}.",
        ]
    )
    return ask, told(words, rng)


def who_is_it_about(rng: random.Random) -> Exchange:
    words = slots(rng)
    return f"{told(words, rng)}\n\nWho is the story about?", f"It is about {words['who']}."


def small_talk(rng: random.Random) -> Exchange:
    said, answer = rng.choice(SMALL_TALK)
    return expand(said, rng), answer
