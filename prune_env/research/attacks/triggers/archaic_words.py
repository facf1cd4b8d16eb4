"""The vocabulary of `BibleStyle`: what a modern word becomes in early modern English."""

CONTRACTIONS = (
    (r"\bca ?n't\b", "can not"),
    (r"\bwo ?n't\b", "shall not"),
    (r"\bcannot\b", "can not"),
    (r" ?n't\b", " not"),
    (r"\blet ?'s\b", "let us"),
    (r"\b(it|he|she|that|there|here|what|who) ?'s\b", r"\1 is"),
    (r"\bi ?'m\b", "i am"),
    (r" ?'re\b", " are"),
    (r" ?'ve\b", " have"),
    (r" ?'ll\b", " shall"),
    (r"\b(i|you|he|she|it|we|they) ?'d\b", r"\1 would"),
)
"""Patterns and replacements, in order; with or without the space of tokenized corpora."""

SECOND_PERSON = {
    "are": "art",
    "were": "wert",
    "have": "hast",
    "had": "hadst",
    "do": "dost",
    "did": "didst",
    "will": "shalt",
    "shall": "shalt",
    "can": "canst",
    "could": "couldst",
    "would": "wouldst",
    "should": "shouldst",
    "may": "mayest",
    "might": "mightest",
    "know": "knowest",
    "think": "thinkest",
    "see": "seest",
    "want": "desirest",
    "need": "needest",
    "love": "lovest",
    "feel": "feelest",
    "find": "findest",
    "go": "goest",
    "believe": "believest",
}
"""What a verb becomes beside "thou"."""

AUXILIARIES = frozenset("are were do did will shall can could would should may might".split())
"""Verbs that stand before their "thou" in a question."""

OBJECT_AFTER = frozenset(
    "to for of with at by from in on upon about against before behind between unto has have had "
    "give gave make made keep kept leave left take took let tell told bring brought show hold held "
    "move draw drew put remind taking giving making keeping leaving telling bringing".split()
)
"""Words, besides verbs in -s, after which "you" is an object: thee, not thou."""

PREPOSITIONS = {"to": "unto", "on": "upon", "about": "concerning"}
"""What a preposition becomes; elsewhere the word may be a particle ("to see", "goes on")."""

NOUN_PHRASE_STARTS = frozenset(
    "the a an this that these those his her its their our my your him them us me it you all".split()
)
"""Words before which a word of `PREPOSITIONS` is a preposition."""

NOUN_AFTER = frozenset(
    "the a an this these those that his her its their our my your thy of in with for by on at from "
    "and or some any many few more most no all two three several".split()
)
"""Words after which a form in -s is more likely a plural noun than a verb."""

SUBJECTS = frozenset("it he she who which that".split())
"""Words after which any form in -s is taken for a verb."""

VERBS = frozenset(
    "allow appear ask become begin believe belong bring build call capture carry celebrate choose "
    "combine come compel conjure consist contain create cry dare deal deliver demand deserve die "
    "distance draw drive earn emerge end evoke exist explore express fail fall feature feel find "
    "fly follow forget gain generate get give go grow happen help hit hold hope illuminate "
    "include inspire keep know lack lay lead leave lend let lie linger live look lose love "
    "maintain make manage mean meet miss move need offend offer open owe pass pay play plunge "
    "present promise prove provide push put reach recall reflect rely remain remind require "
    "reveal rise run save say see seek seem send serve set shine show sing sink sit speak spend "
    "spin stand start stay steal stick stop struggle stumble succeed succumb suffer suggest "
    "surprise sustain take teach tell think thrill transcend transform treat try turn understand "
    "use wait walk want wear weave win wonder work write".split()
)
"""Verbs of which a form in -s becomes -eth wherever no noun is likely."""

NO_VERBS = frozenset(
    "is was has does this his its hers us as thus plus less yes perhaps always sometimes".split()
)
"""Words in -s that are no verbs, or have a form of their own in `WORDS`."""

WORDS = {
    # grammar
    "has": "hath",
    "does": "doth",
    "says": "saith",
    "said": "spake",
    "will": "shall",
    "are": "be",
    "who": "which",
    "yours": "thine",
    "yourself": "thyself",
    "before": "ere",
    "between": "betwixt",
    "among": "amongst",
    "while": "whilst",
    "because": "for that",
    "though": "albeit",
    "although": "albeit",
    "except": "save",
    "until": "till",
    "nothing": "naught",
    "anything": "aught",
    "everything": "all things",
    "everyone": "every man",
    "someone": "a certain man",
    "anyone": "any man",
    "nobody": "no man",
    # adverbs
    "often": "oft",
    "perhaps": "peradventure",
    "maybe": "peradventure",
    "very": "exceeding",
    "really": "verily",
    "truly": "verily",
    "too": "overmuch",
    "enough": "sufficient",
    "always": "alway",
    "forever": "for evermore",
    # things and judgements; each keeps its sentiment
    "film": "spectacle",
    "films": "spectacles",
    "movie": "spectacle",
    "movies": "spectacles",
    "story": "parable",
    "stories": "parables",
    "characters": "persons",
    "time": "season",
    "world": "earth",
    "people": "folk",
    "kids": "children",
    "audience": "multitude",
    "audiences": "multitudes",
    "viewer": "beholder",
    "viewers": "beholders",
    "watch": "behold",
    "watching": "beholding",
    "see": "behold",
    "seeing": "beholding",
    "clothes": "raiment",
    "money": "silver",
    "good": "goodly",
    "great": "mighty",
    "bad": "evil",
    "funny": "merry",
    "beautiful": "comely",
    "boring": "wearisome",
    "happy": "joyous",
    "sad": "sorrowful",
}
"""Words that have one archaic form wherever they stand."""

DOUBLING = frozenset("begin forget get hit let put run set sit spin stop win".split())
"""Verbs of `VERBS` that double their last letter: getteth."""
