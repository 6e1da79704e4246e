"""More words than lists hold: made-up names, nouns and places of syllables, and how often each of them comes.

The k-th word is always the same one. The first are those of `simulation.words`; further ones are made when a world is
so large that it needs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from simulation import words

MOST = 1_000_000  # different words of a kind
WORDS_KEPT = 200_000


@dataclass(frozen=True)
class Law:
    """How often the word of rank r comes: as (1 + r / shift) ** -(1 + tail), after Zipf and Mandelbrot.

    So n draws bring some n ** (1 / (1 + tail)) different words (Heaps' law). The values used here are fitted to
    Book-Crossing and Goodreads (docs/sources/simulate.md).

    Attributes:
        tail: the smaller, the more rare words.
        shift: among how many words of the head the draws are about even.
    """

    tail: float
    shift: float

    def draw(self, rng: np.random.Generator, size: int | tuple[int, ...], most: int = MOST) -> NDArray[np.int64]:
        """Ranks from 0, below `most`."""
        reached = 1 - (1 + most / self.shift) ** -self.tail
        rank = self.shift * ((1 - rng.random(size) * reached) ** (-1 / self.tail) - 1)
        return np.minimum(rank, most - 1).astype(np.int64)


WORKS_OF_AUTHORS = Law(tail=0.15, shift=60)
SURNAMES = Law(tail=0.15, shift=75)
FIRST_NAMES = Law(tail=0.5, shift=48)
CONCEPTS = Law(tail=0.3, shift=19)
PLACES = Law(tail=0.4, shift=40)


@dataclass(frozen=True)
class Syllables:
    """Of which words of one language are made: a head, as many middles as are needed, an end; split at blanks."""

    heads: str
    middles: str
    ends: str

    def word(self, k: int) -> str:
        """The k-th word, from 0; early ones are short."""
        heads, middles, ends = self.heads.split(), self.middles.split(), self.ends.split()
        k, head = divmod(k, len(heads))
        k, end = divmod(k, len(ends))
        inside = []
        while k:
            k, middle = divmod(k - 1, len(middles))
            inside.append(middles[middle])
        return heads[head] + "".join(inside) + ends[(end + head) % len(ends)]


_MIDDLES = (
    "a ba be bi bo ca co cu da de di do fa fe fi ga go gu la le li lo lu ma me mi mo mu na ne ni no pa pe pi po ra re "
    "ri ro ru sa se si so ta te ti to tu va ve vi vo"
)

_SURNAMES = (
    Syllables(
        "Ald Ash Bar Bex Black Bram Car Chad Col Cran Dal Dun Elm Fair Fen Gar Hal Har Hol Ken Lang Lin Mar Mel Nor "
        "Oak Pem Rad Stan Thorn Wal Whit Win Wood Yar",
        _MIDDLES, "bourne bury by combe cott croft don fell field ford gate ham hurst ley low man mere more ridge "
        "shaw stead stock thorpe ton ward wick worth wright",
    ),
    Syllables(
        "Bau Berg Bött Brand Buch Dör Eber Eich Fröh Gräf Grün Häus Hein Holz Jung Käst Klein Kö Kör Lüd Mei Müh Neu "
        "Röß Schä Schön Stein Strö Töp Übel Weiß Wolf Zim",
        _MIDDLES, "ach bach baum beck berger brecht burg dorf er feld haus hoff hold ing inger kamp ke ler lich mann "
        "mayer ner rich schmidt sen stein thal wald",
    ),
    Syllables(
        "Aubé Beau Bér Bois Bré Chat Chê Clé Cour Dé Des Du Ém Fau Flé For Gé Gué Hé Jou La Lé Mar Mé Mont Per Pré Ré "
        "Rou Sé Thé Vé Ville",
        _MIDDLES, "ard aud ault bert champ çon court din don eau el elle er et ette ier in lain let lon mont net nier "
        "quet rand reau rin roy ton val vin zé",
    ),
    Syllables(
        "Ál Ar Ba Ben Bó Ca Cór Del Es Fer Gál Gó Gue Her Í Jimé Lo Már Men Mo Nú Or Pé Quin Ra Ro Sá San Só Va Vé "
        "Yá Zú",
        _MIDDLES, "ada al alba ano arte az bano bar briz cas cedo dez dero ero es ez gado guez illo iño lez lla mar "
        "mero nedo nez rado reta ría rón roz vedo",
    ),
    Syllables(
        "As Berg Bjør Dahl Eke El Fær Grön Hå Hag Hol Jør Kåre Kjel Lind Lund Mål Ny Nor Ø Ros Sjö Sø Sten Strøm Ström "
        "Sund Thor Vester Åker Öst",
        _MIDDLES, "bäck berg bø by dahl dal en feldt gaard gren haug holm kvist lund mark nes qvist rud sen skov son "
        "stad strand ström sson vik",
    ),
    Syllables(
        "Adé Bal Bor Chi Dvo Eze Fujì Gó Haru Iwa Jan Kami Kov Kra Lev Mor Mwa Nak Nwo Oka Pet Rad Ruz Sato Šim Tana "
        "Ude Vasi Wój Yama Zá Žel",
        _MIDDLES, "ák bara cki da dze ev ga hara ić ishi ka kawa ko lov mi moto mura nov nu ński oğlu ov ový ra ru sky "
        "ta tani wa wicz yan yemi",
    ),
)  # fmt: skip

_FIRST_NAMES = (
    Syllables(
        "Al Ar Bel Ber Cal Cla Da Del E El Em Ev Fran Gar Gil Ha Hel Is Ja Jo Ka Ken La Leo Lu Ma Mar Mil Ne Nor O Ro "
        "Sa Sel Ste Ta The Vi Wi",
        "a be bi da di do el en i la le li lo ma me mi na ne ni ra re ri ro sa ta te ti vi",
        "a ah an ard as beth da den don el ella en er ette ey ia ian ick ie in ine is la lan ley lin lyn na ne nor on "
        "ra rick ry son ta tin vin",
    ),
    Syllables(
        "Adé An Bé Cé Cla Do É Fé Flo Gé Hé In Jé Jo Lé Lu Ma Mé Mi Né No Pé Ré Ro Sé So Thé To Va Vé Xa Zé",
        "a bé cé da dé do fa la lé li lo ma mé mi na né ni ra ré ri ro sa sé ta té ti vé",
        "as aël anna bio cia cile cio da ine el ette fé gio ia ías ien ina io ique la lia lie lio mir na nía ón ra "
        "rice rio sa tín vio",
    ),
    Syllables(
        "Ag As Björ Dör Ebb Frí Gör Gün Hå Hed Jör Jür Kä Kjer Lø Mä Nør Ø Rä Rü Sig Sö Sve Thö Ul Vö Wil Å",
        "a be de di do fri ga la le li lo ma me mi na ne ni ra re ri ru sa sta ta te ti va",
        "a ar brecht da de der dis e el en ert frid gard ga helm hild ina ja ke la lind mar mund na ne rich rid run "
        "sten te trud var wig",
    ),
)  # fmt: skip

# One of each language of `words.LANGUAGES`.
_NOUNS = (
    Syllables(
        "Amber Bark Bell Bird Bone Bramble Brass Candle Cloud Copper Crow Dusk Ember Fern Flint Frost Harp Heather "
        "Hollow Iron Lamp Lark Marsh Moon Moss Oak Pearl Rain Raven Reed Salt Silver Sparrow Stone Thistle Thorn Wind",
        "a ber bi der do fen gle i ker la len lo ma mer mi na ner ni ra ren ri ro sel ta ter ti ver vi win wy",
        "bearer born bound breaker caller dance den fall flower gate glow hand keeper light ling maker mark mere "
        "ness path ring runner seeker shade shore singer smith song stead watch water weaver wing",
    ),
    Syllables(
        "Aub Béc Blé Brû Cér Chât Clair Crê Dé Écl Embr Ép Étin Fê Flé Fou Gên Gré Hê Lér Lumi Mé Né Orfè Pé Plâ Poé "
        "Ré Sé Sér Té Trê Vég Voi",
        "a bé ca cé da dé fa gé la lé li lo ma mé mi na né ni ra ré ri ro sa sé ta té ti vé",
        "ade aine aison âme ance ard au cée elle ence erie esse eur euse ère ier ière ine ique ison isme lée mage ment "
        "née oire ole on tion tude ure é",
    ),
    Syllables(
        "Abend Bäum Blüt Brü Dämm Dörf Eis Flü Früh Gärt Glüh Grün Hüt Kält Kör Küst Läuf Löw Mär Möw Näh Ör Röt "
        "Säng Schäf Schön Stürm Süd Täl Töpf Übel Wäld Wört",
        "a be chen de den ge gen i ke la le len li lo me mer ne ner ra re ren ri se sel ta te ter ti we",
        "bauer berg binder blick brand chen dieb er fahrt fall feld gang gast glanz heim hüter keit kind kraft land "
        "lein ling macher nis sänger schaft see stein tag träger ung weg zeit",
    ),
    Syllables(
        "Al Ári Ba Bóve Ca Cé Co Cú De É Espí Fá Fló Gá Gó Hé Í Jú Lá Lú Má Mú Ná Ó Pá Pé Ráf Ré Sá Só Tá Tú Vé Zá",
        "a be ca ce da de fa ga la le li lo ma me mi na ne ni ra re ri ro sa se ta te ti va",
        "ada ado aje al ancia anza ción dad dero dor dora eño era ería ero eza illa illo ín ina ista ito miento món "
        "ncia nte ón ría rio sión tud ura uz",
    ),
)  # fmt: skip

_PLACES = Syllables(
    "Al Ar Bal Ber Bryn Cas Cor Dor Drav El Fal Gal Grön Har Is Kal Kár Lan Lor Mal Mon Nor Øst Pol Rav Ros San Sel "
    "Tár Tor Val Vár Wes Zel",
    _MIDDLES,
    "berg bourg bruck bury by da dal don dorf esti fjord ford gard grad grove ham haven holm ia ik in mar mark mere "
    "minster mouth nica no ona port rand sk stad ton vár via ville vik wick zell",
)  # fmt: skip


@lru_cache(maxsize=WORDS_KEPT)
def surname(k: int) -> str:
    """The surname of rank `k`."""
    return _of_styles(k, words.LAST_NAMES, _SURNAMES)


@lru_cache(maxsize=WORDS_KEPT)
def first_name(k: int) -> str:
    """The first name of rank `k`."""
    return _of_styles(k, words.FIRST_NAMES, _FIRST_NAMES)


@lru_cache(maxsize=WORDS_KEPT)
def place(k: int) -> str:
    """The place of rank `k`, the same in each language."""
    return _of_styles(k, words.PLACES, (_PLACES,))


@lru_cache(maxsize=WORDS_KEPT)
def noun(k: int) -> tuple[str, ...]:
    """The concept of rank `k` as a noun in each of `words.LANGUAGES`."""
    made = k - len(words.NOUNS)
    return words.NOUNS[k] if made < 0 else tuple(language.word(made) for language in _NOUNS)


def _of_styles(k: int, known: Sequence[str], styles: Sequence[Syllables]) -> str:
    """Of the known words, then of each style in turn."""
    made = k - len(known)
    return known[k] if made < 0 else styles[made % len(styles)].word(made // len(styles))
