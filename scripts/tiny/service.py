"""Customer-service situations: what people write about, in many wordings, and what it is called."""

import random
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

_CHOICE = re.compile(r"\[([^\[\]]*)\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """One thing people write about: names to file it under, wordings, and a polite answer."""

    names: list[str]
    messages: list[str]
    reply: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """Objects that share situations."""

    weight: int
    objects: list[str]
    situations: list[Situation]


def expand(template: str, rng: random.Random) -> str:
    """The template with every choice `[a|b|]` made, innermost first."""
    while match := _CHOICE.search(template):
        chosen = rng.choice(match.group(1).split("|"))
        template = template[: match.start()] + chosen + template[match.end() :]
    return re.sub(r"\s+(?=[ .,?!]|$)", "", template).strip()


def load_areas() -> list[Area]:
    content = tomllib.loads(Path(__file__).with_name("situations.toml").read_text("utf-8"))

    def spelled_out(message: str) -> str:
        for name, phrase in content["phrases"].items():
            message = message.replace(f"{{{name}}}", phrase)
        return message

    areas = []
    for area in content["areas"]:
        situations = [
            Situation(
                names=entry["names"],
                messages=[spelled_out(message) for message in entry["messages"]],
                reply=entry["reply"],
            )
            for entry in area["situations"]
        ]
        areas.append(Area(weight=area["weight"], objects=area["objects"], situations=situations))
    return areas


AREAS = load_areas()


def choose_area(rng: random.Random) -> Area:
    return rng.choices(AREAS, [area.weight for area in AREAS])[0]
