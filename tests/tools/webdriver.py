"""Drives a headless Chromium through chromedriver's WebDriver protocol (https://www.w3.org/TR/webdriver2/),
with the standard library only."""

import base64
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

KEYS = {
    'Enter': '\ue007',
    'Tab': '\ue004',
    'Space': ' ',
    'Left': '\ue012',
    'Up': '\ue013',
    'Right': '\ue014',
    'Down': '\ue015',
    'Home': '\ue011',
    'End': '\ue010',
    'PageUp': '\ue00e',
    'PageDown': '\ue00f',
    'Shift': '\ue008',
    'Control': '\ue009',
    'Backspace': '\ue003',
}
ELEMENT = 'element-6066-11e4-a52e-4f735466cecf'


def programs():
    """(chromedriver, browser), or a text that says what is missing."""
    # tools/test.sh sets the variable, to nothing where it found none.
    driver = os.environ.get('BITBUDGET_CHROMEDRIVER') or shutil.which('chromedriver')
    browser = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
    if not driver or not browser:
        return (
            'neither PATH nor BITBUDGET_CHROMEDRIVER has chromedriver'
            if not driver
            else 'no chromium in PATH'
        )
    return driver, browser


class Browser:
    """One window. Use as a context: the browser ends with it."""

    def __init__(self, driver, browser, dark=False):
        self.folder = tempfile.mkdtemp(prefix='bitbudget-browser-')
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            self.port = free.getsockname()[1]
        self.process = subprocess.Popen(
            [driver, f'--port={self.port}'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.session = ''
        try:
            self._start(browser, dark)
        except BaseException:
            self.close()
            raise

    def _start(self, browser, dark):
        deadline = time.monotonic() + 30
        while True:
            try:
                if self._call('GET', '/status')['ready']:
                    break
            except (OSError, urllib.error.URLError):
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.05)
        arguments = [
            '--headless=new',
            '--no-sandbox',
            '--disable-gpu',
            '--disable-dev-shm-usage',
            '--hide-scrollbars',
            '--force-device-scale-factor=1',
            f'--user-data-dir={self.folder}/profile',
            '--no-first-run',
            '--disable-background-networking',
            '--disable-component-update',
            '--disable-sync',
        ]
        if dark:
            arguments.append('--blink-settings=preferredColorScheme=0')
        started = self._call(
            'POST',
            '/session',
            {
                'capabilities': {
                    'alwaysMatch': {
                        'browserName': 'chrome',
                        'goog:loggingPrefs': {'browser': 'ALL', 'performance': 'ALL'},
                        'goog:chromeOptions': {
                            'binary': browser,
                            'args': arguments,
                            'prefs': {
                                'download.default_directory': self.folder,
                                'download.prompt_for_download': False,
                            },
                        },
                    }
                }
            },
        )
        self.session = f'/session/{started["sessionId"]}'
        self.devtools('Browser.setDownloadBehavior', behavior='allow', downloadPath=self.folder)
        # What the browser's own first page loaded is no test's concern.
        self._call('POST', self.session + '/url', {'url': 'about:blank'})
        self.log('browser')
        self.log('performance')

    def _call(self, method, path, body=None):
        request = urllib.request.Request(
            f'http://127.0.0.1:{self.port}{path}',
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={'Content-Type': 'application/json'},
        )
        # The proxy of the environment is not for this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=120) as answer:
                return json.loads(answer.read())['value']
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.loads(error.read())['value']['message'].split('\n')[0]) from None

    def call(self, method, path, body=None):
        return self._call(method, self.session + path, body)

    def devtools(self, command, **parameters):
        return self.call('POST', '/goog/cdp/execute', {'cmd': command, 'params': parameters})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.session:
            try:
                self.call('DELETE', '')
            except (OSError, RuntimeError):
                pass
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def open(self, path, fragment=''):
        self.call('POST', '/url', {'url': 'about:blank'})
        self.call('POST', '/url', {'url': 'file://' + os.path.abspath(path) + fragment})

    def run(self, script, *arguments):
        """What the body of a JavaScript function returns."""
        return self.call('POST', '/execute/sync', {'script': script, 'args': list(arguments)})

    def size(self, width, height=900):
        self.devtools(
            'Emulation.setDeviceMetricsOverride',
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        # Drawing follows the size one frame later.
        self.call(
            'POST',
            '/execute/async',
            {
                'script': 'const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 50)));',
                'args': [],
            },
        )

    def find(self, css):
        return self.call('POST', '/element', {'using': 'css selector', 'value': css})[ELEMENT]

    def click(self, css):
        self.call('POST', f'/element/{self.find(css)}/click', {})

    def text(self, css):
        """The visible text of the first element."""
        return self.call('GET', f'/element/{self.find(css)}/text')

    def texts(self, css):
        return self.run('return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)', css)

    def attribute(self, css, name):
        return self.run('return document.querySelector(arguments[0]).getAttribute(arguments[1])', css, name)

    def choose(self, css, value):
        """Chooses an option of a select, as a user's choice arrives."""
        self.click(f'{css} option[value="{value}"]')

    def focus(self, css):
        self.run('document.querySelector(arguments[0]).focus()', css)

    def press(self, *names, held=None):
        actions = [{'type': 'keyDown', 'value': KEYS[held]}] if held else []
        for name in names:
            key = KEYS.get(name, name)
            actions += [{'type': 'keyDown', 'value': key}, {'type': 'keyUp', 'value': key}]
        if held:
            actions.append({'type': 'keyUp', 'value': KEYS[held]})
        self.call('POST', '/actions', {'actions': [{'type': 'key', 'id': 'keyboard', 'actions': actions}]})

    def mouse(self, *steps):
        """Steps: ('move', x, y) in the window, 'down', 'up'."""
        actions = []
        for step in steps:
            if step in ('down', 'up'):
                actions.append({'type': f'pointer{step.capitalize()}', 'button': 0})
            else:
                actions.append(
                    {'type': 'pointerMove', 'duration': 30, 'x': round(step[1]), 'y': round(step[2])}
                )
        self.call(
            'POST',
            '/actions',
            {
                'actions': [
                    {
                        'type': 'pointer',
                        'id': 'mouse',
                        'parameters': {'pointerType': 'mouse'},
                        'actions': actions,
                    }
                ]
            },
        )

    def box(self, css):
        """(left, top, width, height) in the window, after scrolling there."""
        return self.run(
            'const e = document.querySelector(arguments[0]); e.scrollIntoView({block: "center"});'
            'const b = e.getBoundingClientRect(); return [b.left, b.top, b.width, b.height]',
            css,
        )

    def log(self, kind):
        return self.call('POST', '/se/log', {'type': kind})

    def picture(self, path):
        """The whole page as a PNG file."""
        shot = self.devtools('Page.captureScreenshot', captureBeyondViewport=True, format='png')
        with open(path, 'wb') as file:
            file.write(base64.b64decode(shot['data']))

    def print(self, path):
        page = self.call('POST', '/print', {'background': True, 'page': {'width': 21.0, 'height': 29.7}})
        with open(path, 'wb') as file:
            file.write(base64.b64decode(page))
