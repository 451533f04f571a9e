#!/usr/bin/env python3
"""Clicks through the approval's page in a headless Chromium: approve, reject, a used link, without JavaScript, in the
dark, on a phone. Needs selenium (PyPI), chromium and chromedriver. Pictures go to the folder that is given."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

TARGET = os.environ.get("CARGO_TARGET_DIR", pathlib.Path(__file__).parent.parent / "target")
BINARY = pathlib.Path(TARGET) / "debug" / "countersign-gate"
SECRET = "a secret for the page in the browser, long enough"
TEAM = "0a0a0a0a-0000-4000-8000-000000000001"
# Width and height, in CSS pixels.
PHONE, DESKTOP = (390, 844), (1280, 900)


def call(base, token, method, path, body=None, key=None):
    request = urllib.request.Request(base + path, method=method)
    request.add_header("authorization", f"Bearer {token}")
    if key:
        request.add_header("idempotency-key", key)
    data = None
    if body is not None:
        request.add_header("content-type", "application/json")
        data = json.dumps(body).encode()
    with urllib.request.urlopen(request, data) as response:
        return json.load(response)


def browser(dark=False, phone=False):
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    profile = tempfile.mkdtemp()
    for argument in (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={profile}", "--window-size=1280,900",
    ):
        options.add_argument(argument)
    if dark:
        options.add_argument("--force-dark-mode")
        options.add_argument("--blink-settings=preferredColorScheme=0")
    # The page has to work without it.
    options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))
    # A window has a smallest width, which is more than a phone's: the device's is what the page is given.
    width, height = PHONE if phone else DESKTOP
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    return driver


def picture(driver, file, width):
    driver.save_screenshot(str(file))
    # The width is in the header of a PNG.
    seen = int.from_bytes(file.read_bytes()[16:20], "big")
    assert seen == width, f"{file} is {seen} px wide, expected {width}"


def link_of(mail, approval):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for file in mail.glob("*.eml"):
            text = file.read_text().replace("=\r\n", "").replace("=\n", "")
            found = re.search(r"/approve/([A-Za-z0-9_-]{43})", text)
            if approval in text and found:
                return "/approve/" + found.group(1)
        time.sleep(0.05)
    raise SystemExit(f"no mail for {approval}")


def contrast(driver):
    """The contrast of the text on its background, as WCAG has it."""
    def parts(css):
        return [float(number) for number in re.findall(r"[\d.]+", css)[:3]]

    def luminance(rgb):
        channels = [part / 255 for part in rgb]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    body = driver.find_element(By.TAG_NAME, "body")
    pair = [luminance(parts(body.value_of_css_property(name))) for name in ("color", "background-color")]
    return (max(pair) + 0.05) / (min(pair) + 0.05)


def press(driver, button, reason):
    """Gives a reason and presses a button, with the keyboard alone."""
    for _ in range(20):
        driver.switch_to.active_element.send_keys(Keys.TAB)
        active = driver.switch_to.active_element
        if active.tag_name == "textarea":
            active.send_keys(reason)
        if active == button:
            button.send_keys(Keys.ENTER)
            return
    raise SystemExit(f"{button.text} cannot be reached by keyboard")


def main():
    pictures = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "target/pictures")
    pictures.mkdir(parents=True, exist_ok=True)
    home = pathlib.Path(tempfile.mkdtemp())
    mail = home / "mail"
    server = subprocess.Popen(
        [BINARY, "serve", "--store", f"sqlite:{home}/gate.db", "--listen", "127.0.0.1:0", "--secret", SECRET,
         "--mail-dir", mail],
        stdout=subprocess.PIPE, stderr=open(home / "log", "w"), text=True)
    try:
        base = server.stdout.readline().strip().removeprefix("listening on ")
        token = subprocess.run(
            [BINARY, "token", "--secret", SECRET, "--team", TEAM, "--email", "dev@example.com"],
            capture_output=True, text=True, check=True).stdout.strip()

        def status(approval):
            return call(base, token, "GET", f"/api/v1/approvals/{approval}")["status"]

        def requested(number):
            services = [{"name": "web", "image_ref": f"registry.example.com/shop/web:1.{number}", "port": 8080,
                         "expose": True},
                        {"name": "worker", "image_ref": f"registry.example.com/shop/worker:1.{number}"}]
            stack = call(base, token, "POST", "/api/v1/stacks",
                         {"name": "shop", "env": "development", "services": services})
            asked = call(base, token, "POST", f"/api/v1/stacks/{stack['slug']}/promote", {"to": "production"})
            return asked["approval_id"], link_of(mail, asked["approval_id"])

        claims = 0
        for dark, phone in ((False, False), (True, False), (False, True), (True, True)):
            name = ("dark" if dark else "light") + ("-phone" if phone else "")
            driver = browser(dark, phone)
            try:
                approval, link = requested(claims)
                driver.get(base + link)
                assert driver.execute_script("return window.innerWidth") == (PHONE if phone else DESKTOP)[0]
                text = driver.find_element(By.TAG_NAME, "body").text
                for word in ("dev@example.com", "development", "production", "shop", f"web:1.{claims}", "new"):
                    assert word in text, f"{word} is on the page"
                assert driver.find_element(By.TAG_NAME, "html").get_attribute("lang"), "the language is said"
                assert len(driver.find_elements(By.TAG_NAME, "h1")) == 1, "one heading"
                assert driver.find_elements(By.TAG_NAME, "main"), "a landmark"
                assert contrast(driver) >= 7, f"contrast {contrast(driver)}"
                width = driver.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
                assert width[0] <= width[1], f"nothing has to be scrolled sideways: {width}"
                picture(driver, pictures / f"approval-{name}.png", (PHONE if phone else DESKTOP)[0])
                assert status(approval) == "pending", "looking changes nothing"
                # With the keyboard alone: the buttons can be reached and pressed.
                decision = "reject" if dark else "approve"
                button = driver.find_element(By.CSS_SELECTOR, f"button[value={decision}]")
                press(driver, button, "seen by a browser")
                picture(driver, pictures / f"decided-{name}.png", (PHONE if phone else DESKTOP)[0])
                wanted = "rejected" if dark else "approved"
                assert status(approval) == wanted, f"{decision} decides"
                assert wanted in driver.find_element(By.TAG_NAME, "body").text.lower(), "the result is told"
                driver.get(base + link)
                buttons = driver.find_elements(By.TAG_NAME, "button")
                if not dark:
                    assert [one.get_attribute("value") for one in buttons] == ["revoke"], "it can be revoked"
                    width = driver.execute_script(
                        "return [document.documentElement.scrollWidth, window.innerWidth]")
                    assert width[0] <= width[1], f"nothing has to be scrolled sideways: {width}"
                    press(driver, buttons[0], "a mistake")
                    picture(driver, pictures / f"revoked-{name}.png", (PHONE if phone else DESKTOP)[0])
                    assert status(approval) == "revoked", "the approval is taken back"
                    text = driver.find_element(By.TAG_NAME, "body").text
                    assert "a mistake" in text and "operator@localhost" in text, text
                    driver.get(base + link)
                assert not driver.find_elements(By.TAG_NAME, "button"), "a used link decides nothing"
                claims += 1
            finally:
                driver.quit()
        print(f"{claims} passed, 0 failed")
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)


main()
