"""The report in a real browser: nothing is fetched, nothing complains, units and texts behave."""

import itertools
import time
from collections.abc import Generator
from pathlib import Path

import pytest
import torch
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

import contrasts
from browser import Browser, chromium
from tiny_models import tiny
from unrolled.inspect import report as looked_into
from unrolled.inspect import style
from unrolled.inspect.report import (
    Picture,
    RankedUnit,
    Report,
    Section,
    StateView,
    Table,
    TextView,
)

TEXT = 'the "quick" brown\nfox\tjumps over\n\nthe lazy dog'
UNITS = 5


def view(text: str, units: int = UNITS) -> TextView:
    """Two layers of two states; unit u of state s at token t is sin((s + 2)(u + 1) t / 7)."""
    vocabulary = sorted({*text, *"abcdef"})
    steps = len(text)
    logits = torch.randn(steps, len(vocabulary), generator=torch.Generator().manual_seed(0))
    likely = logits.softmax(-1).topk(5)
    ids = torch.tensor([vocabulary.index(c) for c in text])
    chance = logits.softmax(-1)[:-1].gather(1, ids[1:].unsqueeze(1)).squeeze(1)
    states = [
        StateView(f"recurrent l{n // 2}", "hc"[n % 2], values(n, steps, units)) for n in range(4)
    ]
    ranked = {
        "inside quotes": (
            RankedUnit("recurrent l1", "c", 3, "AUC 0.93"),
            RankedUnit("recurrent l0", "h", 1, "AUC 0.71"),
        )
    }
    return TextView(
        tokens=list(text),
        ids=ids,
        unit="character",
        vocabulary=vocabulary,
        expected=likely.indices,
        chances=likely.values,
        came=chance,
        states=states,
        ranked=ranked,
        masks={"inside quotes": torch.tensor([4 <= t < 10 for t in range(steps)])},
    )


def values(state: int, steps: int, units: int) -> torch.Tensor:
    time = torch.arange(steps).unsqueeze(1)
    return torch.sin((state + 2) * (torch.arange(units) + 1) * time / 7)


def report(text: str, units: int = UNITS) -> Report:
    figure, axes = style.figure_with_axes(3)
    axes.plot([1, 0.5, 0.25])
    axes.set(xlabel="distance (steps)", ylabel="norm")
    about = "A unit tells <b>quotes</b>."
    long_words = "unbroken" * 30
    return Report(
        "A model <script>alert(1)</script>",
        "Two layers, and a word that has no end: " + long_words,
        (
            Section("neurons", "Neurons over text", about),
            Section(
                "gradients",
                "Gradient flow",
                "1 % is left after 40 steps.",
                "Vanishing",
                "warning",
                pictures=(Picture("gradients", figure, "The norm over the distance."),),
                tables=(Table.of("Numbers", [{"layer": long_words, "norm": 0.123456}]),),
                notes=("How it was measured.",),
            ),
            Section("health", "Training health", "Nothing to see.", "Healthy", "good"),
        ),
        view(text, units),
    )


@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Browser:
    browser.emulate()
    browser.open(report(TEXT).write(tmp_path)[0])
    return browser


_PICKERS = ("layer", "state", "unit")


def picked(browser: Browser) -> tuple[str, str, str]:
    layer, state, unit = (browser.css(f"#{name}").get_property("value") for name in _PICKERS)
    return str(layer), str(state), str(unit)


def shades(browser: Browser) -> list[int]:
    """The level of each token, negative where its colour is that below 0."""
    script = """return [...document.querySelectorAll("#text b")].map((b) => {
        const found = /level-(below|above)-(\\d+)/.exec(b.className);
        return found ? (found[1] === "below" ? -1 : 1) * Number(found[2]) : 0;
    })"""
    return browser.js(script)


def expected_shades(state: int, unit: int, text: str = TEXT) -> list[int]:
    """From the values themselves: quantised to 127ths of the largest, then to 12 levels."""
    own = values(state, len(text), UNITS)[:, unit]
    steps = (own / own.abs().max() * 127).round()
    levels = (steps.abs() / 127 * 12 + 0.5).floor() * steps.sign()
    return [int(level) for level in levels.tolist()]


