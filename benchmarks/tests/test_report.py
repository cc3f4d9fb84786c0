"""The page and the README tables, from results made by hand."""

import base64
import re
import shutil
import struct
import zlib
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tenfold_benchmarks.report import render
from tenfold_benchmarks.results import Entry, read_all, save
from tenfold_benchmarks.summary import rows

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def png(width: int, height: int) -> str:
    """A grey picture, encoded without any library."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    lines = zlib.compress((b"\x00" + b"\x80" * width) * height)
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", lines) + chunk(b"IEND", b"")
    return base64.b64encode(data).decode()


def write(results: Path, paper: str, claim: str, seed: int, *, figures: int = 0, **changes: object) -> None:
    record = {
        "paper": paper,
        "claim": claim,
        "scale": "cpu",
        "seed": seed,
        "title": f"{claim} says <this> & that",
        "source": "section 1",
        "published": None,
        "known_gap": None,
        "error": None,
        "traceback": None,
        "passed": True,
        "criterion": "ours < baseline | always",
        "quantity": "error (%)",
        "ours": 1.0 + seed,
        "baseline": 9.0,
        "values": {"steps": 3, "loss": "nan", "a rather long name of a value that was measured": 0.123456},
        "tables": [
            {"name": "By width", "columns": [f"column {i}" for i in range(12)], "rows": [list(range(12))] * 3}
        ],
        "seconds": 1.5,
        "peak_memory_mb": 100.0,
        "device": "cpu",
        "device_name": "A processor",
        "torch": "2.11.0",
        "python": "3.11.7",
        "system": "Linux x86_64",
        "git_commit": "0123456789" * 4,
        "code_hash": "0",
        "started_at": "2026-01-02T03:04:05+00:00",
        **changes,
    }
    pictures = [
        {"name": f"curve-{i}", "alt": f"Curve {i} of {claim}.", "png": png(1200, 500)} for i in range(figures)
    ]
    save(results, Entry(paper, claim, str(record["scale"]), seed), record, pictures)


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "results"
    for seed in range(3):
        write(folder, "alpha", "A1", seed, figures=2 if seed == 0 else 0)
        write(folder, "alpha", "A2", seed, passed=seed > 0, ours=20.0 - seed, published=3.25)
        write(folder, "alpha", "A3", seed, passed=False, known_gap="too <short>", ours=300.0)
        write(folder, "beta", "B1", seed, passed=False, ours=-4.0)
    broken = "x" * 300 + " is too long for a line"
    write(
        folder,
        "beta",
        "B2",
        0,
        passed=False,
        error=broken,
        traceback=broken,
        ours=None,
        baseline=None,
        criterion=None,
    )
    write(folder, "beta", "B1", 0, scale="smoke")
    return folder


def page_of(results: Path) -> str:
    records, complaints = read_all(results, ["smoke", "cpu", "gpu", "paper"])
    return render(rows(records, {}), complaints)


class Tags(HTMLParser):
    """Checks that tags nest, and collects them."""

    VOID = frozenset({"meta", "link", "img", "br", "line", "circle", "ellipse"})

    def __init__(self, page: str):
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_well_formed_and_needs_nothing_else(results):
    page = page_of(results)
    tags = Tags(page).seen
    ids = [attributes["id"] for _, attributes in tags if attributes.get("id")]
    assert len(ids) == len(set(ids))
    targets = [attributes["href"] for tag, attributes in tags if tag == "a"]
    assert all(target.startswith("#") and target[1:] in ids for target in targets)
    sources = [
        attributes.get("src") or attributes.get("href")
        for tag, attributes in tags
        if tag in {"img", "link", "script"}
    ]
    assert all(source is None or source.startswith("data:") for source in sources)
    assert not re.search(r"https?://", page)
    assert [a["alt"] for tag, a in tags if tag == "img"] == ["Curve 0 of A1.", "Curve 1 of A1."]


def test_the_page_says_what_was_measured(results):
    page = page_of(results)
    for text in (
        "A1 says &lt;this&gt; &amp; that",
        "2.0 ± 1.0",
        "holds (3 of 3)",
        "2 of 3 seeds",
        "known gap",
        "too &lt;short&gt;",
        "does not hold",
        "not published",
        "3.25",
        "uv run tenfold reproduce alpha --claim A1 --scale cpu --seeds 3",
        "A processor",
        "0123456789" * 4,
        "2.11.0",
        "2026-01-02",
    ):
        assert text in page, text
    assert "<this>" not in page


def test_stale_and_unmeasured_claims_are_told(toys, here, results):
    toys.paper(
        "alpha",
        '@claim("A1", "Now", source="s")\ndef a1(scale, seed): ...\n@claim("A9", "Later", source="s")\ndef a9(scale, seed): ...\n',
    )
    code, output, errors = here("report", "--results", str(results), "--out", "page.html")
    assert code == 0, errors
    page = (toys.folder / "page.html").read_text()
    assert f"report: {toys.folder / 'page.html'}" in output
    assert "Its code has changed since it was measured." in page
    assert re.search(r"<b>A9</b>.*?not measured", page, re.DOTALL)


def test_a_damaged_result_is_told_on_the_page(here, results):
    (results / "cpu/alpha/A1-seed1.json").write_text("{")
    code, output, _ = here("report", "--results", str(results))
    assert code == 0
    assert "A1-seed1.json is not valid JSON" in output
    assert "A1-seed1.json is not valid JSON" in Path("report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scale", "huge"], "unknown scale 'huge'"),
        (["--scale", "gpu"], "no results of any paper at scale gpu"),
        (["gamma"], "unknown paper 'gamma'"),
        (["--check"], "--check goes with --readme FILE"),
        (["--readme", "nowhere.md"], "there is no such file"),
    ],
)
def test_bad_arguments_of_report(here, results, arguments, message):
    code, _, errors = here("report", *arguments, "--results", str(results))
    assert code == 2
    assert message in errors


README = """# Alpha
<!-- tenfold:claims alpha cpu -->
old
<!-- /tenfold:claims -->
between
<!-- tenfold:claims * smoke -->
<!-- /tenfold:claims -->
<!-- tenfold:claims gamma gpu --><!-- /tenfold:claims -->
after
"""


def test_readme_tables_are_renewed_and_checked(here, results, tmp_path):
    one, two = tmp_path / "ONE.md", tmp_path / "TWO.md"
    for file in (one, two):
        file.write_text(README)
    command = ("report", "--results", str(results), "--readme", str(one), str(two))
    code, output, _ = here(*command, "--check")
    assert code == 1
    assert output.count("out of date") == 2
    assert one.read_text() == README
    assert here(*command)[0] == 0
    text = one.read_text()
    assert (
        "| **A2** A2 says &lt;this> & that | ours &lt; baseline \\| always | 19.0 ± 1.0 (error (%)) | 9 | 3.25 | 2 of 3 seeds |"
        in text
    )
    assert "| beta | **B1**" in text
    assert "No results yet: run `uv run tenfold reproduce gamma --scale gpu`." in text
    assert text.startswith("# Alpha\n")
    assert "\nbetween\n" in text
    assert text.endswith("after\n")
    assert "\nold\n" not in text
    code, output, _ = here(*command, "--check")
    assert code == 0
    assert output.count("up to date") == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing here", "has no line <!-- tenfold:claims"),
        (
            "\n<!-- tenfold:claims alpha cpu -->\n",
            "README.md:2: the marker <!-- tenfold:claims alpha cpu --> is not closed",
        ),
        ("<!-- tenfold:claims a cpu -->" * 2 + "<!-- /tenfold:claims -->", "README.md:1: the marker"),
        (
            "<!-- tenfold:claims alpha cup --><!-- /tenfold:claims -->",
            "README.md:1: unknown scale 'cup'. Did you mean cpu",
        ),
    ],
)
def test_bad_markers_are_named(here, results, tmp_path, text, message):
    (tmp_path / "README.md").write_text(text)
    code, _, errors = here("report", "--results", str(results), "--readme", str(tmp_path / "README.md"))
    assert code == 2
    assert message in errors
    assert (tmp_path / "README.md").read_text() == text


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("there is no chromium here")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    arguments = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-dev-shm-usage",
    ]
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield running
        running.close()


@pytest.fixture
def opened(browser, results, tmp_path):
    """Open the page at a width in a colour scheme; afterwards nothing may have been complained of or asked for."""
    (tmp_path / "report.html").write_text(page_of(results))
    complaints, contexts = [], []

    def open_page(width: int, scheme: str = "light"):
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request", lambda r: None if r.url.startswith(("file:", "data:")) else complaints.append(r.url)
        )
        page.goto((tmp_path / "report.html").as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 700, 1280])
def test_no_page_scrolls_sideways_and_every_picture_is_described(opened, width):
    page = opened(width)
    for fold in page.locator("details").all():
        fold.evaluate("fold => fold.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    pictures = page.locator("img").evaluate_all(
        "all => all.map(i => [i.alt, i.complete && i.naturalWidth > 0])"
    )
    assert pictures == [["Curve 0 of A1.", True], ["Curve 1 of A1.", True]]


@pytest.mark.slow
def test_tables_sort_by_click_and_by_keyboard(opened):
    page = opened(1280)
    table = page.locator("section:has(#scale-cpu) table")
    head = table.locator("th", has_text="Ours")

    def order():
        return table.locator("tbody tr td:nth-child(2) a").all_inner_texts()

    assert order() == ["A1", "A2", "A3", "B1", "B2"]
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert order() == ["B1", "A1", "A2", "A3", "B2"]
    page.keyboard.press("Enter")  # the button has the focus
    assert head.get_attribute("aria-sort") == "descending"
    assert [x for x in order() if x != "B2"] == ["A3", "A2", "A1", "B1"]
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")  # the column before: Criterion
    assert head.get_attribute("aria-sort") is None
    assert table.locator("th[aria-sort]").inner_text() == "Criterion"


@pytest.mark.slow
def test_light_and_dark_follow_the_system_and_the_switch(opened):
    colours = {}
    for scheme in ("light", "dark"):
        page = opened(1280, scheme)
        colours[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.locator("#theme").click()
        other = "dark" if scheme == "light" else "light"
        chosen = f"document.documentElement.dataset.theme === '{other}'"
        page.wait_for_function(chosen)
        page.reload()
        page.wait_for_function(chosen)
    assert colours["light"] != colours["dark"]


@pytest.mark.slow
def test_filters_hide_rows_and_details(opened):
    page = opened(390)
    page.locator("select[name=paper]").select_option("beta")
    page.locator("select[name=verdict]").select_option("fails")
    assert page.locator("tbody tr[data-paper]:visible").count() == 1
    assert page.locator("article:visible h3").all_inner_texts() == ["B1B1 says <this> & that"]
    assert page.locator(".filters output").inner_text() == "1 claim shown"


@pytest.mark.slow
def test_the_command_is_copied(opened):
    page = opened(1280)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    button = page.locator("article#cpu-alpha-A1 button.copy")
    button.click()
    # The browser answers the write in its own time, and later on a busy machine.
    page.locator("article#cpu-alpha-A1 button.copy", has_text="Copied").wait_for(timeout=10_000)
    assert page.evaluate("navigator.clipboard.readText()") == (
        "uv run tenfold reproduce alpha --claim A1 --scale cpu --seeds 3"
    )
