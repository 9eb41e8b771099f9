"""The page in a headless browser: each kind of problem, errors, and a server that stops.

Needs Chromium and its driver (Debian: apt-get install chromium chromium-driver) and selenium."""

import base64
import contextlib
import itertools
import json
import shutil
import time

import numpy as np
import PIL.Image
import pytest
import soundfile
from serving_helpers import b64, png, predict, running, wav

from t2t_lite.serving.limits import Limits
from t2t_lite.serving.model import ExportedModel

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
if not (CHROMIUM and DRIVER):
    pytest.skip("no chromium and chromedriver: apt-get install chromium chromium-driver", allow_module_level=True)
webdriver = pytest.importorskip("selenium.webdriver", reason="no selenium: pip install '.[dev]'")

from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),  # a fake microphone that beeps
)
TIMEOUT = 20  # seconds


@pytest.fixture(scope="module")
def model(fake_export):
    return ExportedModel(fake_export)


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser, model):
    """An open page of a server. Afterwards checks that it requested no other address and logged no error."""
    with running(model) as port:
        page = Page(browser, port)
        yield page
        page.check()


class Page:
    """Actions of a user, and what the page shows."""

    def __init__(self, driver, port):
        self.driver, self.address = driver, f"http://127.0.0.1:{port}/"
        self._size(1000, 900)
        self._forget()
        driver.get(self.address)
        self.until(lambda: "step 7" in self.one("#model").text)

    def one(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def until(self, condition):
        end = time.monotonic() + TIMEOUT
        while not condition():
            assert time.monotonic() < end, self.one("body").text
            time.sleep(0.05)

    def answered(self):
        """Waits for all answers. Returns {problem: its card}."""
        self.until(lambda: "answer" in self.one("#status").text)
        return {card.get_attribute("data-problem").removeprefix("microworld_"): card for card in self.all(".card")}

    def trouble(self):
        """Waits for the alert. Returns its text."""
        self.until(lambda: self.one("#alert").is_displayed())
        return self.one("#alert-text").text

    def type(self, text):
        self.one("#text").clear()
        self.one("#text").send_keys(text, Keys.ENTER)

    def choose(self, path):
        self.one("#file").send_keys(str(path))

    def phone(self):
        self._size(360, 740)

    def check(self):
        errors = [e["message"] for e in self.driver.get_log("browser") if "ERR_CONNECTION_REFUSED" not in e["message"]]
        assert [e for e in errors if "status of" not in e] == []  # Chromium logs 4xx responses too
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                url = message["params"]["request"]["url"]
                assert url.startswith((self.address, "blob:", "data:")), url

    def _size(self, width, height):
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def _forget(self):
        self.driver.get("about:blank")
        self.driver.get_log("browser"), self.driver.get_log("performance")


def _open(page, card, kind):
    """Opens a section of a card with the keyboard."""
    card.find_element(By.CSS_SELECTOR, f".{kind} > summary").send_keys(Keys.ENTER)
    page.until(lambda: card.find_element(By.CSS_SELECTOR, f".{kind}").get_attribute("open"))


def _painted(page, canvas):
    """Returns the number of colours on a canvas."""
    script = """
        const c = arguments[0], d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data, seen = new Set();
        for (let i = 0; i < d.length; i += 4) seen.add(d.slice(i, i + 4).join());
        return seen.size;"""
    return page.run(script, canvas)


def test_a_sentence_is_answered_in_all_directions_and_as_a_tree(page):
    page.type("a cat sees a dog.")
    cards = page.answered()
    assert list(cards) == ["ende", "enfr", "parsing", "ende_rev", "enfr_rev"]  # the unlikely ones last
    assert page.one("#status").text.endswith("The sentence looks like English.")
    assert cards["ende"].find_element(By.TAG_NAME, "h2").text == "English → German"
    assert cards["ende"].find_element(By.CSS_SELECTOR, ".said").text == "de: A CAT SEES A DOG."
    assert cards["enfr_rev"].find_element(By.CSS_SELECTOR, ".said").text == "en: A CAT SEES A DOG."
    assert "ms" in cards["ende"].find_element(By.TAG_NAME, "small").text
    assert page.one("#status").text.startswith("5 answers in ")

    texts = [text.text for text in cards["parsing"].find_elements(By.CSS_SELECTOR, "svg text")]
    assert sorted(texts) == sorted(["S", "NP", *["NN"] * 5, ".", "a", "cat", "sees", "a", "dog", "."])
    places = page.run(
        "return [...arguments[0].querySelectorAll('svg text')].map(t => [t.textContent, +t.getAttribute('y')])",
        cards["parsing"],
    )
    height = dict(places)
    assert height["S"] < height["NP"] < height["NN"] < height["cat"]

    _open(page, cards["ende"], "alternatives")
    alternative = cards["ende"].find_element(By.CSS_SELECTOR, ".alternatives li").text
    assert alternative.splitlines() == ["de: a cat sees a dog.", "28 %"]
    _open(page, cards["ende"], "attention")
    page.until(lambda: cards["ende"].find_elements(By.CSS_SELECTOR, ".attention canvas"))
    canvas = cards["ende"].find_element(By.CSS_SELECTOR, ".attention canvas")
    assert _painted(page, canvas) > 5
    assert "CAT: sees" in canvas.get_attribute("aria-label")


def test_the_translation_from_the_likeliest_language_comes_first(page):
    page.type("das ist ein Hund")
    assert next(iter(page.answered())) == "ende_rev"
    assert page.one("#status").text.endswith("The sentence looks like German.")


def test_one_problem_can_be_chosen(page):
    page.one("#problem").send_keys("Tree")
    page.type("a cat")
    assert list(page.answered()) == ["parsing"]


def test_a_picture_gets_its_class_and_its_caption(page, tmp_path):
    (tmp_path / "p.png").write_bytes(png("blue"))
    page.choose(tmp_path / "p.png")
    cards = page.answered()
    assert list(cards) == ["image", "caption"]
    ranked = [line.text.splitlines() for line in cards["image"].find_elements(By.TAG_NAME, "li")]
    assert ranked[0] == ["blue", "96 %"] and len(ranked) == 3
    assert cards["caption"].find_element(By.CSS_SELECTOR, ".said").text == "mean 0 0 255"
    assert page.one("#given figcaption").text == "p.png, 8 \u00d7 8 pixels"
    _open(page, cards["caption"], "attention")
    page.until(lambda: len(cards["caption"].find_elements(By.CSS_SELECTOR, ".looks canvas")) == 4)


def test_a_picture_and_a_question_are_answered_together(browser, tmp_path):
    from fake_export import write_question_export

    model = ExportedModel(write_question_export(tmp_path / "export"))
    row = {"inputs_0": b64(png("red")), "inputs_1": "what?"}
    with running(model) as port:
        status, answer = predict(port, "microworld_question", row)
        assert (status, answer["predictions"][0]["outputs"][0]) == (200, "what? 255 0 0")
        status, answer = predict(port, "microworld_question", row | {"inputs_1": b64(b"\xff")})
        assert (status, "text in UTF-8" in str(answer)) == (422, True)
        page = Page(browser, port)
        page.type("which?")
        assert page.trouble() == "\u201cmicroworld question\u201d takes a picture and a sentence. Give all of them."
        page.one("#text").clear()
        (tmp_path / "p.png").write_bytes(png("blue"))
        script = """return Object.fromEntries([...document.querySelectorAll(".card")].map(
            (card) => [card.dataset.problem.split("_")[1], card.querySelector(".said, li span")?.textContent]))"""

        def shown():
            return page.run(script)  # in one go: cards may be replaced meanwhile

        page.choose(tmp_path / "p.png")
        page.until(lambda: shown() == {"image": "blue"})
        page.type("which?")
        page.until(lambda: shown() == {"question": "which? 0 0 255"})
        assert page.one("#given figcaption").text.startswith("p.png")
        (tmp_path / "g.png").write_bytes(png("lime"))
        page.choose(tmp_path / "g.png")
        page.until(lambda: shown() == {"image": "green", "question": "which? 0 255 0"})
        page.check()


def test_a_picture_of_another_format_is_sent_as_png(page, tmp_path):
    PIL.Image.new("RGB", (20, 10), (0, 255, 0)).save(tmp_path / "p.webp", lossless=True)
    page.choose(tmp_path / "p.webp")
    assert page.answered()["caption"].find_element(By.CSS_SELECTOR, ".said").text == "mean 0 255 0"


@pytest.mark.parametrize(("kind", "sides"), [("WEBP", (3200, 1800)), ("AVIF", (1300, 700))])
def test_a_large_photo_of_another_format_is_scaled_to_fit_into_a_request(page, tmp_path, kind, sides):
    noise = np.random.default_rng(0).integers(0, 256, (sides[1], sides[0], 3)).astype(np.uint8)
    noise[:, :, 2] = 0
    path = tmp_path / f"photo.{kind.lower()}"
    PIL.Image.fromarray(noise).save(path, kind, quality=75)
    page.choose(path)
    said = page.answered()["caption"].find_element(By.CSS_SELECTOR, ".said").text.split()
    assert said[0] == "mean" and abs(int(said[1]) - 127) < 25 and abs(int(said[3])) < 25, said
    assert page.one("#given figcaption").text == f"{path.name}, {sides[0]} \u00d7 {sides[1]} pixels"


def test_a_picture_that_cannot_be_converted_is_reported(page, tmp_path):
    PIL.Image.new("RGB", (20, 10)).save(tmp_path / "p.webp")
    page.run("HTMLCanvasElement.prototype.toBlob = function (done) { done(null); }")
    page.choose(tmp_path / "p.webp")
    assert page.trouble() == "p.webp cannot be read as a picture."


def test_a_sound_too_large_for_a_request_as_wav_is_reported(browser, model, tmp_path):
    soundfile.write(tmp_path / "long.flac", np.zeros(8000 * 20), 8000)  # 320 kB as WAV
    with running(model, Limits(body_bytes=300_000)) as port:
        page = Page(browser, port)
        page.choose(tmp_path / "long.flac")
        assert page.trouble() == "long.flac has 0.3 MiB; this server takes files of up to 0.2 MiB."


def test_a_sound_gets_its_transcript_over_its_spectrogram(page, tmp_path):
    (tmp_path / "s.wav").write_bytes(wav(5000))
    page.choose(tmp_path / "s.wav")
    cards = page.answered()
    assert cards["speech"].find_element(By.CSS_SELECTOR, ".said").text == "5000 samples were heard"
    page.until(lambda: len(page.all("#given .over.placed span")) == 4)
    words = page.all("#given .over span")
    assert [word.text for word in words] == ["5000", "samples", "were", "heard"]
    heard = page.one("#given .over").rect
    rects = [word.rect for word in words]
    for rect in rects:  # each is inside the picture and overlaps no other
        assert heard["x"] - 1 <= rect["x"] and rect["x"] + rect["width"] <= heard["x"] + heard["width"] + 1
    for a, b in itertools.combinations(rects, 2):
        beside = a["x"] + a["width"] <= b["x"] or b["x"] + b["width"] <= a["x"]
        assert beside or a["y"] + a["height"] <= b["y"] or b["y"] + b["height"] <= a["y"], (a, b)
    assert _painted(page, page.one("#given canvas")) > 50
    assert page.one("#given figcaption").text == "s.wav, 0.6 seconds"
    # The page converts other formats and rates to WAV at the problem's rate.
    tone = np.sin(np.arange(22_050) / 10).astype(np.float32)
    soundfile.write(tmp_path / "s.flac", np.stack([tone, tone], axis=1), 44_100)
    page.choose(tmp_path / "s.flac")
    page.until(lambda: "4000 samples" in page.one("#answers").text)


def test_a_recording_gets_its_transcript(page):
    page.one("#record").send_keys(Keys.ENTER)
    page.until(lambda: "Stop (0:01)" in page.one("#record").text)
    assert page.one("#record").get_attribute("aria-pressed") == "true"
    page.one("#record").click()
    card = page.answered()["speech"]
    heard = int(card.find_element(By.CSS_SELECTOR, ".said").text.split()[0])
    assert 4000 < heard < 40_000  # at 8000 a second
    assert page.one("#record").text == "Record"


def test_two_presses_at_once_start_one_recording(page):
    page.run("""
        const media = navigator.mediaDevices, ask = media.getUserMedia.bind(media);
        window.streams = [];
        media.getUserMedia = async (wish) => {
            const stream = await ask(wish);
            streams.push(stream);
            return stream;
        };
        document.querySelector("#record").click();
        document.querySelector("#record").click();""")
    page.until(lambda: "Stop (0:01)" in page.one("#record").text)
    page.one("#record").click()
    assert list(page.answered()) == ["speech"]
    assert page.run("return streams.map((stream) => stream.getTracks().map((track) => track.readyState))") == [
        ["ended"]
    ]
    assert page.one("#record").text == "Record"
    assert page.one("#record").get_attribute("aria-pressed") == "false"


def test_a_picture_can_be_dropped_and_pasted(page):
    script = """
        const bytes = Uint8Array.from(atob(arguments[1]), (c) => c.charCodeAt(0));
        const data = new DataTransfer();
        data.items.add(new File([bytes], "x.png", { type: "image/png" }));
        const options = { bubbles: true, cancelable: true, dataTransfer: data, clipboardData: data };
        document.body.dispatchEvent(
            arguments[0] === "drop" ? new DragEvent("drop", options) : new ClipboardEvent("paste", options));"""
    for event, colour, mean in (("drop", "red", "mean 255 0 0"), ("paste", "lime", "mean 0 255 0")):
        page.run(script, event, base64.b64encode(png(colour)).decode())
        page.until(lambda mean=mean: mean in page.one("#answers").text)


def test_text_is_left_to_the_browser_when_dropped_or_pasted(page):
    script = """
        const bytes = Uint8Array.from(atob(arguments[0]), (c) => c.charCodeAt(0));
        const taken = (event, text, file) => {
            const data = new DataTransfer();
            if (text) data.items.add(text, "text/plain");
            if (file) data.items.add(new File([bytes], file, { type: "image/png" }));
            const options = { bubbles: true, cancelable: true, dataTransfer: data, clipboardData: data };
            const made = event === "paste" ? new ClipboardEvent(event, options) : new DragEvent(event, options);
            return !document.querySelector("#text").dispatchEvent(made);
        };
        return [
            taken("dragover", "a cat"), !document.querySelector("#drop").hidden, taken("drop", "a cat"),
            taken("paste", "a cat"), taken("paste", "a cat", "image.png"),
        ];"""
    image = base64.b64encode(png("red")).decode()
    assert page.run(script, image) == [False] * 5
    page.type("a cat")
    assert len(page.answered()) == 5
    # A file copied together with its name is taken as a file.
    asked = page.run(script.replace("return [", 'return [taken("paste", "x.png", "x.png")];['), image)
    assert asked == [True]
    page.until(lambda: "mean 255 0 0" in page.one("#answers").text)


def test_errors_are_shown_in_one_line(page, tmp_path):
    page.type("")
    assert page.trouble() == "Type a sentence first, or choose a picture or a sound."
    for name, content, text in (
        ("notes.txt", b"notes", "notes.txt is neither a picture nor a sound."),
        ("broken.png", png("red")[:40], "broken.png cannot be read as a picture."),
        ("broken.wav", b"RIFF\0\0\0\0WAVEfmt ", "broken.wav cannot be read as a sound."),
        ("large.png", png("red") + bytes(7 << 20), "large.png has 7.0 MiB; this server takes files of up to 6.0 MiB."),
    ):
        (tmp_path / name).write_bytes(content)
        page.choose(tmp_path / name)
        page.until(lambda text=text: page.trouble() == text)
    page.one("#problem").send_keys("Class")
    page.type("a cat")
    text = "“Class” takes a picture, not a sentence. Choose another problem, or “all that fit”."
    page.until(lambda: page.trouble() == text)
    page.one("#problem").send_keys("all that")
    page.type("x" * 2001)
    page.until(lambda: "the text has 2,001 characters; at most 2,000 are allowed" in page.trouble())
    page.type("a cat")
    assert len(page.answered()) == 5
    assert not page.one("#alert").is_displayed()


def test_a_stopped_server_is_reported_and_can_be_tried_again(browser, model):
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(running(model))
        page = Page(browser, port)
        page.type("a cat")
        page.answered()
        stack.close()
        page.type("a dog")
        assert page.trouble() == "The server does not answer. Is it still running?"
        assert page.one("#answers").text == ""
        stack.enter_context(running(model, port=port))
        page.one("#retry").send_keys(Keys.ENTER)
        assert "A DOG" in page.answered()["ende"].text
        page.check()


@pytest.mark.parametrize("act", ["type", "retry", "record"])
def test_a_failed_start_is_tried_again(page, act):
    script = """
        const ask = window.fetch;
        window.away = true;
        window.fetch = (...given) => window.away ? Promise.reject(new TypeError("away")) : ask(...given);"""
    command = "Page.addScriptToEvaluateOnNewDocument"
    added = page.driver.execute_cdp_cmd(command, {"source": script})
    try:
        page.driver.get(page.address)
    finally:
        page.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)
    assert page.trouble() == "The server does not answer. Is it still running?"
    page.type("a cat")
    assert page.trouble() == "The server does not answer. Is it still running?"
    page.run("window.away = false")
    if act == "type":
        page.type("a dog")
    elif act == "retry":
        page.one("#retry").click()
    else:
        page.one("#record").click()
        page.until(lambda: "Stop (0:01)" in page.one("#record").text)
        page.one("#record").click()
    assert len(page.answered()) == (1 if act == "record" else 5)
    assert "step 7" in page.one("#model").text
    assert len(page.all("#problem option")) == 9
    assert not page.one("#alert").is_displayed()


