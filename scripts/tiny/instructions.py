"""Small instructions with exact answers: copy, count, sort, spell, compare, extract, add."""

import json
import random
from collections.abc import Callable

from scripts.tiny.words import (
    ADJECTIVES,
    ANIMALS,
    CAPITALS,
    CATEGORIES,
    COLOURS,
    DAYS,
    FACTS,
    FRUITS,
    LETTERS,
    MONTHS,
    NAMES,
    NUMBERS,
    OPPOSITES,
    PAST_TENSES,
    PLACES,
    THINGS,
    TOOLS,
    VEGETABLES,
    article,
    listed,
    plural,
)

Exchange = tuple[str, str]
NOUNS = ANIMALS + FRUITS + VEGETABLES + TOOLS + THINGS
WORDS = NOUNS + ADJECTIVES + COLOURS + PLACES + list(OPPOSITES)


def invented_word(rng: random.Random) -> str:
    """A pronounceable word that means nothing, so that it can only be copied."""
    syllables = rng.randint(1, 3)
    parts = [rng.choice("bcdfghjklmnprstvwz") + rng.choice("aeiou") for _ in range(syllables)]
    return "".join(parts) + rng.choice(["", "n", "r", "x", "lt", "sk", "m"])


def some_words(rng: random.Random, low: int, high: int) -> list[str]:
    num_words = rng.randint(low, high)
    if rng.random() < 0.3:
        return [invented_word(rng) for _ in range(num_words)]
    return rng.sample(WORDS, num_words)


def repeat(rng: random.Random) -> Exchange:
    text = " ".join(some_words(rng, 1, 7))
    asks = ["Repeat: {}", "Say this again: {}", "Copy this text: {}", "Repeat after me: {}"]
    ask = rng.choice(asks)
    return ask.format(text), text


def repeat_times(rng: random.Random) -> Exchange:
    word, times = rng.choice(WORDS), rng.randint(2, 5)
    return f"Say {word} {NUMBERS[times]} times.", " ".join([word] * times)


def reply_with(rng: random.Random) -> Exchange:
    text = " ".join(some_words(rng, 1, 4))
    ask = rng.choice(["Reply with exactly: {}", "Answer only with: {}", "Write only this: {}"])
    return ask.format(text), text


def spell(rng: random.Random) -> Exchange:
    word = rng.choice(NOUNS)
    return rng.choice(["Spell {}.", "How do you spell {}?"]).format(word), " ".join(word)


def upper_case(rng: random.Random) -> Exchange:
    text = " ".join(rng.sample(WORDS, rng.randint(1, 3)))
    ask = rng.choice(["Write in capital letters: {}", "Upper case: {}", "Shout this: {}"])
    return ask.format(text), text.upper()


def capitalise(rng: random.Random) -> Exchange:
    text = " ".join(rng.sample(WORDS, rng.randint(2, 5)))
    return f"Start every word with a capital letter: {text}", text.title()


def count_items(rng: random.Random) -> Exchange:
    items = some_words(rng, 1, 9)
    ask = rng.choice(["How many words are there? {}", "Count the words: {}", "Count: {}"])
    return ask.format(", ".join(items)), str(len(items))


def count_up(rng: random.Random) -> Exchange:
    start = rng.randint(0, 90)
    end = start + rng.randint(2, 9)
    return f"Count from {start} to {end}.", " ".join(map(str, range(start, end + 1)))


def sort_words(rng: random.Random) -> Exchange:
    items = rng.sample(NOUNS, rng.randint(2, 5))
    return f"Sort these words: {', '.join(items)}", ", ".join(sorted(items))


def sort_numbers(rng: random.Random) -> Exchange:
    numbers = rng.sample(range(100), rng.randint(2, 5))
    answer = ", ".join(map(str, sorted(numbers)))
    return f"Sort these numbers: {', '.join(map(str, numbers))}", answer


def reverse_list(rng: random.Random) -> Exchange:
    items = some_words(rng, 2, 6)
    return f"Reverse this list: {', '.join(items)}", ", ".join(reversed(items))


def nth_item(rng: random.Random) -> Exchange:
    items = some_words(rng, 3, 7)
    ordinals = ["first", "second", "third"]
    place = rng.randrange(4)
    ordinal, answer = ("last", items[-1]) if place == 3 else (ordinals[place], items[place])
    return f"What is the {ordinal} word? {', '.join(items)}", answer


def following_item(rng: random.Random) -> Exchange:
    items = some_words(rng, 3, 9)
    place = rng.randrange(len(items) - 1)
    return f"{', '.join(items)}\nWhat comes after {items[place]}?", items[place + 1]


def is_listed(rng: random.Random) -> Exchange:
    items = some_words(rng, 3, 8)
    if rng.random() < 0.5:
        return f"Is {rng.choice(items)} in this list? {', '.join(items)}", "Yes."
    others = [word for word in WORDS if word not in items]
    return f"Is {rng.choice(others)} in this list? {', '.join(items)}", "No."


def odd_one_out(rng: random.Random) -> Exchange:
    one, other = rng.sample(sorted(CATEGORIES), 2)
    items = rng.sample(CATEGORIES[one], rng.randint(3, 4))
    odd = rng.choice(CATEGORIES[other])
    items.insert(rng.randrange(len(items) + 1), odd)
    return f"Which word does not belong? {', '.join(items)}", odd


def name_some(rng: random.Random) -> Exchange:
    category = rng.choice(sorted(CATEGORIES))
    items = rng.sample(CATEGORIES[category], rng.randint(2, 5))
    group = "pieces of clothing" if category == "piece of clothing" else plural(category)
    if rng.random() < 0.5:
        return f"Name {NUMBERS[len(items)]} {group}.", listed(items).capitalize() + "."
    lines = "\n".join(f"{place}. {item}" for place, item in enumerate(items, 1))
    return f"List {NUMBERS[len(items)]} {group}.", lines


