"""Countries as readers write them, to ISO 3166-1 codes: the same for training (Spark) and for the service."""

# ruff: noqa: E501 - tables read better in long lines
from __future__ import annotations

import re

COUNTRY_NAMES: dict[str, str] = {
    name: code
    for code, names in {
        "US": "usa|us|u.s.a.|u.s.|united states|united states of america|america|u s a|california|texas|new york",
        "GB": "united kingdom|uk|u.k.|great britain|england|scotland|wales|northern ireland|britain",
        "CA": "canada|ontario|british columbia|quebec|alberta", "AU": "australia", "NZ": "new zealand", "IE": "ireland|eire",
        "DE": "germany|deutschland|alemania|allemagne", "AT": "austria|österreich|oesterreich",
        "CH": "switzerland|schweiz|suisse|svizzera", "FR": "france", "ES": "spain|españa|espana|catalunya|catalonia|galicia",
        "PT": "portugal", "IT": "italy|italia", "NL": "netherlands|the netherlands|holland|nederland", "LU": "luxembourg",
        "BE": "belgium|belgië|belgique", "DK": "denmark|danmark", "SE": "sweden|sverige", "NO": "norway|norge",
        "FI": "finland|suomi", "IS": "iceland", "PL": "poland|polska", "CZ": "czech republic|czechia", "SK": "slovakia",
        "HU": "hungary", "RO": "romania", "BG": "bulgaria", "GR": "greece|hellas", "TR": "turkey|türkiye", "HR": "croatia",
        "SI": "slovenia", "RS": "serbia|yugoslavia", "BA": "bosnia and herzegovina", "MK": "macedonia", "AL": "albania",
        "EE": "estonia", "LV": "latvia", "LT": "lithuania", "RU": "russia|russian federation", "UA": "ukraine",
        "BY": "belarus", "MT": "malta", "CY": "cyprus", "AD": "andorra", "MC": "monaco", "MX": "mexico|méxico",
        "BR": "brazil|brasil", "AR": "argentina", "CL": "chile", "PE": "peru", "CO": "colombia", "VE": "venezuela",
        "UY": "uruguay", "EC": "ecuador", "BO": "bolivia", "PY": "paraguay", "CR": "costa rica", "PA": "panama",
        "GT": "guatemala", "HN": "honduras", "SV": "el salvador", "NI": "nicaragua", "CU": "cuba", "PR": "puerto rico",
        "DO": "dominican republic", "JM": "jamaica", "TT": "trinidad and tobago", "JP": "japan", "CN": "china|p.r.china",
        "HK": "hong kong", "TW": "taiwan", "KR": "south korea|korea", "SG": "singapore", "MY": "malaysia",
        "PH": "philippines", "ID": "indonesia", "TH": "thailand", "VN": "vietnam", "IN": "india", "PK": "pakistan",
        "BD": "bangladesh", "LK": "sri lanka", "NP": "nepal", "IR": "iran", "IQ": "iraq", "IL": "israel", "LB": "lebanon",
        "JO": "jordan", "SY": "syria", "SA": "saudi arabia", "AE": "united arab emirates|uae", "KW": "kuwait",
        "QA": "qatar", "EG": "egypt", "MA": "morocco", "DZ": "algeria", "TN": "tunisia", "ZA": "south africa",
        "NG": "nigeria", "KE": "kenya", "GH": "ghana", "ET": "ethiopia", "ZW": "zimbabwe", "TZ": "tanzania",
        "UG": "uganda", "SN": "senegal", "CM": "cameroon", "KZ": "kazakhstan", "GE": "georgia", "AM": "armenia",
    }.items()
    for name in names.split("|")
}  # fmt: skip
COUNTRY_NAMES |= {code.lower(): code for code in COUNTRY_NAMES.values()}

_QUOTES_AND_LEAD = re.compile(r'["\\]|^[\s.]+')


def country_name(text: str) -> str:
    """A country as written, in small letters without quotes and blanks around it."""
    return _QUOTES_AND_LEAD.sub("", text.lower()).strip()


def country_code(country: str | None, location: str | None = None) -> str | None:
    """ISO 3166-1 code of a country as written, or of what follows the last comma of a location; None when unknown."""
    text = country if country is not None else location and location.rpartition(",")[2]
    return COUNTRY_NAMES.get(country_name(text)) if text else None
