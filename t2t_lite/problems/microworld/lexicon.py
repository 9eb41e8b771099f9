"""The words of the microworld in English, German and French: a table per part of speech, keyed by the English word."""

from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True, slots=True)
class Noun:
    """A noun in three languages; `german_oblique` has the singular in other cases, if it differs."""

    kind: str  # shape, object, animal, person, place, destination
    english: tuple[str, str]  # singular, plural
    german: tuple[str, str]
    german_gender: str  # m, f, n
    german_oblique: dict[str, str]  # by case: "accusative", "dative"
    french: tuple[str, str]
    french_gender: str  # m, f


@dataclass(frozen=True, slots=True)
class Adjective:
    """An adjective in three languages."""

    kind: str  # colour, size, quality, state (of the living), age (of the living)
    english: str
    english_comparative: str
    german: str
    german_stem: str
    german_comparative: str
    french: tuple[str, str, str, str]  # masculine and feminine singular, masculine and feminine plural
    french_before_vowel: str  # masculine singular before a vowel
    french_first: bool  # precedes its noun


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb in three languages, third person only."""

    kind: str  # transitive, giving, intransitive, going, clausal
    english: tuple[str, str, str]  # base, third person singular, past
    english_particle: str
    german: tuple[str, str, str]  # infinitive (also the plural), third person singular, participle
    german_particle: str
    german_auxiliary: str  # haben, sein
    german_order: str  # imperative
    french: tuple[str, str, str, str]  # third person singular and plural, infinitive, participle
    french_order: str


_NOUNS = {
    "shape": """
        circle circles     | Kreis Kreise m              | cercle cercles m
        square squares     | Quadrat Quadrate n          | carré carrés m
        triangle triangles | Dreieck Dreiecke n          | triangle triangles m
        star stars         | Stern Sterne m              | étoile étoiles f
        cross crosses      | Kreuz Kreuze n              | croix croix f
        ring rings         | Ring Ringe m                | anneau anneaux m
        heart hearts       | Herz Herzen n dative=Herzen | cœur cœurs m
        moon moons         | Mond Monde m                | lune lunes f""",
    "object": """
        ball balls     | Ball Bälle m           | ballon ballons m
        box boxes      | Kiste Kisten f         | boîte boîtes f
        table tables   | Tisch Tische m         | table tables f
        chair chairs   | Stuhl Stühle m         | chaise chaises f
        book books     | Buch Bücher n          | livre livres m
        lamp lamps     | Lampe Lampen f         | lampe lampes f
        cup cups       | Tasse Tassen f         | tasse tasses f
        bottle bottles | Flasche Flaschen f     | bouteille bouteilles f
        house houses   | Haus Häuser n          | maison maisons f
        tree trees     | Baum Bäume m           | arbre arbres m
        flower flowers | Blume Blumen f         | fleur fleurs f
        door doors     | Tür Türen f            | porte portes f
        window windows | Fenster Fenster n      | fenêtre fenêtres f
        key keys       | Schlüssel Schlüssel m  | clé clés f
        hat hats       | Hut Hüte m             | chapeau chapeaux m
        car cars       | Auto Autos n           | voiture voitures f
        boat boats     | Boot Boote n           | bateau bateaux m
        bag bags       | Tasche Taschen f       | sac sacs m
        picture pictures | Bild Bilder n        | image images f
        apple apples   | Apfel Äpfel m          | pomme pommes f
        plate plates   | Teller Teller m        | assiette assiettes f
        clock clocks   | Uhr Uhren f            | horloge horloges f""",
    "animal": """
        cat cats       | Katze Katzen f         | chat chats m
        dog dogs       | Hund Hunde m           | chien chiens m
        bird birds     | Vogel Vögel m          | oiseau oiseaux m
        horse horses   | Pferd Pferde n         | cheval chevaux m
        mouse mice     | Maus Mäuse f           | souris souris f
        duck ducks     | Ente Enten f           | canard canards m""",
    "person": """
        man men        | Mann Männer m          | homme hommes m
        woman women    | Frau Frauen f          | femme femmes f
        child children | Kind Kinder n          | enfant enfants m
        girl girls     | Mädchen Mädchen n      | fille filles f
        boy boys       | Junge Jungen m accusative=Jungen dative=Jungen | garçon garçons m
        king kings     | König Könige m         | roi rois m
        queen queens   | Königin Königinnen f   | reine reines f
        doctor doctors | Arzt Ärzte m           | médecin médecins m
        teacher teachers | Lehrer Lehrer m      | professeur professeurs m""",
    "place": """
        garden gardens   | Garten Gärten m      | jardin jardins m
        kitchen kitchens | Küche Küchen f       | cuisine cuisines f
        forest forests   | Wald Wälder m        | forêt forêts f
        room rooms       | Zimmer Zimmer n      | chambre chambres f""",
    "destination": """
        market markets   | Markt Märkte m       | marché marchés m
        station stations | Bahnhof Bahnhöfe m   | gare gares f
        church churches  | Kirche Kirchen f     | église églises f
        school schools   | Schule Schulen f     | école écoles f
        lake lakes       | See Seen m           | lac lacs m
        hotel hotels     | Hotel Hotels n       | hôtel hôtels m""",
}

# English, its comparative | German, its comparative (, stem) | French: 4 forms (masculine singular before a vowel)
_ADJECTIVES = {
    "size": """
        small smaller | klein kleiner | petit petite petits petites
        large larger  | groß größer   | grand grande grands grandes""",
    "quality": """
        old older     | alt älter     | vieux vieille vieux vieilles vieil
        new -         | neu neuer     | nouveau nouvelle nouveaux nouvelles nouvel
        beautiful -   | schön schöner | beau belle beaux belles bel""",
    "age": "young younger | jung jünger | jeune jeune jeunes jeunes",
    "colour": """
        red -    | rot -            | rouge rouge rouges rouges
        green -  | grün -           | vert verte verts vertes
        blue -   | blau -           | bleu bleue bleus bleues
        yellow - | gelb -           | jaune jaune jaunes jaunes
        purple - | violett -        | violet violette violets violettes
        orange - | orangefarben -   | orange orange orange orange
        white -  | weiß -           | blanc blanche blancs blanches
        black -  | schwarz -        | noir noire noirs noires""",
    "texture": """
        heavy heavier | schwer schwerer         | lourd lourde lourds lourdes
        clean cleaner | sauber sauberer         | propre propre propres propres
        dirty dirtier | schmutzig schmutziger   | sale sale sales sales
        wet -         | nass -                  | mouillé mouillée mouillés mouillées""",
    "state": """
        happy -  | glücklich -   | heureux heureuse heureux heureuses
        tired -  | müde - müd    | fatigué fatiguée fatigués fatiguées
        hungry - | hungrig -     | affamé affamée affamés affamées""",
}

# English base, singular, past (, particle) | German infinitive, singular, participle, imperative (, particle, "sein")
# | French singular, plural, infinitive, participle, imperative
_VERBS = {
    "transitive": """
        see sees saw        | sehen sieht gesehen -           | voit voient voir vu -
        love loves loved    | lieben liebt geliebt -          | aime aiment aimer aimé -
        carry carries carried | tragen trägt getragen trage   | porte portent porter porté porte
        paint paints painted | malen malt gemalt male         | peint peignent peindre peint peins
        draw draws drew     | zeichnen zeichnet gezeichnet zeichne | dessine dessinent dessiner dessiné dessine
        buy buys bought     | kaufen kauft gekauft kaufe      | achète achètent acheter acheté achète
        sell sells sold     | verkaufen verkauft verkauft verkaufe | vend vendent vendre vendu vends
        find finds found    | finden findet gefunden finde    | trouve trouvent trouver trouvé trouve
        take takes took     | nehmen nimmt genommen nimm      | prend prennent prendre pris prends
        hide hides hid      | verstecken versteckt versteckt verstecke | cache cachent cacher caché cache
        wash washes washed  | waschen wäscht gewaschen wasche | lave lavent laver lavé lave
        pick picks picked up | heben hebt gehoben hebe auf    | ramasse ramassent ramasser ramassé ramasse""",
    "giving": """
        give gives gave     | geben gibt gegeben gib          | donne donnent donner donné donne
        show shows showed   | zeigen zeigt gezeigt zeige      | montre montrent montrer montré montre
        bring brings brought | bringen bringt gebracht bringe | apporte apportent apporter apporté apporte""",
    "intransitive": """
        sleep sleeps slept  | schlafen schläft geschlafen -   | dort dorment dormir dormi -
        wait waits waited   | warten wartet gewartet -        | attend attendent attendre attendu -
        sing sings sang     | singen singt gesungen -         | chante chantent chanter chanté -
        laugh laughs laughed | lachen lacht gelacht -         | rit rient rire ri -
        work works worked   | arbeiten arbeitet gearbeitet -  | travaille travaillent travailler travaillé -
        play plays played   | spielen spielt gespielt -       | joue jouent jouer joué -
        dance dances danced | tanzen tanzt getanzt -          | danse dansent danser dansé -
        run runs ran        | rennen rennt gerannt - sein     | court courent courir couru -""",
    "going": "go goes went | gehen geht gegangen - sein | va vont aller allé -",
    "clausal": """
        think thinks - | glauben glaubt - - | pense pensent - - -
        say says -     | sagen sagt - -     | dit disent - - -
        know knows -   | wissen weiß - -    | sait savent - - -""",
}

NAMES = {"Anna": "f", "Emma": "f", "Paul": "m", "Leo": "m"}  # the same in every language
PRONOUNS = {"he": ("er", "il"), "she": ("sie", "elle"), "they": ("sie", "ils")}

# English | German, with the dative | French. A phrase may end in a word that contracts (von dem -> vom).
PREPOSITIONS = {
    "in": ("in", "dans"),
    "on": ("auf", "sur"),
    "under": ("unter", "sous"),
    "behind": ("hinter", "derrière"),
    "in front of": ("vor", "devant"),
    "next to": ("neben", "à côté de"),
    "near": ("bei", "près de"),
    "above": ("über", "au-dessus de"),
    "to the left of": ("links von", "à gauche de"),
    "to the right of": ("rechts von", "à droite de"),
    "between": ("zwischen", "entre"),
    "with": ("mit", "avec"),
}
TIMES = {
    "today": ("heute", "aujourd'hui"),
    "now": ("jetzt", "maintenant"),
    "every day": ("jeden Tag", "tous les jours"),
    "yesterday": ("gestern", "hier"),
    "tomorrow": ("morgen", "demain"),
    "on Monday": ("am Montag", "lundi"),
    "on Friday": ("am Freitag", "vendredi"),
    "on Sunday": ("am Sonntag", "dimanche"),
}
FREQUENCIES = {"often": ("oft", "souvent"), "always": ("immer", "toujours"), "never": ("nie", "jamais")}
DEGREES = {"very": ("sehr", "très"), "too": ("zu", "trop")}
# English | German singular, plural | French singular, plural
MODALS = {
    "can": ("kann können", "peut peuvent"),
    "must": ("muss müssen", "doit doivent"),
    "want": ("will wollen", "veut veulent"),
}
CONJUNCTIONS = {
    "and": ("und", "et"),
    "but": (", aber", ", mais"),
    "because": (", weil", "parce que"),
    "when": (", wenn", "quand"),
    "while": (", während", "pendant que"),
}
COUNTS = {"two": ("zwei", "deux"), "three": ("drei", "trois"), "four": ("vier", "quatre")}
SINGULAR_KINDS = ("place", "destination")  # kinds of nouns that are never sampled in the plural


def _rows(tables: dict[str, str]) -> list[tuple[str, list[list[str]]]]:
    return [
        (kind, [field.split() for field in line.split("|")])
        for kind, table in tables.items()
        for line in table.strip().splitlines()
    ]


def _noun(kind: str, english: list[str], german: list[str], french: list[str]) -> Noun:
    oblique = dict(form.split("=") for form in german[3:])
    return Noun(
        kind, (english[0], english[1]), (german[0], german[1]), german[2], oblique, (french[0], french[1]), french[2]
    )


def _adjective(kind: str, english: list[str], german: list[str], french: list[str]) -> Adjective:
    forms = (french[0], french[1], french[2], french[3])
    first = kind in ("size", "quality", "age")
    return Adjective(
        kind,
        english[0],
        english[1],
        german[0],
        german[-1] if len(german) == 3 else german[0],
        german[1],
        forms,
        french[-1] if len(french) == 5 else french[0],
        first,
    )


def _verb(kind: str, english: list[str], german: list[str], french: list[str]) -> Verb:
    extra = german[4:]
    auxiliary = "sein" if "sein" in extra else "haben"
    particle = next((word for word in extra if word != "sein"), "")
    return Verb(
        kind,
        (english[0], english[1], english[2]),
        english[3] if len(english) == 4 else "",
        (german[0], german[1], german[2]),
        particle,
        auxiliary,
        german[3],
        (french[0], french[1], french[2], french[3]),
        french[4],
    )


NOUNS = {fields[0][0]: _noun(kind, *fields) for kind, fields in _rows(_NOUNS)}
ADJECTIVES = {fields[0][0]: _adjective(kind, *fields) for kind, fields in _rows(_ADJECTIVES)}
VERBS = {fields[0][0]: _verb(kind, *fields) for kind, fields in _rows(_VERBS)}


@cache
def of_kind(*kinds: str) -> tuple[str, ...]:
    """Returns the keys of the nouns, adjectives and verbs of some kinds."""
    tables = (NOUNS, ADJECTIVES, VERBS)
    return tuple(key for table in tables for key, entry in table.items() if entry.kind in kinds)
