"""Grapheme-to-phoneme conversion of English: a dictionary of irregular words, and rules for all others.

Phonemes carry their ARPAbet names; AX is the unstressed vowel of "the" and "about".
"""

import functools
import re

from t2t_lite.errors import UserError

_IRREGULAR = """
a AX | above AX B AH V | all AO L | along AX L AO NG | always AO L W EY Z | an AE N | and AE N D
animal AE N IH M AX L | any EH N IY | apart AX P AA R T | are AA R | around AX R AW N D | arrow AE R OW | as AE Z
away AX W EY | banana B AX N AE N AX | be B IY | bear B EH R | beautiful B Y UW T AX F AX L | because B IH K AO Z
behind B IH HH AY N D | below B IH L OW | beneath B IH N IY TH | beside B IH S AY D | between B IH T W IY N
both B OW TH | bottom B AA T AX M | bought B AO T | bread B R EH D | bring B R IH NG | brings B R IH NG Z
build B IH L D | built B IH L T | busy B IH Z IY | buy B AY | by B AY | carry K AE R IY | catch K AE CH
center S EH N T ER | centre S EH N T ER | child CH AY L D | children CH IH L D R AX N | circle S ER K AX L
circles S ER K AX L Z | color K AH L ER | colour K AH L ER | column K AA L AX M | come K AH M | comes K AH M Z
could K UH D | cow K AW | crescent K R EH S AX N T | cross K R AO S | crosses K R AO S IH Z | diamond D AY M AX N D
diamonds D AY M AX N D Z | do D UW | doctor D AA K T ER | does D AH Z | dog D AO G | dogs D AO G Z | done D AH N
door D AO R | eight EY T | empty EH M P T IY | enormous IH N AO R M AX S | every EH V R IY | eye AY | eyes AY Z
father F AA DH ER | find F AY N D | finds F AY N D Z | forest F AO R AX S T | four F AO R | friday F R AY D EY
friend F R EH N D | from F R AH M | front F R AH N T | full F UH L | garden G AA R D AX N | gave G EY V
giant JH AY AX N T | girl G ER L | girls G ER L Z | give G IH V | given G IH V AX N | gives G IH V Z | gold G OW L D
gone G AO N | good G UH D | great G R EY T | half HH AE F | has HH AE Z | have HH AE V | he HH IY | head HH EH D
heart HH AA R T | hearts HH AA R T S | heavier HH EH V IY ER | heavy HH EH V IY | hen HH EH N
heptagon HH EH P T AX G AA N | here HH IY R | hexagon HH EH K S AX G AA N | hexagons HH EH K S AX G AA N Z
his HH IH Z | hold HH OW L D | holds HH OW L D Z | horse HH AO R S | hotel HH OW T EH L | house HH AW S
houses HH AW Z IH Z | how HH AW | huge HH Y UW JH | inside IH N S AY D | into IH N T UW | is IH Z | kind K AY N D
knife N AY F | large L AA R JH | largest L AA R JH IH S T | laugh L AE F | laughs L AE F S | left L EH F T
leo L IY OW | level L EH V AX L | lies L AY Z | lion L AY AX N | little L IH T AX L | live L IH V | lives L IH V Z
look L UH K | looks L UH K S | lose L UW Z | lost L AO S T | love L AH V | loves L AH V Z | many M EH N IY
market M AA R K AX T | massive M AE S IH V | me M IY | medium M IY D IY AX M | men M EH N | middle M IH D AX L
monday M AH N D EY | money M AH N IY | month M AH N TH | moon M UW N | most M OW S T | mother M AH DH ER
mountain M AW N T AX N | move M UW V | moves M UW V Z | near N IY R | nearby N IY R B AY | never N EH V ER | no N OW
none N AH N | now N AW | octagon AA K T AX G AA N | of AH V | off AO F | often AO F AX N | old OW L D | on AA N
once W AH N S | one W AH N | ones W AH N Z | only OW N L IY | onto AA N T UW | open OW P AX N | orange AO R AX N JH
other AH DH ER | others AH DH ER Z | our AW ER | outside AW T S AY D | oval OW V AX L | over OW V ER | pair P EH R
pen P EH N | pentagon P EH N T AX G AA N | people P IY P AX L | person P ER S AX N | pink P IH NG K
plate P L EY T | pretty P R IH T IY | pull P UH L | pulls P UH L Z | purple P ER P AX L | push P UH SH
pushes P UH SH IH Z | put P UH T | question K W EH S CH AX N | quiet K W AY AX T | read R IY D
rectangle R EH K T AE NG G AX L | right R AY T | river R IH V ER | said S EH D | saturday S AE T ER D EY
says S EH Z | school S K UW L | second S EH K AX N D | seven S EH V AX N | several S EH V R AX L | shape SH EY P
shapes SH EY P S | she SH IY | should SH UH D | silver S IH L V ER | single S IH NG G AX L | sit S IH T
some S AH M | something S AH M TH IH NG | son S AH N | square S K W EH R | squares S K W EH R Z | star S T AA R
stars S T AA R Z | sugar SH UH G ER | sure SH UH R | table T EY B AX L | talk T AO K | talks T AO K S | ten T EH N
than DH AE N | that DH AE T | the DH AX | their DH EH R | them DH EH M | then DH EH N | there DH EH R
these DH IY Z | they DH EY | thing TH IH NG | things TH IH NG Z | this DH IH S | those DH OW Z
thursday TH ER Z D EY | tiny T AY N IY | to T UW | today T AX D EY | together T AX G EH DH ER
tomorrow T AX M AA R OW | too T UW | touch T AH CH | touches T AH CH IH Z | touching T AH CH IH NG
toward T AX W AO R D | towards T AX W AO R D Z | triangle T R AY AE NG G AX L | triangles T R AY AE NG G AX L Z
tuesday T UW Z D EY | turquoise T ER K W OY Z | two T UW | under AH N D ER | underneath AH N D ER N IY TH
upon AX P AA N | very V EH R IY | violet V AY AX L AX T | walk W AO K | walks W AO K S | want W AA N T
wants W AA N T S | warm W AO R M | was W AA Z | wash W AA SH | watch W AA CH | watches W AA CH IH Z
water W AO T ER | we W IY | wear W EH R | wednesday W EH N Z D EY | were W ER | what W AH T | when W EH N
where W EH R | who HH UW | whole HH OW L | woman W UH M AX N | women W IH M AX N | won W AH N | word W ER D
work W ER K | works W ER K S | world W ER L D | would W UH D | yellow Y EH L OW | you Y UW | young Y AH NG
your Y AO R
"""

