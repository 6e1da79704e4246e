"""Which editions are the same work: keys, pairs and their scores. Pure, one config, no path.

Titles are compared only within a block: editions whose first author has the same surname and
first initial. Each distinct spelling of (author, title) is one node; a pair of nodes is scored
by Jaro-Winkler on the normalised titles.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F


@dataclass(frozen=True)
class MatchConfig:
    """What makes two titles of one block the same.

    Attributes:
        title_similarity: least Jaro-Winkler of the main titles.
        subtitle_similarity: least Jaro-Winkler of the subtitles, where both have one.
        edits_share: most edits (Levenshtein) between main titles, as a share of the longer one.
        fuzzy_length: main titles shorter than this must be equal.
        block_size: most nodes of a block that are compared pair by pair; larger blocks are cut.
    """

    title_similarity: float = 0.92
    subtitle_similarity: float = 0.88
    edits_share: float = 0.15
    fuzzy_length: int = 6
    block_size: int = 2000


def _folds() -> tuple[str, str]:
    """Accented Latin letters and the plain ones that stand for them (Spark has no NFKD)."""
    pairs = []
    for code in (*range(0xC0, 0x250), *range(0x1E00, 0x1F00)):
        plain = unicodedata.normalize("NFKD", chr(code))[0]
        if plain != chr(code) and plain.isascii():
            pairs.append((chr(code).lower(), plain.lower()))
    pairs += [("ø", "o"), ("ł", "l"), ("đ", "d"), ("ð", "d"), ("ı", "i")]
    unique = {accented: plain for accented, plain in pairs if len(accented) == 1}
    return "".join(unique), "".join(unique.values())


_ACCENTED, _PLAIN = _folds()
_DOUBLE = {"ß": "ss", "æ": "ae", "œ": "oe", "þ": "th", "&": " and "}
_ROMAN = {"ii": 2, "iii": 3, "iv": 4, "vi": 6, "vii": 7, "viii": 8, "ix": 9}
_ARTICLE = r"^(?:the|a|an|der|die|das|ein|eine|le|la|les|un|une|el|los|las|il|lo|het|een) (?=\S)"
_VOLUME = r"(?:#|\b(?:vol(?:ume)?|book|bk|band|bd|tome|teil|part|nr|no|episode|season)\b\.?)\s*(\d+)"
# Subtitles that tell the form, not the book.
_FORM = (
    r"^(?:(?:a|an|the|ein|eine|un|une|and other|selected|his|her) )*"
    r"(?:novel\w*|roman|romanzo|romance|novela|thriller|krimi\w*|kriminalroman|memoir|mystery|story|stories|tale|"
    r"erzahlung\w*|poems?|play|biography|autobiography|short stories|historischer roman|recit|essays?)(?: .{0,12})?$"
)
_SUFFIXES = r"\b(?:jr|sr|phd|ph d|md|m d|dr|esq|ii|iii)$"
_PARTICLES = "le|la|de|du|des|del|della|di|da|van|von|der|den|ten|ter|mc|mac|st|saint|el|al|o"


def fold(text: Column) -> Column:
    """Small letters without accents."""
    out = F.translate(F.lower(text), _ACCENTED, _PLAIN)
    for letter, plain in _DOUBLE.items():
        out = F.replace(out, F.lit(letter), F.lit(plain))
    return out


def words(text: Column) -> Column:
    """Letters and digits, single blanks between the words; apostrophes vanish."""
    joined = F.regexp_replace(text, r"['’`´]", "")
    return F.trim(F.regexp_replace(joined, r"[^\p{L}\p{N}]+", " "))


def _first_not_blank(*columns: Column) -> Column:
    return F.coalesce(*(F.when(column != "", column) for column in columns))


def edition_keys(editions: DataFrame) -> DataFrame:
    """The keys by which editions are compared.

    Args:
        editions: columns of clean/editions.

    Returns:
        `edition_id`, `isbn13`, `block` (null without an author), `given` (first given name),
        `author_id`, `main`, `subtitle` ('' without one), `volume` ('' without one), `numbers`.
    """
    return _with_titles(_with_authors(editions)).select(
        "edition_id", "isbn13", "block", "given", "author_id", "main", "subtitle", "volume", "numbers"
    )


def _with_authors(editions: DataFrame) -> DataFrame:
    """Add `block`, `given`, `author_id` of the first author named ("First Last, Second Author")."""
    first = F.trim(F.regexp_extract(F.coalesce("author", F.lit("")), r"^([^,;/]*)", 1))
    split_initials = F.regexp_replace(first, r"\b([A-Z])([A-Z])\b", "$1 $2")
    name = F.trim(F.regexp_replace(words(fold(split_initials)), _SUFFIXES, ""))
    surname = F.replace(F.regexp_extract(name, rf"((?:\b(?:{_PARTICLES})\s)*\S+)$", 1), F.lit(" "), F.lit(""))
    given_names = F.trim(F.regexp_replace(name, rf"\s*(?:\b(?:{_PARTICLES})\s)*\S+$", ""))
    return (
        editions.withColumn("surname", surname)
        .withColumn("given_names", given_names)
        .withColumn("given", F.substring_index("given_names", " ", 1))
        .withColumn("author_id", F.when(F.col("surname") != "", F.trim(F.concat_ws(" ", "surname", "given_names"))))
        .withColumn("block", F.when(F.col("surname") != "", F.concat_ws(" ", "surname", F.left("given", F.lit(1)))))
    )


def _with_titles(editions: DataFrame) -> DataFrame:
    """Add `main`, `subtitle`, `volume`, `numbers` of the title."""
    folded = fold(F.col("title"))
    bare = F.trim(F.regexp_replace(folded, r"[\(\[\{][^)\]}]*[\)\]\}]?", " "))
    bare = _first_not_blank(bare, folded)
    cut = F.regexp_replace(bare, r"\s*[:;]\s+|\s+[-–—/]\s+|(?<=\p{L}{4})\. +", "\u0001")
    parts = F.split(cut, "\u0001")
    # German library titles end in the form: "Der Schwarm. Roman."
    named = F.transform(parts, words)
    return (
        editions.withColumn("_parts", F.filter(named, lambda part: part != ""))
        .withColumn("_main", F.coalesce(F.get("_parts", F.lit(0)), words(folded), F.lit("")))
        .withColumn("main", _first_not_blank(_arabic(F.regexp_replace("_main", _ARTICLE, "")), F.col("_main"), folded))
        .withColumn("_rest", F.array_join(F.slice("_parts", 2, 20), " "))
        .withColumn("subtitle", F.when(F.rlike("_rest", F.lit(_FORM)), "").otherwise(F.col("_rest")))
        .withColumn("volume", F.ltrim(F.regexp_extract(folded, _VOLUME, 1), F.lit("0")))
        .withColumn("numbers", F.array_join(F.regexp_extract_all("main", F.lit(r"\d+"), F.lit(0)), " "))
    )


def _arabic(text: Column) -> Column:
    """Roman numbers at the end of a title in digits ("rocky iii")."""
    for roman, number in _ROMAN.items():
        text = F.regexp_replace(text, rf" {roman}$", f" {number}")
    return text


def title_nodes(keys: DataFrame, config: MatchConfig) -> DataFrame:
    """One row per distinct spelling in a block.

    Returns:
        `node` (smallest edition_id of the spelling), `block`, `part` (what is compared pair by
        pair: the block, or a piece of one that is larger than `block_size`), `given`, `main`,
        `subtitle`, `volume`, `numbers`, `lone_subtitle` (whether all subtitles of this main
        title in the block are one).
    """
    spelling = ["block", "given", "main", "subtitle", "volume", "numbers"]
    nodes = keys.where(F.col("block").isNotNull()).groupBy(*spelling).agg(F.min("edition_id").alias("node"))
    per_main = Window.partitionBy("block", "main")
    subtitle = F.when(F.col("subtitle") != "", F.col("subtitle"))
    low, high = F.min(subtitle).over(per_main), F.max(subtitle).over(per_main)
    lone = low.isNull() | _same_subtitle(low, high, config)
    return _cut_blocks(nodes.withColumn("lone_subtitle", lone), config)


def _cut_blocks(nodes: DataFrame, config: MatchConfig) -> DataFrame:
    """Add `part`: blocks over the bound are cut by first word, then in the order of their titles."""
    in_block = F.count("*").over(Window.partitionBy("block"))
    first_word = F.concat_ws("|", "block", F.substring_index("main", " ", 1))
    cut = nodes.withColumn("part", F.when(in_block <= config.block_size, F.col("block")).otherwise(first_word))
    in_part = F.row_number().over(Window.partitionBy("part").orderBy("main", "subtitle", "node")) - 1
    piece = F.floor(in_part / config.block_size)
    return cut.withColumn("part", F.when(piece == 0, F.col("part")).otherwise(F.concat_ws("#", "part", piece)))


def _same_subtitle(a: Column, b: Column, config: MatchConfig) -> Column:
    begins = F.startswith(a, b) | F.startswith(b, a)
    return begins | (F.jaro_winkler_similarity(a, b) >= config.subtitle_similarity)


def scored_pairs(nodes: DataFrame, config: MatchConfig) -> DataFrame:
    """Pairs of nodes that are the same work.

    Args:
        nodes: from `title_nodes`.

    Returns:
        `a`, `b` (node ids), `score`: Jaro-Winkler of the main titles, 0 to 1.
    """
    a, b = nodes.alias("a"), nodes.alias("b")
    pairs = a.join(b, (F.col("a.part") == F.col("b.part")) & (F.col("a.node") < F.col("b.node")))
    score = F.jaro_winkler_similarity(F.col("a.main"), F.col("b.main"))
    return (
        pairs.where(_compatible())
        .where(_near_mains(config))
        .withColumn("score", score)
        .where(F.col("score") >= config.title_similarity)
        .where(_subtitles_agree(config))
        .select(F.col("a.node").alias("a"), F.col("b.node").alias("b"), "score")
    )


def _compatible() -> Column:
    """Nothing speaks against it: numbers, volumes, given names."""
    volumes = (F.col("a.volume") == F.col("b.volume")) | (F.col("a.volume") == "") | (F.col("b.volume") == "")
    initials = F.least(F.length("a.given"), F.length("b.given")) <= 1
    begins = F.startswith("a.given", "b.given") | F.startswith("b.given", "a.given")
    givens = initials | begins | (F.levenshtein("a.given", "b.given", 2) >= 0)
    return volumes & (F.col("a.numbers") == F.col("b.numbers")) & givens


def _near_mains(config: MatchConfig) -> Column:
    """Equal, or few edits apart: Jaro-Winkler alone forgives too much after a long common start."""
    longer = F.greatest(F.length("a.main"), F.length("b.main"))
    shorter = F.least(F.length("a.main"), F.length("b.main"))
    edits = F.levenshtein("a.main", "b.main")
    near = (shorter >= config.fuzzy_length) & (longer - shorter <= longer * config.edits_share)
    return (F.col("a.main") == F.col("b.main")) | (near & (edits <= longer * config.edits_share))


def _subtitles_agree(config: MatchConfig) -> Column:
    """Both alike, or one has none and the main title has but one subtitle in its block."""
    bare = (F.col("a.subtitle") == "") | (F.col("b.subtitle") == "")
    lone = F.col("a.lone_subtitle") & F.col("b.lone_subtitle")
    return F.when(bare, lone | (F.col("a.subtitle") == F.col("b.subtitle"))).otherwise(
        _same_subtitle(F.col("a.subtitle"), F.col("b.subtitle"), config)
    )