def test_it_loads_without_a_complaint_and_fetches_nothing(page: Browser) -> None:
    # The logs come a moment after the events.
    time.sleep(0.3)
    asked = [url for url in page.requests() if not url.startswith("data:")]
    assert asked == [page.driver.current_url]
    assert page.complaints() == []
    assert page.driver.title == "A model <script>alert(1)</script>"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of all instruments, with their pictures and the equations."""
    made = looked_into(tiny(), "hello world\n" * 12, name="tiny")
    return made.write(tmp_path_factory.mktemp("whole"))[0]


def test_the_whole_report_loads_without_a_complaint(browser: Browser, whole: Path) -> None:
    browser.emulate()
    browser.open(whole)
    time.sleep(0.3)
    assert browser.complaints() == []
    assert [url for url in browser.requests() if not url.startswith("data:")] == [whole.as_uri()]
    assert len(browser.all("math")) == 1
    # Diagrams have taken their style: of the page's ink, not black by default.
    stroke = "return getComputedStyle(document.querySelector('.svg .box')).stroke"
    assert browser.js(stroke) == "rgb(28, 30, 33)"
    what_a_screen_reader_needs(browser)
    for width in (800, 360):
        nothing_overflows(browser, width)


def test_the_policy_keeps_foreign_scripts_and_requests_out(page: Browser) -> None:
    page.js("""
        const script = document.createElement("script");
        script.textContent = "window.ran = true";
        document.body.append(script);
        const image = new Image();
        image.src = "http://localhost:9/x.png";
        document.body.append(image);
    """)
    time.sleep(0.3)
    assert page.js("return window.ran") is None
    complaints = page.complaints()
    assert len(complaints) == 2, complaints
    assert all("Content Security Policy" in complaint for complaint in complaints)


def test_it_begins_with_the_best_unit_of_the_first_property(page: Browser) -> None:
    assert picked(page) == ("recurrent l1", "c", "3")
    assert shades(page) == expected_shades(3, 3)


def test_a_unit_is_picked_by_mouse(page: Browser) -> None:
    page.all("#ranked button")[1].click()
    assert picked(page) == ("recurrent l0", "h", "1")
    assert shades(page) == expected_shades(0, 1)
    pressed = [button.get_attribute("aria-pressed") for button in page.all("#ranked button")]
    assert pressed == ["false", "true"]
    Select(page.css("#layer")).select_by_visible_text("recurrent l1")
    Select(page.css("#state")).select_by_visible_text("c")
    assert picked(page) == ("recurrent l1", "c", "1")
    assert shades(page) == expected_shades(3, 1)


def test_what_a_unit_is_ranked_by_is_underlined(page: Browser) -> None:
    marked = "return [...document.querySelectorAll('#text .holds')].map((b) => +b.dataset.at)"
    assert page.js(marked) == [4, 5, 6, 7, 8, 9]
    assert page.words("#underlined") == "Underlined: inside quotes."
    Select(page.css("#layer")).select_by_visible_text("recurrent l0")
    assert page.js(marked) == []
    assert page.words("#underlined") == ""
    page.all("#ranked button")[1].click()
    assert page.js(marked) == [4, 5, 6, 7, 8, 9]


def test_a_unit_is_picked_by_keyboard(page: Browser) -> None:
    keys = ActionChains(page.driver)
    page.js("document.getElementById('layer').focus()")
    keys.send_keys(Keys.ARROW_UP, Keys.TAB, Keys.ARROW_UP, Keys.TAB).perform()
    assert picked(page) == ("recurrent l0", "h", "3")
    keys.send_keys(Keys.ARROW_UP, Keys.TAB).perform()
    assert picked(page) == ("recurrent l0", "h", "4")
    keys.send_keys(Keys.ARROW_LEFT, Keys.ARROW_LEFT).perform()
    assert picked(page) == ("recurrent l0", "h", "2")
    assert shades(page) == expected_shades(0, 2)
    keys.send_keys(Keys.TAB, Keys.ENTER).perform()
    assert picked(page) == ("recurrent l1", "c", "3")


@pytest.mark.parametrize(("typed", "unit"), [("2", "2"), ("99", "4"), ("-5", "0"), ("", "3")])
def test_a_number_outside_becomes_the_nearest_unit(page: Browser, typed: str, unit: str) -> None:
    field = page.css("#unit")
    field.send_keys(Keys.CONTROL, "a", Keys.NULL, typed or Keys.DELETE, Keys.TAB)
    assert picked(page) == ("recurrent l1", "c", unit)


def prediction(browser: Browser) -> tuple[list[str], str]:
    rows = [" ".join(row.text.split()) for row in browser.all("#expected li")]
    return rows, browser.words("#came")


def expected_prediction(at: int) -> tuple[list[str], str]:
    shown, names = view(TEXT), {" ": "space", "\n": "line end", "\t": "tab"}
    ids: list[int] = shown.expected[at].tolist()
    chances: list[float] = shown.chances[at].tolist()
    words = [names.get(shown.vocabulary[i], shown.vocabulary[i]) for i in ids]
    rows = [f"{word} {100 * p:.0f} %" for word, p in zip(words, chances, strict=True)]
    after = TEXT[at + 1]
    return rows, f"What came: {names.get(after, after)}, {100 * float(shown.came[at]):.0f} %"


def test_hovering_shows_what_was_expected_next(page: Browser) -> None:
    ActionChains(page.driver).move_to_element(page.all("#text b")[6]).perform()
    assert prediction(page) == expected_prediction(6)
    assert page.words("#context") == 'the "qu'
    value = float(values(3, len(TEXT), UNITS)[6, 3])
    assert page.words("#activation") == (
        f"character 7 of {len(TEXT)}: l1 c 3 is {'−' if value < 0 else '+'}{abs(value):.2f}"
    )


def test_what_came_is_marked_where_it_was_expected(page: Browser) -> None:
    for at in range(len(TEXT) - 1):
        page.js("document.querySelectorAll('#text b')[arguments[0]].click()", at)
        marked = [row.get_attribute("class") for row in page.all("#expected li")]
        came = view(TEXT).ids[at + 1]
        assert marked == ["did" if i == came else "" for i in view(TEXT).expected[at]]


def test_the_text_is_read_by_keyboard_and_aloud(page: Browser) -> None:
    page.js("document.getElementById('text').focus()")
    keys = ActionChains(page.driver)
    steps = [Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_DOWN, Keys.ARROW_LEFT, Keys.END]
    places = [1, 2, TEXT.index("x"), TEXT.index("o", 15), TEXT.index("\n\n")]
    # Once more: the empty line is shorter, the line after it keeps the start.
    steps += [Keys.HOME, Keys.ARROW_DOWN, Keys.PAGE_DOWN, Keys.PAGE_UP]
    places += [TEXT.index("fox"), TEXT.index("\n\n") + 1, TEXT.index("the lazy"), 0]
    for key, place in zip(steps, places, strict=True):
        keys.send_keys(key).perform()
        assert page.words("#activation").startswith(f"character {place + 1} of {len(TEXT)}:")
        assert page.js("return document.querySelector('.here').dataset.at") == str(place)
    keys.send_keys(Keys.ARROW_RIGHT).perform()
    rows, came = prediction(page)
    spoken = page.words("#spoken")
    assert spoken.startswith("h, unit 3 ")
    assert spoken.endswith(f"Expected next: {', '.join(rows)}. {came}")
    assert page.css("#spoken").get_attribute("aria-live") == "polite"


HARMLESS = {
    "script": "</script><script>window.ran = true</script><!-- <img src=x onerror=ran()> &amp;",
    "emoji": "a 👩‍👩‍👧 family 🎉 and é",
    "right to left": "hello שלום עולם\nمرحبا بالعالم abc",
    "controls": "a\x00b\x07c\x1b[31m\u202edesrever\u2066\u200b\ufeff\u2028",
}


@pytest.mark.parametrize("text", HARMLESS.values(), ids=HARMLESS)
def test_any_text_is_shown_harmlessly(browser: Browser, tmp_path: Path, text: str) -> None:
    browser.emulate()
    browser.open(report(text).write(tmp_path)[0])
    browser.js("document.getElementById('text').focus()")
    ActionChains(browser.driver).send_keys(*[Keys.ARROW_RIGHT] * len(text)).perform()
    time.sleep(0.2)
    assert browser.complaints() == []
    assert len([url for url in browser.requests() if not url.startswith("data:")]) == 1
    assert browser.js("return window.ran") is None
    assert browser.js("return document.querySelectorAll('#text *:not(p, span, b)').length") == 0
    assert len(browser.all("#text b")) == len(text)
    # What turns the direction of a line or has no shape of its own is shown by its number.
    shown = str(browser.js("return document.getElementById('text').textContent"))
    assert not set(shown) & set("\x00\x07\x1b\u202e\u2066\u200b\ufeff\u2028")
    directions = [line.get_attribute("dir") for line in browser.all("#text p")]
    assert set(directions) == {"auto"}


def test_a_hundred_thousand_characters(browser: Browser, tmp_path: Path) -> None:
    text = "".join(itertools.islice(itertools.cycle(TEXT + "\n"), 100_000))
    path = report(text, 256).write(tmp_path)[0]
    assert path.stat().st_size < 5_000_000
    browser.emulate()
    began = time.monotonic()
    browser.open(path)
    assert "of this state's 256 units are on this page" in browser.words("#unit-note")
    # Few of the characters have elements of their own, and those at the end once they are seen.
    assert 0 < browser.js("return document.querySelectorAll('#text b').length") < 20_000
    browser.js("document.getElementById('text').scrollTop = 1e9")
    time.sleep(0.3)
    last = browser.all("#text b")[-1]
    assert last.get_attribute("data-at") == "99999"
    ActionChains(browser.driver).move_to_element(last).perform()
    assert browser.words("#came") == "Here the text ends."
    spent = browser.js("""const began = performance.now();
        for (const value of [0, 1, 2, 3]) {
            const slider = document.getElementById("unit-slider");
            slider.value = value;
            slider.dispatchEvent(new Event("input"));
        }
        return performance.now() - began""")
    # Far above what it takes, and far below what a person would call stuck.
    assert spent < 4000
    assert time.monotonic() - began < 60
    assert browser.complaints() == []


def test_one_line_without_an_end(browser: Browser, tmp_path: Path) -> None:
    browser.emulate()
    browser.open(report("word " * 4_000, 8).write(tmp_path)[0])
    assert len(browser.all("#text p")) == 1
    assert 0 < browser.js("return document.querySelectorAll('#text b').length") < 10_000
    browser.js("document.getElementById('text').focus()")
    ActionChains(browser.driver).send_keys(Keys.END).perform()
    assert browser.words("#activation").startswith("character 20,000 of 20,000")


BACKGROUND = "return getComputedStyle(document.body).backgroundColor"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_system_and_the_switch(page: Browser, scheme: str) -> None:
    page.emulate(scheme=scheme)
    colours = {"light": "rgb(253, 253, 251)", "dark": "rgb(21, 23, 26)"}
    assert page.js(BACKGROUND) == colours[scheme]
    other = "dark" if scheme == "light" else "light"
    page.css(f"#theme label:has([value={other}])").click()
    assert page.js(BACKGROUND) == colours[other]
    page.css("#theme label:has([value=auto])").click()
    assert page.js(BACKGROUND) == colours[scheme]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out(page: Browser, scheme: str) -> None:
    page.emulate(scheme=scheme)
    assert {-12, 12} <= set(shades(page)), "the strongest colours are there"
    found = contrasts.of_texts(page)
    assert len(found) > 50
    assert found[0][0] >= contrasts.ASKED, found[0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_in_a_picture_stands_out(browser: Browser, whole: Path, scheme: str) -> None:
    browser.emulate(scheme=scheme)
    browser.open(whole)
    found = contrasts.in_pictures(browser)
    assert len(found) > 200
    assert found[0][0] >= contrasts.ASKED, found[0]


@pytest.mark.parametrize("width", [800, 360])
def test_nothing_overflows(page: Browser, width: int) -> None:
    nothing_overflows(page, width)


def nothing_overflows(page: Browser, width: int) -> None:
    page.emulate(width=width)
    assert page.js("return innerWidth") == width
    wide = page.js("return ['scrollWidth', 'clientWidth'].map((n) => document.documentElement[n])")
    assert wide[0] == wide[1]
    outside = """return [...document.querySelectorAll("body *")].filter((e) => {
        const box = e.getBoundingClientRect();
        return box.right > innerWidth + 1 && box.width > 1 && !e.parentElement.closest(".scroll");
    }).map((e) => e.outerHTML.slice(0, 100))"""
    assert page.js(outside) == []


def test_what_a_screen_reader_needs(page: Browser) -> None:
    what_a_screen_reader_needs(page)


def what_a_screen_reader_needs(page: Browser) -> None:
    levels = page.js("return [...document.querySelectorAll('h1,h2,h3')].map((h) => +h.tagName[1])")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert page.css("html").get_attribute("lang") == "en"
    for landmark in ("header", "main", "footer"):
        assert len(page.all(f"body > {landmark}")) == 1
    controls = page.all("select, input, button, [tabindex='0'], [role=img]")
    unnamed = [c.get_attribute("outerHTML") for c in controls if not c.accessible_name]
    assert unnamed == []
    ids = page.js("return [...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids))
    named = """return [
            ...document.querySelectorAll("[aria-labelledby], [aria-describedby], a[href^='#']")
        ].flatMap((e) => [e.getAttribute("aria-labelledby"), e.getAttribute("aria-describedby"),
            e.getAttribute("href")?.slice(1)])
        .filter((id) => id && !document.getElementById(id))"""
    assert page.js(named) == []
    assert page.js("return document.querySelectorAll('th:not([scope])').length") == 0
