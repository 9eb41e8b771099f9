"""Makes the pictures of the README: the demo model's page, and the terminal in the middle of a run's training.

    python examples/make_pictures.py demo/run
    python examples/make_pictures.py --experiments=docs/results/microworld/index.html     # learning curves

Needs Chromium, its driver and selenium (`pip install ".[dev]"`). The terminal shows the run's scalars.jsonl."""

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from t2t_lite.monitoring.training_display import TrainingDisplay

FOLDER = Path(__file__).parent.parent / "docs" / "pictures"
SENTENCE = "The star is red."
_PATIENCE = 60  # seconds that the page may take


def main() -> None:
    """Makes the pictures of a run, or that of experiments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", help="the folder of a run on microworld")
    parser.add_argument("--experiments", type=Path, help="the page that t2t-experiments wrote")
    parser.add_argument("--sentence", default=SENTENCE, help="the sentence that is typed into the page")
    parser.add_argument("--step", type=int, default=2000, help="the step at which the terminal is shown")
    flags = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    if flags.experiments:
        photograph_curves(flags.experiments, FOLDER / "experiments.png")
    if flags.run is None:
        return
    draw_terminal(flags.run, flags.step, FOLDER / "training.svg")
    photograph_page(flags.sentence, FOLDER / "page.png")


def draw_terminal(run: Path, step: int, path: Path) -> None:
    """Draws the table that t2t-trainer shows on a terminal at a step."""
    from rich.console import Console

    rows = [json.loads(line) for line in (run / "scalars.jsonl").read_text(encoding="utf8").splitlines()]
    steps = [row for row in rows if row["split"] == "train" and row["step"] <= step]
    total = json.loads((run / "hparams.json").read_text(encoding="utf8")).get("decay_steps") or steps[-1]["step"]
    clock = [0.0]
    display = TrainingDisplay(total, 0, sorted({row["problem"] for row in steps}), clock=lambda: clock[0])
    for row in steps:
        clock[0] += row["step_seconds"]
        display.update(row["step"], row["problem"], row)
    console = Console(record=True, width=64, file=open("/dev/null", "w", encoding="utf8"))  # noqa: SIM115
    console.print(display.table())
    drawing = console.export_svg(title="t2t-trainer --problem=microworld")
    path.write_text(re.sub(r"@font-face \{.*?\}", "", drawing, flags=re.DOTALL), encoding="utf8")  # fonts of the web


def photograph_page(sentence: str, path: Path) -> None:
    """Starts `t2t-server --demo`, asks a sentence on its page, and keeps a picture of the answers."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    command = [sys.executable, "-m", "t2t_lite.bin.server", "--demo", "--port=0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    driver = open_browser()
    try:
        driver.set_window_size(1000, 1150)
        driver.get(_address(server))
        text = driver.find_element(By.ID, "text")
        text.clear()
        text.send_keys(sentence, Keys.ENTER)
        _wait(lambda: "answer" in driver.find_element(By.ID, "status").text)
        time.sleep(1)  # for the drawings to end
        driver.save_screenshot(str(path))
    finally:
        driver.quit()
        server.terminate()
        server.wait()


def photograph_curves(page: Path, path: Path) -> None:
    """Keeps a picture of the learning curves on a page of experiments."""
    from selenium.webdriver.common.by import By

    driver = open_browser()
    try:
        driver.set_window_size(1200, 2000)
        driver.get(page.resolve().as_uri())
        driver.find_element(By.ID, "learning-curves").screenshot(str(path))
    finally:
        driver.quit()


def open_browser() -> Any:
    """Starts Chromium without a window."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    return webdriver.Chrome(options=options)


def _address(server: Any) -> str:
    """The address that a server says it listens on."""
    for line in server.stderr:
        if found := re.search(r"http://[\w.]+:\d+", line):
            return found[0]
    raise SystemExit("make_pictures.py: t2t-server has ended")


def _wait(condition: Any) -> None:
    end = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise SystemExit("make_pictures.py: the page has not answered")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