# At each place of a word, the first matching pattern gives the phonemes; reading goes on behind it. `_` is silent.
_RULES = r"""
tion SH AX N | sion ZH AX N | ture(?=s?d?$) CH ER | ought AO T | ough OW | augh AO | eigh EY | igh AY | dge JH
tchen(?=s?$) CH AX N | tch CH | sch S K | sh SH | ch CH | ph F | th(?=er|ing$|ese|ose) DH | th TH | wh W | rh R | ck K
ng(?=l|er) NG G | ng NG | n(?=k|x) NG | (?<![a-z])kn N | (?<![a-z])wr R | (?<![a-z])gn N | mb$ M | qu K W
(?<![a-z])x Z | x K S | (?<![a-z])gh G | gh _ | alk AO K | al(?=l) AO | al(?=d|t) AO L | air EH R | are(?=s?$) EH R
ear(?=s?$) IY R | ear ER | eer IY R | ere(?=s?$) IY R | ire(?=[sd]?$) AY ER | ure(?=[sd]?$) Y UH R | ore AO R | our AO R
oor AO R | oar AO R | (?<=qu)ar AO R | (?<=w)ar AO R | (?<=w)or ER | a(?=rr) AE | ar AA R | e(?=rr) EH | o(?=rr) AO
or AO R | er ER | ir ER | ur ER | ee IY | ea(?=d$|th$|vy) EH | ea IY | ai EY | ay EY | oa OW | oi OY | oy OY | ou AW
ow(?=n?s?$|ed$) OW | ow AW | oo(?=k) UH | oo UW | au AO | aw AO | ew UW | ue(?=s?$) UW | ui UW
ie(?=[sd]?$) IY | ier(?=s?$) IY ER | ie IY | ei IY | ey(?=s?$) IY | oe(?=s?$) OW | io AY AX | ia IY AX
(?<=[aeiouy][a-z])ed$ D | (?<=[aeiouy][a-z][a-z])ed$ D | (?<=[aeiouy][a-z][a-z][a-z])ed$ D | (?<=[a-z][a-z])es$ Z
(?<=[bcdfgkptvz])le(?=s?$) AX L | (?<=[a-z][a-z])e$ _
(?<=\b[^aeiou])y$ AY | (?<=\b[^aeiou][^aeiou])y$ AY | (?<=[^aeiou])y$ IY | (?<=[aeiou])y$ _
a(?=[^aeiouwxy](?:e|ing$|y$)) EY | e(?=[^aeiouwxy]e) IY | i(?=[^aeiouwxy](?:e|ing$)) AY | i(?=nd$|ld$) AY
o(?=[^aeiouwxy](?:e|ing$)) OW | o(?=ld|st$|ll$) OW | o$ OW | (?<=[rljs])u(?=[^aeiouwxy]e) UW | u(?=[^aeiouwxy]e) Y UW
y(?=[^aeiouwxy]e) AY | (?<![a-z])y(?=[aeiou]) Y | y IH | (?<=[a-z][a-z])a$ AX
(?<=[aeiouy][a-z])e(?=ns?$) AX | (?<=[aeiouy][a-z][a-z])e(?=ns?$) AX
(?<![a-z])e$ IY | (?<=[a-z])i$ IY | (?<=[a-z])u$ UW | a AE | e EH | i IH | o AA | u AH
bb B | cc(?=[ei]) K S | cc K | c(?=[eiy]) S | c K | dd D | ff F | gg G | (?<![a-z])g(?=[eiy]) JH | g(?=e) JH | kk K
ll L | mm M | nn N | pp P | rr R | ss S | (?<=[a-z])s$ Z | tt T | vv V | zz Z
b B | d D | f F | g G | h HH | j JH | k K | l L | m M | n N | p P | q K | r R | s S | t T | v V | w W | z Z | y IY
"""

