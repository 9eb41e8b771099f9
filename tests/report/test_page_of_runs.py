"""The page about runs: what it shows of a run, of an experiment's results, and of runs that lack something."""

import html.parser
import json
import re
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from checks import eagerly, random_run
from experiments_sample import sample_results

import t2t_lite
from t2t_lite.data.raw_pairs import RawPairs
from t2t_lite.errors import UserError
from t2t_lite.report import svg, write_report
from t2t_lite.report.content import Report
from t2t_lite.report.facts import Attention, Confusion, Curves, Example, ExpertUse, Kind, RunFacts, read_run
from t2t_lite.report.html import element
from t2t_lite.report.model_facts import POSITION_BINS
from t2t_lite.report.model_sections import mark_words
from t2t_lite.report.page import render
from t2t_lite.report.samples import read_sample

pytestmark = pytest.mark.usefixtures("session_problems")

NAMES = ["session_reverse", "session_pictures"]
EVIL = '<script>alert("&")</script>'
SECTIONS = ["Runs", "Scores", "Learning curves", "Decoded examples", "Experts", "Attention", "Confusions"]
VOID = {"meta", "link", "img", "wbr"}


class Checker(html.parser.HTMLParser):
    """Checks that elements are closed in order, and collects names and addresses."""

    def __init__(self, page):
        super().__init__()
        self.open, self.names, self.addresses, self.text = [], set(), [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.names.add(tag)
        self.addresses += [value for key, value in attrs if key in ("src", "href")]
        assert not [key for key, _ in attrs if key.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def check(page):
    """Checks what every page promises; returns its text."""
    checked = Checker(page)
    assert "script" not in checked.names and "iframe" not in checked.names
    assert all(address.startswith(("#", "data:")) for address in checked.addresses)
    assert "url(" not in page and "@import" not in page
    assert len(page.encode()) < 3_000_000
    return re.sub(r"\s+", " ", " ".join(checked.text))


@pytest.fixture(scope="module")
def run_dir(session_data, session_problems, tmp_path_factory):
    """A run with random weights and written metrics."""
    folder = tmp_path_factory.mktemp("report") / "first"
    hparams = session_problems.session_tiny().replace(seed=5, num_experts=2, experts_per_position=1)
    random_run(folder, session_data, hparams, NAMES)
    with (folder / "scalars.jsonl").open("w") as file:
        for step in range(1, 1001):
            line = {"split": "train", "problem": NAMES[step % 2], "loss": 9.0 / step, "step_seconds": 0.5}
            file.write(json.dumps({"step": step, **line}) + "\n")
            if step % 250 == 0:
                line = {"split": "dev", "problem": NAMES[0], "examples": 20, "loss": 2.0, "accuracy": step / 2000}
                file.write(json.dumps({"step": step, **line}) + "\n")
        file.write('{"step": 1001, "split": "tr')
    return folder


@pytest.fixture(scope="module")
def made(run_dir, session_data, tmp_path_factory):
    """The page of that run and of one without weights and metrics, and the report that it shows."""
    other = run_dir.parent / "second"
    shutil.copytree(run_dir, other, ignore=shutil.ignore_patterns("checkpoints", "scalars.jsonl"))
    path = tmp_path_factory.mktemp("page") / "page.html"
    reports = []
    with pytest.MonkeyPatch.context() as patch, eagerly(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*does not apply to tf.data functions")
        patch.setattr("t2t_lite.report.model_facts.SAMPLE_EXAMPLES", 4)
        patch.setattr("t2t_lite.report.model_facts.CLASS_EXAMPLES", 6)
        patch.setattr("t2t_lite.report.page.render", lambda report: reports.append(report) or render(report))
        write_report([run_dir, other], path, data_dir=session_data, examples=2)
    return path.read_text(encoding="utf8"), reports[0]


@pytest.fixture(scope="module")
def page(made):
    return made[0]


def test_a_page_shows_a_run_from_scores_to_confusions(page):
    text = check(page)
    assert [title for title in SECTIONS if f"<h2>{title}</h2>" in page] == SECTIONS
    assert "first second" in text and "seed 5" in text and "8 min" in text and "1,000" in text
    assert re.search(r"t2t-trainer --problem=session_reverse,\S+ --hparams_set=session_tiny --hparams=\S*seed=5", text)
    assert "50.0%" in text  # the last accuracy
    assert page.count('class="chart"') == 2 + 1  # losses of both problems, the accuracy of one
    for name in ("Text to text: session_reverse", "Picture to class: session_pictures"):
        assert name in text
    assert page.count('class="picture small"') == 2
    assert "of 6 examples are right" in text
    assert "Counted on 4 examples of each problem" in text
    for each in ("by expert", "By modality of the input", "Overlap of problems", "replaced by zero", "By position"):
        assert each in text
    assert "failed with" not in text


def test_what_a_run_lacks_is_said_in_a_line(page):
    text = check(page)
    assert "second: The model cannot be loaded" in text and "no checkpoint" in text
    assert "second: No training metrics: scalars.jsonl is missing or empty" in text
    assert "second has no evaluation of a dev split." in text
    assert "second: no experts were measured" in text
    assert "first: " not in text.replace("first: no", "")


def test_a_phone_shows_the_page_without_scrolling_sideways(page, tmp_path):
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("no chromium and chromedriver: apt-get install chromium chromium-driver")
    webdriver = pytest.importorskip("selenium.webdriver", reason="no selenium: pip install '.[dev]'")
    (tmp_path / "page.html").write_text(page, encoding="utf8")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        for width in (390, 1200):
            size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            browser.get((tmp_path / "page.html").as_uri())
            browser.execute_script("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
            assert browser.execute_script("return document.documentElement.scrollWidth") <= width
            pictures = "return [...document.images].every((each) => each.naturalWidth > 0) && document.images.length"
            assert browser.execute_script(pictures) == 2
        assert browser.get_log("browser") == []
    finally:
        browser.quit()


def test_a_page_without_data(run_dir, tmp_path):
    with eagerly():
        write_report([run_dir], tmp_path / "page.html")
    text = check((tmp_path / "page.html").read_text())
    assert text.count("no generated data in a folder `data` in or beside the run; give --data_dir") == 2
    assert "No examples: no run has generated data at hand." in text
    assert "parameters" in text and "Learning curves" in text


@pytest.mark.parametrize("name", ["run.json", "hparams.json"])
def test_a_damaged_run_beside_a_whole_one(run_dir, tmp_path, name):
    damaged = tmp_path / "damaged"
    shutil.copytree(run_dir, damaged, ignore=shutil.ignore_patterns("checkpoints"))
    (damaged / name).write_text('{"model": 3')
    with eagerly():
        write_report([damaged], tmp_path / "page.html")
    text = check((tmp_path / "page.html").read_text())
    assert f"damaged: The run cannot be read: {damaged / name}" in text


@pytest.mark.parametrize(
    ("folder", "message"),
    [("no/such", "--report: no folder 'no/such'"), (".", "--report: '.' is not a run .it has no run.json")],
)
def test_what_is_no_run_is_named(folder, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        write_report([folder], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_other_mistakes(run_dir, tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        write_report([run_dir], tmp_path / "no" / "page.html")
    with pytest.raises(UserError, match="--data_dir: no folder"):
        write_report([run_dir], tmp_path / "page.html", data_dir=tmp_path / "none")
    with pytest.raises(UserError, match="--report: no run given"):
        write_report([], tmp_path / "page.html")


def test_curves_count_the_steps_of_each_problem(run_dir):
    facts = read_run(run_dir, "first")
    assert (facts.steps, facts.seconds) == (1000, 500.0)
    curve = facts.curves["session_reverse"]
    assert curve.dev["accuracy"] == [(125.0, 0.125), (250.0, 0.25), (375.0, 0.375), (500.0, 0.5)]
    assert len(curve.train_loss) == 120
    assert curve.train_loss[0][0] == pytest.approx(3.0)  # the mean of the first five steps of 500
    assert facts.scores["session_reverse"]["step"] == 1000


def test_experts_are_counted_and_switched_off(run_dir, session_data, made):
    facts = made[1].runs[0]
    run, examples = t2t_lite.open_run(run_dir), 4
    for name, layers in zip(NAMES, (["encoder", "decoder"], ["encoder"]), strict=True):
        use, sample = facts.experts[name], read_sample(session_data, name, examples)
        assert (list(use.by_position), use.examples) == (layers, examples)
        (batch,) = RawPairs(run.dataset(name), sample.pairs[:examples]).batches()
        with eagerly():
            scores = run.model.score(name, batch)
        for number, layer in enumerate(layers):
            assert use.by_position[layer].shape == (2, POSITION_BINS)
            served = scores.expert_sums[number, 2].numpy()
            np.testing.assert_array_equal(use.by_position[layer].sum(axis=1), served)
        mean = tf.reduce_sum(scores.loss) / tf.reduce_sum(scores.weights)
        assert use.loss == pytest.approx(float(mean), rel=1e-4)
        changes = np.concatenate([use.without[layer] - use.loss for layer in layers])
        assert np.isfinite(changes).all() and np.abs(changes).max() > 1e-5
    assert facts.confusion[NAMES[1]].counts.sum() == 6


def report_of(text):
    """A report of a run whose every text is `text`."""
    facts = RunFacts(Path("run"), text, text)
    example = Example((text,), text, {0: f"{text} other"})
    facts.kinds = {text: Kind(("text",), "text"), "tree": Kind(("text",), "tree"), "class": Kind(("text",), "class")}
    facts.command, facts.data_version, facts.notes = text, text, [text]
    facts.curves = {text: Curves([(1, 2.0), (2, 1.0)], {"accuracy": [(2, 0.5)]})}
    facts.scores = {text: {"step": 2, "loss": 1.0, "accuracy": 0.5, text: 0.25, "bleu_signature": text}}
    facts.parameters = {text: 3}
    facts.experts = {text: ExpertUse(1, {"encoder": np.ones([2, POSITION_BINS])}, 1.0, {"encoder": np.ones(2)})}
    facts.attention = {text: Attention(example, [text, text], [text], np.ones([2, 1]), ())}
    sound = Example((np.arange(2000, dtype=np.int16),), text, {0: ""})
    facts.kinds["sound"], facts.sample_rates["sound"] = Kind(("audio",), "text"), 8000
    facts.attention["sound"] = Attention(sound, [text], [""] * 7, np.ones([1, 7]), ())
    facts.kinds["caption"], pixels = Kind(("image",), "text"), np.zeros([8, 8, 3])
    facts.attention["caption"] = Attention(example, [text], [""] * 4, np.eye(4)[:1], (2, 2), pixels)
    facts.confusion = {"class": Confusion([text, "b"], np.eye(2, dtype=int))}
    tree = Example((text,), f"(S {text} )S", {0: f"(S {text} (NP NN )NP )S"})
    examples = {text: [example], "tree": [tree], "class": [Example((text,), text, {0: "b"})], "sound": [sound]}
    return Report([facts], examples, {text: text}, [(text, facts)], notes=[text])


def with_text(value, text):
    """A copy of something made of dicts and lists, whose every text is `text`."""
    if isinstance(value, dict):
        return {key: with_text(each, text) for key, each in value.items()}
    if isinstance(value, list):
        return [with_text(each, text) for each in value]
    return text if isinstance(value, str) else value


def test_text_of_users_cannot_break_the_page():
    report = report_of(EVIL)
    report.results = with_text(sample_results(seeds=(0,), targets=()), EVIL)
    page = render(report)
    check(page)
    assert "<script" not in page and page.count("&lt;script&gt;") > 30
    assert page.count('alt="spectrogram') == page.count('class="looks"') == 1


def test_results_of_another_format_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"results: expected those of a results.json with format 1"):
        write_report([], tmp_path / "page.html", sample_results(seeds=(0,), targets=()) | {"format": 2})


def test_results_are_shown_with_claims_deviations_and_the_papers_figures(tmp_path):
    results = sample_results()
    results["tables"][0]["claim"]["verdict"] = "fails"
    results["transfer"][0]["gains"][0][1]["mean"] = -0.2
    results |= {"seconds": 7200.0, "machine": {"cores": 2, "processor": "P", "system": "S", "memory_bytes": 1}}
    write_report([], tmp_path / "page.html", results)
    page = (tmp_path / "page.html").read_text()
    text = check(page)
    cell = results["tables"][0]["rows"][0]["cells"][2]
    for each in (cell["text"], "paper 41%", results["tables"][1]["claim"]["sentence"], results["spread_rule"]):
        assert each in text, each
    for each in (
        results["tables"][1]["comparisons"][0]["sentence"],
        results["notes"][0],
        "joint-seed2",
    ):
        assert each in text, each
    for each in (
        "took 2 h 00 min, summed over the runs; the machine has 2 cores (P, S).",
        "seeds 0, 1, 2; tables joint_",
    ):
        assert each in text, each
    assert 'class="verdict wrong"' in page and 'class="verdict right"' in page and 'class="cell negative"' in page
    gains = results["transfer"][0]["gains"]
    assert f"{gains[0][1]['mean']:+.3f}" in text and f"±{gains[0][1]['spread']:.3f}" in text


def test_wrong_words_are_marked():
    answer, reference = mark_words("a red star <b>", "a blue star")
    assert str(answer).startswith('a <mark class="wrong">red</mark> star <mark class="wrong">&lt;b&gt;</mark>')
    assert reference == 'a <mark class="missed">blue</mark> star'
    assert "✓" in mark_words("a  b", "a b")[0] and "(empty)" in mark_words("", "a b")[0]


def test_wrong_constituents_are_marked():
    drawn = svg.tree("(S (NP DT NN )NP (VP VBZ )VP )S", "the cat sleeps", "(S (NP DT JJ )NP (NP VBZ )NP )S")
    assert re.findall(r'class="(?:label|tag) wrong">(\w+)<', drawn) == ["NN", "VP"]
    assert "wrong" not in svg.tree("(S DT NN )S", "the cat")
    assert svg.tree(")X ((", "no tree at all")  # is repaired


@pytest.mark.parametrize("values", [[3.0], [2.0, 2.0], [0.0, 1e-9], [1e-5, 1e5], [-3.0, 7.0], [1e9]])
def test_axes_hold_all_values(values):
    line = svg.Line(list(enumerate(values)), 0, marked=True)
    for logarithmic in (False, True):
        chart = svg.line_chart([line], "chart", str, logarithmic=logarithmic)
        heights = [float(y) for y in re.findall(r'cy="([\d.-]+)"', chart)]
        assert len(heights) == len(values) and all(7 <= y <= 165 for y in heights), heights


def test_attributes_and_text_are_escaped():
    assert element("p", "a < b", [1, None], title='"', class_="c") == '<p title="&quot;" class="c">a &lt; b1</p>'
    assert element("p", "\x00\u202e") == "<p>\\x00\\u202e</p>"


def test_the_command_names_frozen_parts_as_a_flag(session_data, session_problems, tmp_path):
    random_run(tmp_path / "run", session_data, session_problems.session_tiny().replace(freeze="encoder,image"), NAMES)
    command = read_run(tmp_path / "run", "run").command
    assert " --freeze=encoder,image " in command and "--hparams=" not in command