def test_one_answer_that_fails_leaves_the_others(browser, model, monkeypatch):
    predict = model.predict

    def fail(signature, columns):
        if signature == "microworld_enfr":
            raise RuntimeError
        return predict(signature, columns)

    monkeypatch.setattr(model, "predict", fail)
    with running(model, Limits()) as port:
        page = Page(browser, port)
        page.type("a cat")
        cards = page.answered()
        assert "the server failed" in cards["enfr"].text
        assert "A CAT" in cards["ende"].text


def test_a_phone_has_room_for_everything(page, tmp_path):
    page.phone()
    (tmp_path / "s.wav").write_bytes(wav(5000))
    page.choose(tmp_path / "s.wav")
    page.answered()
    assert page.run("return document.documentElement.scrollWidth") <= 360
    page.type("the small red cat that sees a very large dog under the table sleeps and " * 3)
    cards = page.answered()
    page.until(lambda: len(page.all("svg.tree")) == 1)
    for summary in page.all("summary"):
        summary.send_keys(Keys.ENTER)
    page.until(lambda: len(page.all("canvas")) == len(cards))
    assert page.run("return document.documentElement.scrollWidth") <= 360
    small = "return [...document.querySelectorAll('button, select')].filter(b => b.offsetHeight && b.offsetHeight < 40)"
    assert page.run(small) == []


