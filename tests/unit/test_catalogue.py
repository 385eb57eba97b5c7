"""What pages say: each language says all of it, and the reader's wish decides which is spoken."""

from __future__ import annotations

import json

import pytest

from tiktok_linking.web.catalogue import (
    DEFAULT,
    LANGUAGES,
    PLACEHOLDER,
    PSEUDO,
    TEXTS,
    Language,
    Texts,
    language,
    language_for,
)

MOST_MINUTES = 24 * 60
"""The longest life of a session that is asked for: no page counts further."""
ALL = (*LANGUAGES, PSEUDO)


def texts(tag: str) -> Texts:
    return language(tag).texts


def forms(text: object) -> list[str]:
    return list(text.values()) if isinstance(text, dict) else [str(text)]


def placeholders(text: str) -> set[str]:
    return set(PLACEHOLDER.findall(text))


# -- complete -----------------------------------------------------------------------------------


def test_there_is_one_file_for_each_language_and_none_beside() -> None:
    assert {file.stem for file in TEXTS.iterdir()} == set(LANGUAGES)


@pytest.mark.parametrize("tag", ALL)
def test_a_language_has_the_keys_of_english_and_no_other(tag: str) -> None:
    assert set(texts(tag)) ^ set(texts(DEFAULT)) == set()


@pytest.mark.parametrize("tag", LANGUAGES)
def test_no_key_stands_twice_in_a_file(tag: str) -> None:
    """JSON would keep the last one in silence."""

    def each_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        assert len({key for key, _ in pairs}) == len(pairs)
        return dict(pairs)

    json.loads((TEXTS / f"{tag}.json").read_text("utf-8"), object_pairs_hook=each_once)


@pytest.mark.parametrize("tag", ALL)
def test_a_text_has_the_placeholders_of_english(tag: str) -> None:
    wrong = []
    for key, pattern in texts(DEFAULT).items():
        wanted = placeholders(" ".join(forms(pattern)))
        text = texts(tag)[key]
        if isinstance(text, str):
            wrong += [key] if placeholders(text) != wanted else []
            continue
        for category, form in text.items():
            # Words such as "one minute" and "two minutes" say the number themselves.
            may_lack = {"n"} if category in ("zero", "one", "two") else set()
            if not wanted - may_lack <= placeholders(form) <= wanted:
                wrong.append(f"{key}.{category}")
    assert wrong == []


@pytest.mark.parametrize("tag", ALL)
def test_a_text_with_a_number_has_each_form_that_the_language_needs(tag: str) -> None:
    categories = {language(tag).category(number) for number in range(MOST_MINUTES + 1)}

    for key, pattern in texts(DEFAULT).items():
        text = texts(tag)[key]
        assert isinstance(text, str) is isinstance(pattern, str), key
        if not isinstance(text, str):
            assert set(text) == categories, key


@pytest.mark.parametrize("tag", ALL)
def test_a_text_is_plain_words(tag: str) -> None:
    """No markup, which would be shown as it is; no loose brace; nothing forgotten."""
    for key, text in texts(tag).items():
        for form in forms(text):
            assert form == form.strip() != "", key
            assert not set("<>&") & set(form), key
            assert not set("{}") & set(PLACEHOLDER.sub("", form)), key


def test_translations_are_not_english_left_over() -> None:
    for tag in LANGUAGES.keys() - {DEFAULT}:
        same = [key for key, text in texts(tag).items() if text == texts(DEFAULT)[key]]
        assert same == [], tag


def test_the_made_up_language_is_two_fifths_longer() -> None:
    for key, text in texts(DEFAULT).items():
        for plain, stretched in zip(forms(text), forms(texts(PSEUDO)[key]), strict=True):
            assert 1.35 * len(plain) <= len(stretched) <= 1.4 * len(plain) + 5, key
            assert stretched != plain


# -- saying -------------------------------------------------------------------------------------


@pytest.fixture
def words() -> Language:
    made: Texts = {"plain": "a <b> & {name}", "count": {"one": "{n} day", "other": "{n} days"}}
    return Language("en", "ltr", LANGUAGES["en"][1], made)


def test_a_text_is_escaped_and_its_values_are_html_already(words: Language) -> None:
    assert words.say("plain", name="<i>x</i>") == "a &lt;b&gt; &amp; <i>x</i>"


def test_a_value_that_looks_like_a_placeholder_stays_as_it_is(words: Language) -> None:
    assert words.say("plain", name="{name}{n}{__class__}").endswith("{name}{n}{__class__}")


def test_a_value_that_is_missing_is_a_defect_and_no_hole(words: Language) -> None:
    with pytest.raises(KeyError):
        words.say("plain")
    with pytest.raises(KeyError):
        words.say("unknown")
    with pytest.raises(TypeError):
        words.say("count")
    with pytest.raises(TypeError):
        words.count("plain", 1)


@pytest.mark.parametrize(("number", "text"), [(1, "1 day"), (2, "2 days"), (0, "0 days")])
def test_a_number_chooses_its_form(words: Language, number: int, text: str) -> None:
    assert words.count("count", number) == text


@pytest.mark.parametrize(
    ("numbers", "category"),
    [
        ((0,), "zero"),
        ((1,), "one"),
        ((2,), "two"),
        ((3, 10, 103, 1110), "few"),
        ((11, 30, 99, 111, 1440), "many"),
        ((100, 101, 102, 200), "other"),
    ],
)
def test_arabic_counts_as_cldr_says(numbers: tuple[int, ...], category: str) -> None:
    assert {language("ar").category(number) for number in numbers} == {category}


# -- choosing -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("locale", "header", "tag"),
    [
        # The session's wish comes first.
        ("es", "ar", "es"),
        ("es-MX", "ar", "es"),
        ("AR-eg", "es", "ar"),
        ("en-XA", "es", PSEUDO),
        ("EN-xa", "es", PSEUDO),
        ("en-GB", "es", "en"),
        # What the session names and nobody speaks leaves it to the browser.
        ("de", "es;q=0.5, fr", "es"),
        ("eng", "ar", "ar"),
        (None, "ar", "ar"),
        (None, "de-DE, es-419;q=0.8, en;q=0.9", "en"),
        (None, "en;q=0.8, es;q=0.8", "en"),
        (None, "es;q=0.8, en;q=0.8", "es"),
        (None, "es ; q=1.000 , ar;q=0.999", "es"),
        (None, "ar;q=0, es;q=0.001", "es"),
        (None, "*, ar;q=0.5", "en"),
        (None, "ar, *;q=0.5", "ar"),
        (None, "en-XA, es;q=0.1", PSEUDO),
        # What cannot be read is nobody's wish, and no error.
        (None, "", "en"),
        (None, "ar;q=2", "en"),
        (None, "ar;q=nan, es;q=-1", "en"),
        (None, "ar;q=0.1234", "en"),
        (None, ";;;,,,=,q=1", "en"),
        (None, "\u202ear", "en"),
        ("", "es", "es"),
    ],
)
def test_the_language_is_the_sessions_else_the_browsers_else_english(
    locale: str | None, header: str, tag: str
) -> None:
    assert language_for(locale, header).tag == tag


def test_no_more_of_a_header_is_read_than_a_browser_sends() -> None:
    assert language_for(None, "de," * 100_000 + "es").tag == "en"
    assert language_for(None, "es" + ",de" * 100_000).tag == "es"


def test_only_the_language_that_is_read_is_loaded() -> None:
    """A cold start pays for one small file."""
    language.cache_clear()

    language_for("es", "ar, en")
    language_for(None, "es-ES")

    assert language.cache_info().currsize == 1