def kind_of_thing(rng: random.Random) -> Exchange:
    category = rng.choice(sorted(CATEGORIES))
    item = rng.choice(CATEGORIES[category])
    answer = f"{article(item).capitalize()} is {article(category)}."
    if category == "colour":
        answer = f"{item.capitalize()} is a colour."
    return f"What is {item if category == 'colour' else article(item)}?", answer


def opposite(rng: random.Random) -> Exchange:
    word = rng.choice(sorted(OPPOSITES))
    answer = OPPOSITES[word]
    if rng.random() < 0.5:
        word, answer = answer, word
    return f"What is the opposite of {word}?", f"The opposite of {word} is {answer}."


def past_tense(rng: random.Random) -> Exchange:
    verb = rng.choice(sorted(PAST_TENSES))
    return f"What is the past tense of {verb}?", PAST_TENSES[verb]


def plural_form(rng: random.Random) -> Exchange:
    noun = rng.choice(NOUNS)
    return f"What is the plural of {noun}?", plural(noun)


def capital_city(rng: random.Random) -> Exchange:
    country = rng.choice(sorted(CAPITALS))
    city = CAPITALS[country]
    if rng.random() < 0.3:
        return f"Which country is {city} the capital of?", f"{city} is the capital of {country}."
    return f"What is the capital of {country}?", f"The capital of {country} is {city}."


def fact(rng: random.Random) -> Exchange:
    question = rng.choice(sorted(FACTS))
    return question, FACTS[question]


def day_or_month(rng: random.Random) -> Exchange:
    calendar, kind = rng.choice([(DAYS, "day"), (MONTHS, "month")])
    place = rng.randrange(len(calendar))
    step, relation = rng.choice([(1, "after"), (-1, "before")])
    answer = calendar[(place + step) % len(calendar)]
    return f"Which {kind} comes {relation} {calendar[place]}?", f"{answer}."


def sum_or_difference(rng: random.Random) -> Exchange:
    left, right = rng.randint(0, 20), rng.randint(0, 20)
    if rng.random() < 0.5:
        question, answer = f"{left} + {right}", left + right
    else:
        left, right = max(left, right), min(left, right)
        question, answer = f"{left} - {right}", left - right
    return rng.choice(["What is {}?", "{} =", "Calculate {}."]).format(question), str(answer)


def larger_number(rng: random.Random) -> Exchange:
    left, right = rng.sample(range(100), 2)
    return f"Which is larger, {left} or {right}?", str(max(left, right))


def next_letter(rng: random.Random) -> Exchange:
    place = rng.randrange(25)
    return f"Which letter comes after {LETTERS[place]}?", LETTERS[place + 1]


def extract_field(rng: random.Random) -> Exchange:
    fields = {
        "name": rng.choice(NAMES),
        "city": rng.choice(sorted(CAPITALS.values())),
        "number": str(rng.randint(100, 99999)),
        "day": rng.choice(DAYS),
        "colour": rng.choice(COLOURS),
        "item": rng.choice(THINGS),
    }
    chosen = rng.sample(sorted(fields), rng.randint(2, 5))
    field = rng.choice(chosen)
    record = "\n".join(f"{name}: {fields[name]}" for name in chosen)
    ask = rng.choice(["What is the {}?", "Give me the {}.", "Find the {}."]).format(field)
    return f"{record}\n\n{ask}", fields[field]


def as_json(rng: random.Random) -> Exchange:
    record = {"name": rng.choice(NAMES), "city": rng.choice(sorted(CAPITALS.values()))}
    question = f"Write the name and the city as JSON. {record['name']} lives in {record['city']}."
    return question, json.dumps(record, ensure_ascii=False)


def who_has(rng: random.Random) -> Exchange:
    people = rng.sample(NAMES, rng.randint(2, 4))
    things = rng.sample(THINGS, len(people))
    text = " ".join(f"{who} has {article(what)}." for who, what in zip(people, things, strict=True))
    person, thing = rng.choice(list(zip(people, things, strict=True)))
    if rng.random() < 0.5:
        return f"{text} Who has the {thing}?", f"{person} has the {thing}."
    return f"{text} What does {person} have?", f"{person} has {article(thing)}."


def look_up(rng: random.Random) -> Exchange:
    keys = rng.sample(WORDS, rng.randint(2, 6))
    table = {key: invented_word(rng) for key in keys}
    key = rng.choice(keys)
    lines = "\n".join(f"{name} = {value}" for name, value in table.items())
    return f"{lines}\n\n{key} =", table[key]


INSTRUCTIONS: dict[Callable[[random.Random], Exchange], int] = {  # with their weights
    repeat: 4, reply_with: 3, look_up: 3, extract_field: 3, following_item: 2, capital_city: 4,
    fact: 3, opposite: 3, kind_of_thing: 2, is_listed: 1, who_has: 2, day_or_month: 2,
    past_tense: 1, repeat_times: 1, spell: 1, upper_case: 1, capitalise: 1, count_items: 1,
    count_up: 1, sort_words: 1, sort_numbers: 1, reverse_list: 1, nth_item: 1, odd_one_out: 1,
    name_some: 1, plural_form: 1, sum_or_difference: 1, larger_number: 1, next_letter: 1,
    as_json: 1,
}  # fmt: skip


def instruction(rng: random.Random) -> Exchange:
    return rng.choices(list(INSTRUCTIONS), list(INSTRUCTIONS.values()))[0](rng)
