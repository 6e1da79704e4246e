"""Words from which titles and names are made. A title is a pattern over concepts, so that it can be translated.

Those of `simulation.vocabulary` that come most often; it makes further ones.
"""

from __future__ import annotations

LANGUAGES = ("en", "fr", "de", "es")

# One row is one concept, in the order of LANGUAGES. Many have accents: these are what encodings break.
NOUNS: tuple[tuple[str, str, str, str], ...] = (
    ("River", "Fleuve", "Fluß", "Río"), ("Winter", "Hiver", "Winter", "Invierno"),
    ("Garden", "Jardin", "Garten", "Jardín"), ("Shadow", "Ombre", "Schatten", "Sombra"),
    ("Key", "Clé", "Schlüssel", "Llave"), ("Mirror", "Miroir", "Spiegel", "Espejo"),
    ("House", "Maison", "Haus", "Casa"), ("Island", "Île", "Insel", "Isla"),
    ("Teacher", "Maître", "Lehrer", "Maestro"), ("Forest", "Forêt", "Wald", "Bosque"),
    ("Bridge", "Pont", "Brücke", "Puente"), ("Stranger", "Étranger", "Fremde", "Extraño"),
    ("Fire", "Feu", "Feuer", "Fuego"), ("Sea", "Mer", "Meer", "Mar"),
    ("Night", "Nuit", "Nacht", "Noche"), ("Letter", "Lettre", "Brief", "Carta"),
    ("Child", "Enfant", "Kind", "Niño"), ("Doctor", "Médecin", "Ärztin", "Médico"),
    ("Tower", "Tour", "Türme", "Torre"), ("Queen", "Reine", "Königin", "Reina"),
    ("King", "Roi", "König", "Rey"), ("Summer", "Été", "Sommer", "Verano"),
    ("Truth", "Vérité", "Wahrheit", "Verdad"), ("Liar", "Menteur", "Lügner", "Mentiroso"),
    ("Heart", "Cœur", "Herz", "Corazón"), ("Dream", "Rêve", "Traum", "Sueño"),
    ("Promise", "Promesse", "Versprechen", "Promesa"), ("Storm", "Tempête", "Stürme", "Tormenta"),
    ("Detective", "Détective", "Detektiv", "Detective"), ("Machine", "Machine", "Maschine", "Máquina"),
    ("Star", "Étoile", "Stern", "Estrella"), ("Dragon", "Dragon", "Drache", "Dragón"),
    ("Sword", "Épée", "Schwert", "Espada"), ("City", "Cité", "Stadt", "Ciudad"),
    ("Kitchen", "Cuisine", "Küche", "Cocina"), ("Lover", "Amant", "Geliebte", "Amante"),
    ("Widow", "Veuve", "Witwe", "Viuda"), ("Murder", "Meurtre", "Mörder", "Asesinato"),
    ("Secret", "Secret", "Geheimnis", "Secreto"), ("Voyage", "Traversée", "Überfahrt", "Travesía"),
    ("Mountain", "Montagne", "Gebirge", "Montaña"), ("Song", "Mélodie", "Lied", "Canción"),
    ("Silence", "Silence", "Stille", "Silencio"), ("Road", "Chemin", "Straße", "Camino"),
    ("Snow", "Neige", "Schnee", "Nieve"), ("Glass", "Verre", "Gläser", "Cristal"),
    ("Memory", "Mémoire", "Gedächtnis", "Memoria"), ("Orchard", "Verger", "Obstgärten", "Huerto"),
    ("Clockmaker", "Horloger", "Uhrmacher", "Relojero"), ("Heir", "Héritier", "Erbe", "Heredero"),
)  # fmt: skip

# {0} and {1} are nouns, {2} is a place.
PATTERNS: dict[str, tuple[str, ...]] = {
    "en": ("The {0} and the {1}", "{0} of {2}", "The {0} in the {1}", "A {0} without a {1}", "The {1} of the {0}",
           "The Last {0} of {2}", "{0}, {1}"),
    "fr": ("{0} et {1}", "{0} de {2}", "{0} dans {1}", "{0} sans {1}", "{1} à {0}", "{0} à {2}", "{0}, {1}"),
    "de": ("{0} und {1}", "{0} von {2}", "{0} für {1}", "{0} ohne {1}", "{1} über {0}", "{0} nach {2}", "{0}, {1}"),
    "es": ("{0} y {1}", "{0} de {2}", "{0} según {1}", "{0} sin {1}", "{1} más {0}", "{0} en {2}", "{0}, {1}"),
}  # fmt: skip

PLACES = (
    "Avalon", "Lisbon", "Kraków", "Malmö", "Zürich", "Córdoba", "Orléans", "Harrow", "Dunmore", "Elsinore", "Tromsø",
    "Marrakesh", "Saint-Malo", "Whitby", "Odessa", "Québec", "Tallinn", "Bath", "Galway", "Ravenna", "Perth",
    "Kyoto", "Bergen", "Ostend", "Salamanca", "Trieste", "Antibes", "Lübeck", "Dover", "Valparaíso", "Nîmes", "Bray",
)  # fmt: skip

SUBTITLES = {"en": "A Novel", "fr": "roman", "de": "Roman", "es": "novela"}

FIRST_NAMES = (
    "Anna", "José", "Maeve", "Zoë", "Liam", "Günther", "Noor", "Ivan", "Chloé", "Peter", "Ruth", "André", "Inés",
    "Tomás", "Greta", "Olu", "Hélène", "Sven", "Mary", "Karl", "Aisha", "Jürgen", "Paula", "Miles", "Renée", "Edith",
    "Hugo", "Lucía", "Björn", "Ada", "Viktor", "Fiona", "Raúl", "Simone", "Walter", "Yara", "Émile", "Kate",
)  # fmt: skip
LAST_NAMES = (
    "Ashford", "Núñez", "Keller", "Brontë-Hale", "O'Shea", "Müller", "Okafor", "Petrov", "Lefèvre", "Marsh", "Winter",
    "García", "Lindqvist", "Dubois", "Hartmann", "Castellanos", "Grey", "Moreau", "Schäfer", "Rossi", "Fenwick",
    "Håkansson", "Delacroix", "Tanaka", "Vaughan", "Søndergaard", "Ibáñez", "Whitlock", "Kowalski", "Nguyen", "Blythe",
    "Fournier", "Königsberg", "Adeyemi", "Carver", "Peña", "Thorne", "Beaumont", "Larkin", "Voß",
)  # fmt: skip

GENRES = (
    "fantasy", "crime", "romance", "science fiction", "history", "literary", "horror", "travel", "cookery", "biography",
    "young adult", "poetry",
)  # fmt: skip

PUBLISHERS = (
    "Harbour & Sons", "Éditions du Pont", "Nachtigall Verlag", "Casa Abierta", "Fox & Quill", "Old Mill Press",
    "Meridian Paperbacks", "Blue Lamp", "Librairie Générale", "Süd Verlag", "Penhallow", "Tern Books",
)  # fmt: skip

COUNTRIES = (
    ("usa", "en", 0.42), ("united kingdom", "en", 0.12), ("canada", "en", 0.08), ("germany", "de", 0.12),
    ("france", "fr", 0.09), ("spain", "es", 0.08), ("australia", "en", 0.05), ("switzerland", "de", 0.04),
)  # fmt: skip
CITIES = ("springfield", "porto alegre", "münchen", "lyon", "cork", "malmö", "leeds", "zürich", "sevilla", "hobart")