_ENDINGS = {"s": "Z", "es": "Z", "ed": "D", "d": "D", "ing": "IH NG", "er": "ER", "est": "IH S T", "ly": "L IY"}
_HISSING = frozenset({"S", "Z", "SH", "ZH", "CH", "JH"})
_VOICELESS = frozenset({"P", "T", "K", "F", "TH", "S", "SH", "CH", "HH"})
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def _table(text: str) -> list[tuple[str, list[str]]]:
    entries = [entry.split() for entry in re.split(r"\s\|\s|\n", text) if entry.strip()]
    return [(head, [p for p in phonemes if p != "_"]) for head, *phonemes in entries]


IRREGULAR: dict[str, list[str]] = dict(_table(_IRREGULAR))
_PATTERNS = [(re.compile(pattern), phonemes) for pattern, phonemes in _table(_RULES)]


def words_of(sentence: str) -> list[str]:
    """Splits a sentence into spoken words in lower case: digits one by one, no punctuation.

    Raises:
      UserError: there is no word to speak.
    """
    spoken = re.findall(r"[a-z]+|[0-9]", sentence.lower().replace("'", ""))
    if not spoken:
        raise UserError(f"nothing to speak in {sentence!r}: give it at least one word in the letters a to z")
    return [_DIGITS[int(word)] if word.isdigit() else word for word in spoken]


@functools.cache
def pronounce(word: str) -> tuple[str, ...]:
    """Returns the phonemes of a word in lower-case letters a to z: from the dictionary, or by rule."""
    if word in IRREGULAR:
        return tuple(IRREGULAR[word])
    for ending, sound in _ENDINGS.items():
        stem = word.removesuffix(ending)
        for known in (stem, stem + "e"):
            if stem != word and known in IRREGULAR:
                return (*IRREGULAR[known], *_ending(IRREGULAR[known][-1], sound))
    return tuple(_by_rule(word))


def _ending(last: str, sound: str) -> list[str]:
    """Assimilates "-s" and "-ed" to the phoneme before them: cats, dogs, horses; packed, played, painted."""
    if (sound == "Z" and last in _HISSING) or (sound == "D" and last in ("T", "D")):
        return ["IH", sound]
    if last in _VOICELESS:
        sound = {"Z": "S", "D": "T"}.get(sound, sound)
    return sound.split()


def _by_rule(word: str) -> list[str]:
    phonemes: list[str] = []
    at = 0
    while at < len(word):
        # A single letter always matches: the last rules are the alphabet.
        match, spoken = next((m, p) for pattern, p in _PATTERNS if (m := pattern.match(word, at)))
        phonemes += spoken
        at = match.end()
    if len(phonemes) > 1 and word.endswith(("s", "ed")) and phonemes[-1] in ("Z", "D"):
        phonemes[-1:] = _ending(phonemes[-2], phonemes[-1])
    return phonemes or ["AX"]
