"""Word lists and small facts that the generated text is made of."""


def words(text: str) -> list[str]:
    return text.split()


def phrases(text: str) -> list[str]:
    return text.split("|")


NAMES = words(
    "Ada Adam Alice Amir Anna Ben Bella Carlos Chen Clara Daniel Diana Elena Emma Eric Fatima "
    "Felix Finn Grace Hana Hugo Ida Ivan Jack Jane Jonas Julia Kai Karim Laura Leo Lily Lina Lucas "
    "Maria Mark Maya Mia Mila Nadia Nina Noah Nora Olga Oscar Otto Paul Petra Rosa Ruth Sam Sara "
    "Sofia Tara Theo Tom Uma Victor Vera Will Yara Yusuf Zoe"
)
PLACES = words(
    "park garden kitchen school library market station harbour museum bakery office bridge forest "
    "village farm beach river hotel theatre workshop hospital café airport shop square"
)
ANIMALS = words(
    "cat dog horse cow sheep goat duck hen goose fox wolf bear deer rabbit mouse owl crow eagle "
    "frog fish whale seal tiger lion monkey elephant bee ant spider butterfly turtle snake"
)
FRUITS = words("apple pear plum cherry grape lemon orange peach banana mango melon fig")
VEGETABLES = words("carrot onion potato tomato pea bean cabbage leek pepper pumpkin spinach")
COLOURS = words("red blue green yellow black white brown grey pink purple silver golden")
TOOLS = words("hammer saw drill spade rake broom needle knife spoon fork pen pencil brush")
CLOTHES = words("hat coat scarf glove shoe boot sock shirt dress jacket belt jumper")
VEHICLES = words("car bus train bicycle boat ship lorry taxi tram plane scooter van")
THINGS = words(
    "book box basket cup bottle lamp chair table clock key letter map mirror picture ball kite "
    "blanket bag coin ring candle radio phone ticket camera umbrella bell rope"
)
ADJECTIVES = words(
    "big small old new young quiet loud happy sad warm cold bright dark heavy light soft hard "
    "clean dirty fast slow kind brave clever tired hungry strange gentle careful busy"
)
CATEGORIES = {
    "animal": ANIMALS,
    "fruit": FRUITS,
    "vegetable": VEGETABLES,
    "colour": COLOURS,
    "tool": TOOLS,
    "piece of clothing": CLOTHES,
    "vehicle": VEHICLES,
}
OPPOSITES = {
    "big": "small", "old": "new", "quiet": "loud", "happy": "sad", "warm": "cold",
    "bright": "dark", "heavy": "light", "soft": "hard", "clean": "dirty", "fast": "slow",
    "early": "late", "open": "closed", "full": "empty", "high": "low", "long": "short",
    "near": "far", "rich": "poor", "strong": "weak", "thick": "thin", "wet": "dry",
    "up": "down", "left": "right", "first": "last", "true": "false", "cheap": "expensive",
    "easy": "difficult", "inside": "outside", "always": "never", "buy": "sell", "win": "lose",
}  # fmt: skip
PAST_TENSES = {
    "walk": "walked", "talk": "talked", "play": "played", "look": "looked", "help": "helped",
    "go": "went", "come": "came", "see": "saw", "take": "took", "give": "gave", "find": "found",
    "make": "made", "eat": "ate", "drink": "drank", "run": "ran", "write": "wrote",
    "read": "read", "buy": "bought", "bring": "brought", "think": "thought", "pay": "paid",
    "send": "sent", "lose": "lost", "keep": "kept", "tell": "told", "break": "broke",
}  # fmt: skip
CAPITALS = {
    "France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid",
    "Portugal": "Lisbon", "Greece": "Athens", "Poland": "Warsaw", "Austria": "Vienna",
    "Norway": "Oslo", "Sweden": "Stockholm", "Finland": "Helsinki", "Denmark": "Copenhagen",
    "Ireland": "Dublin", "Japan": "Tokyo", "China": "Beijing", "India": "New Delhi",
    "Egypt": "Cairo", "Kenya": "Nairobi", "Canada": "Ottawa", "Mexico": "Mexico City",
    "Brazil": "Brasília", "Peru": "Lima", "Chile": "Santiago", "Cuba": "Havana",
    "Russia": "Moscow", "Turkey": "Ankara", "Hungary": "Budapest", "Belgium": "Brussels",
    "Australia": "Canberra", "Thailand": "Bangkok", "Vietnam": "Hanoi", "Iceland": "Reykjavik",
}  # fmt: skip
FACTS = {
    "How many days are in a week?": "There are seven days in a week.",
    "How many months are in a year?": "There are twelve months in a year.",
    "How many minutes are in an hour?": "There are sixty minutes in an hour.",
    "How many seconds are in a minute?": "There are sixty seconds in a minute.",
    "How many hours are in a day?": "There are twenty-four hours in a day.",
    "How many legs does a spider have?": "A spider has eight legs.",
    "How many legs does an insect have?": "An insect has six legs.",
    "How many legs does a dog have?": "A dog has four legs.",
    "What do bees make?": "Bees make honey.",
    "What do cows eat?": "Cows eat grass.",
    "What colour is the sky?": "On a clear day the sky is blue.",
    "What colour is grass?": "Grass is green.",
    "What colour is snow?": "Snow is white.",
    "What is ice?": "Ice is frozen water.",
    "What is steam?": "Steam is water that has become a gas.",
    "Where does the sun rise?": "The sun rises in the east.",
    "Where does the sun set?": "The sun sets in the west.",
    "What shines at night?": "The moon and the stars shine at night.",
    "What is a baker?": "A baker is a person who makes bread and cakes.",
    "What is a doctor?": "A doctor is a person who helps people who are ill.",
    "What is a teacher?": "A teacher is a person who helps others to learn.",
    "What is a library?": "A library is a place where you can read and borrow books.",
    "What is a bank?": "A bank is a place that keeps money and lends it.",
    "What is a receipt?": "A receipt is a note that shows what was paid.",
    "What is an invoice?": "An invoice is a bill that says what has to be paid and when.",
    "What is a refund?": "A refund is money that is given back after a purchase.",
    "What is a currency?": "A currency is the money that a country uses.",
    "What is a password?": "A password is a secret word that lets you log in.",
    "What is a map for?": "A map shows where places are and how to get there.",
    "What is an umbrella for?": "An umbrella keeps you dry in the rain.",
    "What is a key for?": "A key opens and closes a lock.",
    "What is a clock for?": "A clock shows the time.",
}
DAYS = words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
MONTHS = words(
    "January February March April May June July August September October November December"
)
NUMBERS = words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen twenty"
)
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def plural(noun: str) -> str:
    if noun in {"sheep", "fish", "deer"}:
        return noun
    if noun == "mouse":
        return "mice"
    if noun == "wolf":
        return "wolves"
    if noun == "knife":
        return "knives"
    if noun == "goose":
        return "geese"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    if noun.endswith(("s", "x", "ch", "sh")) or noun in {"potato", "tomato"}:
        return noun + "es"
    return noun + "s"


def article(noun: str) -> str:
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def listed(items: list[str]) -> str:
    """The items as English writes them: "a, b and c"."""
    if len(items) == 1:
        return items[0]
    return ", ".join(items[:-1]) + " and " + items[-1]
