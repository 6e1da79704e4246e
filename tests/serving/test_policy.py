import pytest

from bookworks.errors import SettingError
from bookworks.settings import Settings
from serving import run
from serving.bundles import BundleKeeper
from serving.catalogue import Catalogue
from serving.policy import BlockList, Policy, load
from serving.rules import Rules, limits_of
from tests.serving.fakes import served, settings


def written(tmp_path, text):
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    return path


def test_the_shipped_rules_differ_from_none_in_what_every_slate_should_have():
    shipped, off = load(), Policy()
    assert (shipped.limits.author, shipped.limits.series, shipped.series_in_order) == (3, 2, True)
    assert shipped.model_copy(update={"limits": off.limits, "series_in_order": False}) == off


def test_a_file_may_leave_out_what_it_does_not_change(tmp_path):
    policy = load(written(tmp_path, "limits: {author: 3}\nblocked: [{name: family, books: ['w001']}]\nrelax: []\n"))
    assert (policy.limits.author, policy.limits.series, policy.relax) == (3, None, ())
    assert policy.blocked == (BlockList(name="family", books=("w001",)),)
    assert load(written(tmp_path, "")) == Policy()


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("limits: {authors: 3}", "limits.authors"),
        ("limits: {author: -1}", "limits.author"),
        ("limits: {author: '3'}", "limits.author"),
        ("limits: {author: true}", "limits.author"),
        ("limit: {}", "limit"),
        ("series_in_order: 1", "series_in_order"),
        ("relax: [author, year]", "relax.1"),
        ("relax: [author, author]", "the file"),
        ("freshness: {places: 3, half_life_years: 0}", "freshness.half_life_years"),
        ("exploration: {share: 1.5}", "exploration.share"),
        ("exploration: {share: 0.6}\npromoted: {share: 0.6}", "the file"),
        ("blocked: [{name: x}]", "blocked.0"),
        ("blocked: [{books: [w1]}]", "blocked.0.name"),
        ("blocked: [{name: x, books: [9780441478125]}]", "blocked.0.books.0"),
        ("blocked: [{name: x, books: [w1], countries: [Germany]}]", "blocked.0.countries.0"),
        ("blocked: [{name: x, books: [w1], countries: [DE], countries_except: [US]}]", "blocked.0"),
        ("blocked: [{name: x, books: [a]}, {name: x, books: [b]}]", "the file"),
        ("[]", "the file"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, where):
    with pytest.raises(SettingError, match="wrong at") as caught:
        load(written(tmp_path, text))
    assert caught.value.what.endswith(f"wrong at {where}")
    assert caught.value.allowed
    assert "rules.yaml" in caught.value.todo


@pytest.mark.parametrize("text", ["limits: [", "limits: {author: 1}\nlimits: {author: 2}", "a: \x00"])
def test_what_is_no_yaml_or_says_a_thing_twice_is_refused(tmp_path, text):
    with pytest.raises(SettingError, match="cannot be read"):
        load(written(tmp_path, text))
    with pytest.raises(SettingError, match="cannot be read"):
        load(tmp_path / "nowhere.yaml")


def test_the_service_does_not_start_with_wrong_rules(tmp_path):
    with pytest.raises(SettingError, match="relax"):
        BundleKeeper(Settings(state_dir=tmp_path, rules_file=written(tmp_path, "relax: [all]")))


@pytest.mark.parametrize(
    ("fields", "country", "age", "holds"),
    [
        ({}, None, None, True),
        ({"countries": ("DE",)}, "DE", None, True),
        ({"countries": ("DE",)}, "US", None, False),
        ({"countries": ("DE",)}, None, None, True),
        ({"countries": ("DE",), "when_unknown": "show"}, None, None, False),
        ({"countries_except": ("US",)}, "US", None, False),
        ({"countries_except": ("US",)}, "DE", None, True),
        ({"under_age": 18}, None, 17, True),
        ({"under_age": 18}, None, 18, False),
        ({"under_age": 18}, None, None, True),
        ({"under_age": 18, "when_unknown": "show"}, None, None, False),
        ({"under_age": 18, "countries": ("DE",)}, "US", 10, False),
        ({"under_age": 18, "countries": ("DE",)}, "DE", 30, False),
    ],
)
def test_for_whom_a_list_holds(fields, country, age, holds):
    assert BlockList(name="x", books=("w1",), **fields).holds_for(country, age) is holds


def test_the_bundle_says_what_the_file_leaves_open(tiny_bundle):
    catalogue = served(tiny_bundle).catalogue

    def limits(bundled, **own):
        made = limits_of(Policy.model_validate({"limits": own}), bundled, catalogue)
        return {one.name: one.most for one in made}

    assert limits({"max_per_author": 3}) == {"author": 3, "series": 3}
    assert limits({"max_per_author": 3, "max_per_series": 1}) == {"author": 3, "series": 1}
    assert limits({}) == {}
    assert limits({"max_per_author": 3}, author=0, series=2, subject=4) == {"series": 2, "subject": 4}


def test_lists_find_their_works_by_any_id_author_and_subject(tiny_bundle):
    one = served(tiny_bundle)
    lists = [
        {"name": "books", "books": ["w001-e0", "w002", "nothing"]},
        {"name": "author", "authors": ["Pen Name"]},
        {"name": "subject", "subjects": ["CRIME", "nothing"]},
    ]
    rules = Rules.of(Policy.model_validate({"blocked": lists}), one.bundle, Catalogue(one.bundle))
    books, author, subject = (blocked.works.tolist() for blocked in rules.blocked)
    assert books == [1, 2]
    assert author == [i for i in range(120) if i % 15 == 6]
    assert subject == [i for i in range(120) if i % 5 == 0]


def test_wrong_rules_end_the_start_with_one_message(tmp_path, monkeypatch):
    path = written(tmp_path, "relax: [all]")
    monkeypatch.setattr(run, "get_settings", lambda: settings(rules_file=path))
    monkeypatch.setattr(run, "check_address", lambda _: pytest.fail("the rules are looked at first"))
    with pytest.raises(SettingError, match="relax"):
        run.serve()