def test_all_controls_are_reached_by_keyboard_and_have_names(page):
    page.one("#text").send_keys("a cat")
    reached = []
    for _ in range(5):
        reached.append(page.run("return document.activeElement.id"))
        page.driver.switch_to.active_element.send_keys(Keys.TAB)
    assert reached == ["text", "answer", "choose", "record", "problem"]
    for name in reached:
        assert page.one(f"#{name}").accessible_name
    page.one("#answer").send_keys(Keys.SPACE)
    page.answered()
    assert page.one("#status").get_attribute("role") == "status"
    assert page.one("#alert").get_attribute("role") == "alert"


def test_removed_inputs_and_cards_are_not_kept_in_memory(page, tmp_path):
    page.run("""
        window.held = new Set();
        const [create, revoke] = [URL.createObjectURL, URL.revokeObjectURL];
        URL.createObjectURL = (file) => { const url = create(file); held.add(url); return url; };
        URL.revokeObjectURL = (url) => { held.delete(url); revoke(url); };
        const listen = MediaQueryList.prototype.addEventListener;
        MediaQueryList.prototype.addEventListener = function (...given) { held.add(this); listen.apply(this, given); };
        """)
    (tmp_path / "p.png").write_bytes(png("blue"))
    (tmp_path / "broken.png").write_bytes(png("blue")[:40])
    (tmp_path / "s.wav").write_bytes(wav(5000))
    for name in ("p.png", "s.wav"):
        page.choose(tmp_path / name)
        page.until(lambda name=name: name in page.one("#given").text and "answer" in page.one("#status").text)
        assert page.run("return held.size") == 1
    page.choose(tmp_path / "broken.png")
    page.trouble()
    page.type("a cat")
    card = page.answered()["ende"]
    _open(page, card, "attention")
    page.until(lambda: card.find_elements(By.CSS_SELECTOR, ".attention canvas"))
    assert page.run("return held.size") == 0


def test_light_and_dark(page):
    page.type("a cat")
    card = page.answered()["ende"]
    _open(page, card, "attention")
    page.until(lambda: card.find_elements(By.CSS_SELECTOR, ".attention canvas"))
    heat_maps = set()
    grounds = set()
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        grounds.add(page.run("return getComputedStyle(document.body).backgroundColor"))
        page.run("return new Promise(requestAnimationFrame)")
        heat_maps.add(page.run("return document.querySelector('.attention canvas').toDataURL()"))
    assert len(grounds) == len(heat_maps) == 2
