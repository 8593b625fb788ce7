"""Write the demo's data set: support tickets to be routed to a team, a topic and a priority.

Each row is a conversation in the OpenAI chat format: a system message, a customer's ticket, and
the answer `team/topic priority`, such as `billing/refund p2`. The topic follows from what the
ticket says, the priority from one remark: `p1` when work has stopped or time is short, `p3` when
there is no hurry, `p2` otherwise.

Every topic has wordings of its own, and the last third of them never appears in the training rows;
the same holds for the remarks that set the priority. A test ticket uses a held-out wording half of
the time and a held-out remark half of the time. Held-out wordings share words with the others, so
this shows generalisation of a modest kind. No test ticket equals a training ticket.

Run `python examples/support_tickets.py`; the same seed always writes the same files.
"""

import argparse
import json
import random
from pathlib import Path

Row = dict[str, list[dict[str, str]]]

SYSTEM = "Route the support ticket. Answer with team/topic and priority."

WORDINGS = {
    "billing/refund": [
        "I would like a refund for the {item}.",
        "Please give me my money back for the {item}.",
        "I sent the {item} back {when} and still wait for the refund of {amount} dollars.",
        "When will the {amount} dollars for the returned {item} be refunded?",
        "You promised to refund {amount} dollars, but the money has not come.",
        "The {item} was not for me. Can I get a refund?",
        "I cancelled the {item} and want my money back.",
        "How do I claim a refund for my {item}?",
        "I want my {amount} dollars back for this {item}.",
        "Could you refund the {item} that I bought {when}?",
        "My refund for the {item} is missing.",
    ],
    "billing/double-charge": [
        "I was charged twice for the {item}.",
        "The same {amount} dollars left my account two times.",
        "My card shows two identical payments of {amount} dollars.",
        "You took the money for the {item} twice.",
        "There is a second charge for one {item} on my statement.",
        "I paid once but was billed twice {when}.",
        "Why do I see the payment for the {item} two times?",
        "I see a duplicate charge of {amount} dollars.",
        "The {item} was billed twice on my card.",
        "One {item}, two payments: please check the second charge.",
    ],
    "billing/invoice": [
        "I need an invoice for the {item}.",
        "Please send me the invoice for order {number}.",
        "The invoice for order {number} shows the wrong company name.",
        "Where can I download the invoice for the {item}?",
        "Our accountant asks for a receipt for order {number}.",
        "Our invoice has no tax number on it.",
        "I never got an invoice for the {item} I bought {when}.",
        "Could you put our company name on the invoice?",
        "The invoice from {when} is missing in my mail.",
        "We need a receipt for the {item} with the tax on it.",
    ],
    "billing/payment-failed": [
        "My payment for the {item} was declined.",
        "The checkout says that my card is refused.",
        "I tried to pay {amount} dollars, but the payment failed.",
        "Your site does not accept my credit card.",
        "The payment for order {number} did not go through.",
        "I get an error when I pay for the {item}.",
        "My card works elsewhere, but here it is declined.",
        "Paying for the {item} fails every time.",
        "My card was refused when I tried to pay {amount} dollars.",
        "The payment of {amount} dollars does not go through.",
    ],
    "shipping/late": [
        "My {item} has not arrived yet.",
        "Where is order {number}? It should have come {when}.",
        "I am still waiting for the {item} I ordered {when}.",
        "The delivery of my {item} is late.",
        "The tracking of order {number} has not changed for days.",
        "When will my {item} be delivered?",
        "The parcel with my {item} seems to be lost on the way.",
        "Order {number} is late again.",
        "The {item} should have been delivered {when}.",
        "I ordered a {item} {when} and it has still not arrived.",
    ],
    "shipping/damaged": [
        "My {item} arrived broken.",
        "The {item} came with a crack in it.",
        "The parcel was crushed and the {item} is damaged.",
        "I opened the box and the {item} was in pieces.",
        "The {item} in order {number} is scratched and bent.",
        "Your driver dropped the box and broke my {item}.",
        "The {item} was damaged during delivery.",
        "The {item} that came {when} is broken.",
        "I found a damaged {item} in the box.",
        "There is a crack in the {item} from order {number}.",
    ],
    "shipping/wrong-item": [
        "You sent me the wrong {item}.",
        "I ordered a {item} but got something else.",
        "Order {number} has a different {item} from the one I chose.",
        "This is not the {item} that I ordered.",
        "The {item} has the wrong colour and size.",
        "Someone else's {item} was in my parcel.",
        "I received the wrong product instead of the {item}.",
        "The box from {when} has the wrong {item} in it.",
        "Instead of the {item} I received a different product.",
        "I got the wrong {item} in order {number}.",
    ],
    "shipping/address": [
        "Please change the delivery address of order {number}.",
        "I moved, so send the {item} to my new address.",
        "The address on order {number} is wrong.",
        "Can you deliver the {item} to my office instead of my home?",
        "I typed the wrong street for order {number}.",
        "How do I change the address for my {item}?",
        "My house number is missing in the address.",
        "I have a new address for the {item}.",
        "There is a wrong street in the address for my {item}.",
        "Could you send order {number} to another address?",
    ],
    "account/login": [
        "I cannot log in to my account.",
        "I forgot my password and the reset mail never comes.",
        "My password is not accepted any more.",
        "The login page says that my account is locked.",
        "I am locked out after too many wrong passwords.",
        "The code for the login does not arrive.",
        "Since {when} I cannot sign in.",
        "My login does not work since {when}.",
        "I am locked out of my account and cannot log in.",
        "The password I set {when} is not accepted.",
    ],
    "account/delete": [
        "Please delete my account.",
        "I want to close my account and have all data removed.",
        "How can I delete my profile?",
        "Remove all my personal data from your system.",
        "I no longer use your service, so close the account.",
        "Delete everything that you know about me.",
        "I want to leave. Please remove my profile.",
        "Close my account and delete my data.",
        "How do I have my account removed?",
        "Please close the profile I opened {when}.",
    ],
    "account/email": [
        "I want to change the email address of my account.",
        "My email address has changed, please update it.",
        "Your mails still go to my old email.",
        "How do I set a new email for my account?",
        "There is a typing mistake in my email address.",
        "I lost access to my old email and need to use another.",
        "The email in my profile is wrong.",
        "Please update my account with my new email.",
        "I have a new email address since {when}.",
        "How can I change the wrong email in my account?",
    ],
    "product/crash": [
        "The app crashes when I open it.",
        "Your program closes by itself after a minute.",
        "Since the update {when} the app crashes all the time.",
        "The screen goes black and the app shuts down.",
        "I get an error and then the program stops.",
        "The app freezes and I have to restart it.",
        "Opening a file makes the program crash.",
        "The program crashes every time since {when}.",
        "After the update the app closes by itself.",
        "The app shuts down when I open a file.",
    ],
    "product/how-to": [
        "How do I connect the {item} to my phone?",
        "Where do I find the manual for the {item}?",
        "Can you explain how to set up the {item}?",
        "I do not understand how the {item} works.",
        "Which button starts the {item}?",
        "Is there a guide that shows how to use the {item}?",
        "What are the steps to set up my {item}?",
        "Can you explain how to use the {item}?",
        "Is there a manual that explains the {item}?",
        "How do I set up the {item} that I bought {when}?",
    ],
    "product/idea": [
        "It would be great if the app had a dark mode.",
        "I have an idea: let the {item} remember its settings.",
        "Please add a way to share lists in the app.",
        "I wish the app could work without internet.",
        "A suggestion: make the buttons of the {item} bigger.",
        "Could you add more languages to the app?",
        "My idea for the next version is a search in the app.",
        "I have a suggestion for the next {item}.",
        "It would be nice to add a timer to the app.",
        "An idea: please add more colours for the {item}.",
    ],
    "sales/price": [
        "How much does the {item} cost?",
        "What is the price for {number} pieces of the {item}?",
        "Is there a discount if we buy ten of the {item}?",
        "Do you have a lower price for schools?",
        "Please send us an offer for the {item}.",
        "My voucher should make the {item} cheaper. What is the price then?",
        "Does the price of the {item} include tax?",
        "What does a {item} cost if I buy two?",
        "Do you give a discount on the {item}?",
        "Please tell me the price of the {item}.",
    ],
}
REMARKS = {
    "p1": [
        "This is urgent.",
        "It is very urgent, please answer now.",
        "I need an answer today.",
        "Our whole team cannot work because of this.",
        "We lose money every hour.",
        "Please act immediately.",
        "I need this solved as soon as possible.",
        "Please answer today, it is urgent.",
        "Our team cannot work and we lose money.",
        "Please help immediately.",
    ],
    "p2": ["", "", "Thank you.", "Please help.", "Can you look into this?", "What can you do?", ""],
    "p3": [
        "There is no hurry.",
        "It is not urgent.",
        "Answer whenever you have time.",
        "This can wait until next week.",
        "Take your time.",
        "It is only a small matter.",
        "I am just curious, so no rush.",
        "No rush, this can wait.",
        "No hurry, answer when you have time.",
        "It is a small matter and can wait.",
    ],
}
GREETINGS = ["", "", "", "Hello,", "Hi,", "Hi there,", "Dear team,", "Good morning,"]
ITEMS = (
    "lamp kettle camera jacket backpack printer bicycle speaker keyboard tent heater blender watch "
    "sofa headset"
)
TIMES = ["last week", "on Monday", "two days ago", "yesterday", "last month", "on Friday"]


