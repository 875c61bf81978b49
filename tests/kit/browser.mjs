// SPDX-License-Identifier: MIT
//
// What the browser tests share: both programs as `make run` starts them, pages that complain, and
// what a person does and sees there. See tests/run for the environment.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { freePort } from './programs.mjs';

const require = createRequire(process.env.TEST_NODE_MODULES);
const { chromium } = require('playwright-core');

const WAIT_MS = 10_000;
export const DESKTOP = { width: 1280, height: 900 };
export const PHONE = { width: 390, height: 844 };

/** Both programs, as `make run` starts them, on ports and in a folder of their own. */
async function startRun(settings) {
  const latchkey = `127.0.0.1:${await freePort()}`;
  const platform = `127.0.0.1:${await freePort()}`;
  const data = await mkdtemp(join(tmpdir(), 'latchkey-browser-'));
  const child = spawn(join(process.env.TEST_SOURCE_DIR, 'tests/provider/run'), {
    env: {
      ...process.env,
      RUN_LISTEN: latchkey,
      RUN_SIM_LISTEN: platform,
      RUN_DATA: data,
      RUN_BUILD: process.env.TEST_BUILD_DIR,
      RUN_SETTINGS: Object.entries(settings).map((pair) => pair.join('=')).join(' '),
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  let said = '';
  child.stdout.on('data', (bytes) => (said += bytes));
  const ended = exited.then(([code]) => {
    throw new Error(`tests/provider/run ended with ${code}: ${said}`);
  });
  ended.catch(() => {});
  while (!said.includes('\n')) {
    await Promise.race([once(child.stdout, 'data'), ended]);
  }
  const stop = async () => {
    child.kill('SIGTERM');
    const [code] = await exited;
    await rm(data, { recursive: true });
    return code;
  };
  return { latchkey: `http://${latchkey}`, platform: `http://${platform}`, said, stop };
}

/** The two programs and a browser; `settings` are those of either program that shall differ. */
export async function openStage(settings = {}) {
  const run = await startRun(settings);
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic'],
  });
  let passed = 0;
  let failed = 0;

  /** No one is connected, whatever the test before did. */
  async function disconnectAll() {
    for (const user of ['premium', 'family', 'admin']) {
      const body = JSON.stringify({ user });
      const answer = await fetch(`${run.platform}/platform/session`, { method: 'POST', body });
      const { token } = await answer.json();
      const { status } = await fetch(`${run.latchkey}/api/v1/user/audible/disconnect`, {
        method: 'POST',
        headers: { Authorization: `Bearer ${token}` },
      });
      assert.ok(status === 200 || status === 404, `disconnect: ${status}`);
    }
  }

  /**
   * One test in a browser profile of its own. Whatever a page complains about (a script's error,
   * a violated Content-Security-Policy, an answer of 400 or more) fails it, unless `expected`
   * matches, and so does a request to anywhere but the two programs.
   */
  async function test(name, { expected, ...options }, body) {
    const context = await browser.newContext({
      viewport: DESKTOP,
      locale: 'en-GB',
      baseURL: run.platform,
      ...options,
    });
    context.setDefaultTimeout(WAIT_MS);
    const complaints = [];
    const complain = (text) => {
      if (!expected?.test(text)) {
        complaints.push(text);
      }
    };
    await context.addInitScript(() => {
      addEventListener('securitypolicyviolation', (event) => {
        console.error(`violates ${event.violatedDirective}: ${event.blockedURI}`);
      });
    });
    context.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') {
        complain(`console: ${message.text()} ${message.location().url}`);
      }
    });
    context.on('weberror', (error) => complain(`script: ${error.error()}`));
    context.on('request', (request) => {
      if (![run.platform, run.latchkey].includes(new URL(request.url()).origin)) {
        complain(`request: ${request.url()}`);
      }
    });
    const page = await context.newPage();
    try {
      await disconnectAll();
      await body(page, context);
      assert.deepEqual(complaints, []);
      passed++;
      console.log(`ok   ${name}`);
    } catch (error) {
      failed++;
      console.log(`FAIL ${name}\n${error.stack}\n${complaints.join('\n')}`);
      await shoot(page, `failed-${name.replace(/\W+/g, '-')}`).catch(() => {});
    }
    await context.close();
  }

  /** Ends both programs, which must end well, and prints the line that tests/run reads. */
  async function close() {
    await browser.close();
    const status = await run.stop();
    if (status === 0 && run.said === `Open ${run.platform}/ in a browser (Ctrl-C stops)\n`) {
      passed++;
    } else {
      failed++;
      console.log(`FAIL make run says one line and ends well: status ${status}, ${run.said}`);
    }
    console.log(`${passed} passed, ${failed} failed`);
    process.exitCode = failed > 0 ? 1 : 0;
  }

  const stats = async () => (await fetch(`${run.platform}/sim/stats`)).json();

  /** The provider's next answers at this path are spoilt; `more`: value, text, count. */
  async function fault(path, kind, more = {}) {
    const body = JSON.stringify({ path, fault: kind, count: 1, ...more });
    const answer = await fetch(`${run.platform}/sim/faults`, { method: 'POST', body });
    assert.equal(answer.status, 200);
  }

  return { run, browser, test, close, stats, fault };
}

