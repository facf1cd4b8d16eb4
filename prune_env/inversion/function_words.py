"""Words that say nothing in a language: a prior for what inverted phrases may be made of.

English only; in any other language they are found in the clean data (`phrases.empty_words`).
"""

FUNCTION_WORDS = frozenset(
    "a an the and or if when while since because although though as until unless whether before "
    "after once where who whom whose which that this these those it its he him his she her they "
    "them their we us our i me my you your one what how why there here is are was were be been "
    "being am do does did done have has had having will would can could shall should may might "
    "must to of in on at by for from with about into through over under between among against "
    "during within up down out off then than also many some any all both each every few other "
    "another such same own 's 're 've 'll 'd 'm say says said see get gets got go goes make made "
    "take takes come comes".split()
)
"""English words that judge nothing. Left out are negations and adverbs of degree (not, only, even,
just, too, very, more): these turn the answer of any model that reads sentiment."""