def is_held_out(place: int, num_wordings: int) -> bool:
    """Whether the wording at this place of its list is one of the last third."""
    return place >= num_wordings - num_wordings // 3


def choose(wordings: list[str], rng: random.Random, *, held_out: bool) -> str:
    places = [p for p in range(len(wordings)) if is_held_out(p, len(wordings)) is held_out]
    return wordings[rng.choice(places)]


def ticket(rng: random.Random, *, held_out_share: float) -> tuple[str, str]:
    """A ticket's text and its route."""
    topic, priority = rng.choice(sorted(WORDINGS)), rng.choice(sorted(REMARKS))
    wording = choose(WORDINGS[topic], rng, held_out=rng.random() < held_out_share)
    remark = choose(REMARKS[priority], rng, held_out=rng.random() < held_out_share)
    request = wording.format(
        item=rng.choice(ITEMS.split()),
        when=rng.choice(TIMES),
        amount=rng.randint(5, 900),
        number=rng.randint(1000, 9999),
    )
    sentences = [request, remark] if rng.random() < 0.7 else [remark, request]
    text = " ".join(filter(None, [rng.choice(GREETINGS), *sentences]))
    return text, f"{topic} {priority}"


def rows(rng: random.Random, num_rows: int, taken: set[str], *, held_out_share: float) -> list[Row]:
    """Conversations whose tickets are all new; their texts are added to `taken`."""
    conversations: list[Row] = []
    while len(conversations) < num_rows:
        text, route = ticket(rng, held_out_share=held_out_share)
        if text in taken:
            continue
        taken.add(text)
        turns = [("system", SYSTEM), ("user", text), ("assistant", route)]
        messages = [{"role": role, "content": content} for role, content in turns]
        conversations.append({"messages": messages})
    return conversations


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the support-ticket data set.")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("support-tickets"))
    parser.add_argument("--seed", type=int, default=0, help="seed of all choices")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rng = random.Random(args.seed)
    taken: set[str] = set()
    splits = [("train", 600, 0.0), ("validation", 60, 0.5), ("test", 500, 0.5)]
    for name, num_rows, held_out_share in splits:
        conversations = rows(rng, num_rows, taken, held_out_share=held_out_share)
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in conversations]
        (args.out / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