export function shoot(page, name, options = { fullPage: true }) {
  const path = join(process.env.TEST_ARTEFACTS, `browser-${name}.png`);
  return page.screenshot({ path, animations: 'disabled', ...options });
}

export const button = (page, name) => page.getByRole('button', { name });
export const notice = (page) => page.locator('#notice');
export const pill = (page) => page.locator('#pill');

/** Waits until the element says just this. */
export async function says(locator, text) {
  await locator.filter({ hasText: text }).waitFor();
  assert.equal((await locator.innerText()).trim(), text);
}

/** Waits until `check` no longer fails; after too long it fails as the last try did. */
export async function eventually(check) {
  const end = Date.now() + WAIT_MS;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (Date.now() > end) {
        throw error;
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

export async function signIn(page, name) {
  await page.goto('/');
  await button(page, name).click();
}

export async function consent(page, decision) {
  await page
    .getByRole('heading', { name: 'Marlow wants to use your Sample Audiobooks account' })
    .waitFor();
  const { origin, pathname } = new URL(page.url());
  assert.equal(pathname, '/auth/oauth2/authorize');
  await button(page, decision).click();
  await page.waitForURL(`${origin}/`);
}

export async function connect(page) {
  await says(pill(page), 'Not connected');
  await button(page, 'Connect Sample Audiobooks').click();
  await consent(page, 'Allow');
  await says(pill(page), 'Connected');
}

export async function disconnect(page) {
  await button(page, 'Disconnect').click();
  await page.getByRole('dialog').getByRole('button', { name: 'Disconnect' }).click();
  await says(pill(page), 'Not connected');
}

/** Nothing sticks out to the side, and what is to be pressed is large enough for a finger. */
export async function fits(page) {
  const problems = await page.evaluate(() => {
    const found = [];
    if (document.documentElement.scrollWidth > innerWidth) {
      found.push(`${document.documentElement.scrollWidth} px wide`);
    }
    for (const button of document.querySelectorAll('button, input, .button')) {
      const { width, height } = button.getBoundingClientRect();
      if (width > 0 && height < 40) {
        found.push(`${button.id} ${button.textContent.trim()}: ${height} px high`);
      }
    }
    return found;
  });
  assert.deepEqual(problems, []);
}

/** Every text stands out from what is behind it (WCAG 1.4.3: 4.5 to 1, large 3 to 1). */
export async function isLegible(page) {
  const problems = await page.evaluate(() => {
    // A colour on its way to another is no one's choice.
    for (const animation of document.getAnimations()) {
      if (animation.effect.getComputedTiming().endTime < Infinity) {
        animation.finish();
      }
    }
    const parse = (colour) => colour.match(/[\d.]+/g).map(Number);
    const light = ([r, g, b]) => {
      const [x, y, z] = [r, g, b].map((c) => {
        const v = c / 255;
        return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
      });
      return 0.2126 * x + 0.7152 * y + 0.0722 * z;
    };
    const behind = (element) => {
      for (let at = element; at; at = at.parentElement) {
        const colour = parse(getComputedStyle(at).backgroundColor);
        if (colour.length === 3 || colour[3] > 0.99) {
          return colour;
        }
      }
      return [255, 255, 255];
    };
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const element = walker.currentNode.parentElement;
      const isSeen = element.checkVisibility() && !element.closest('noscript');
      if (!walker.currentNode.data.trim() || !isSeen) {
        continue;
      }
      const style = getComputedStyle(element);
      const [a, b] = [light(parse(style.color)), light(behind(element))].sort((x, y) => y - x);
      const ratio = (a + 0.05) / (b + 0.05);
      if (ratio < (parseFloat(style.fontSize) >= 24 ? 3 : 4.5)) {
        found.push(`${walker.currentNode.data.trim()}: ${ratio.toFixed(2)}`);
      }
    }
    return found;
  });
  assert.deepEqual(problems, []);
}

/** Tab until the focus is on the control with this name; every stop on the way must be seen. */
export async function tabTo(page, name) {
  for (let i = 0; i < 30; i++) {
    await page.keyboard.press('Tab');
    const at = await page.evaluate(() => {
      const element = document.activeElement;
      const style = getComputedStyle(element);
      return {
        name: element.textContent.trim().replace(/\s+/g, ' '),
        isBody: element === document.body,
        isSeen: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2,
      };
    });
    assert.ok(at.isBody || at.isSeen, `no visible focus on “${at.name}”`);
    if (!at.isBody && at.name.includes(name)) {
      return;
    }
  }
  assert.fail(`the keyboard does not reach “${name}”`);
}

export async function pressEnterOn(page, name) {
  await tabTo(page, name);
  await page.keyboard.press('Enter');
}
