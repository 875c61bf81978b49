#!/usr/bin/env node
// SPDX-License-Identifier: MIT
//
// Clicks through what `make run` shows, in headless Chromium: signed out, connected, and back. See
// tests/run for the environment; run it as `tests/run --browser`. Screenshots go to TEST_ARTEFACTS.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { freePort } from '../kit/programs.mjs';

const require = createRequire(process.env.TEST_NODE_MODULES);
const { chromium } = require('playwright-core');

const WAIT_MS = 10_000;
const DESKTOP = { width: 1280, height: 900 };
const PHONE = { width: 390, height: 844 };

/** Both programs, as `make run` starts them, on ports and in a folder of their own. */
async function startRun() {
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

const run = await startRun();
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic'],
});
let passed = 0;
let failed = 0;

/**
 * One test in a browser profile of its own. Whatever a page complains about (a script's error, a
 * violated Content-Security-Policy, an answer of 400 or more) fails it, unless `expected` matches,
 * and so does a request to anywhere but the two programs.
 */
async function test(name, { expected, ...options }, body) {
  const context = await browser.newContext({ viewport: DESKTOP, locale: 'en-GB', ...options });
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

function shoot(page, name) {
  const path = join(process.env.TEST_ARTEFACTS, `browser-${name}.png`);
  return page.screenshot({ path, fullPage: true, animations: 'disabled' });
}

const button = (page, name) => page.getByRole('button', { name });
const notice = (page) => page.getByRole('status');
const pill = (page) => page.locator('#pill');

/** Waits until the element says just this. */
async function says(locator, text) {
  await locator.filter({ hasText: text }).waitFor();
  assert.equal((await locator.innerText()).trim(), text);
}

async function signIn(page, name) {
  await page.goto(`${run.platform}/`);
  await button(page, name).click();
}

async function consent(page, decision) {
  await page
    .getByRole('heading', { name: 'Marlow wants to use your Sample Audiobooks account' })
    .waitFor();
  assert.equal(new URL(page.url()).pathname, '/auth/oauth2/authorize');
  await button(page, decision).click();
  await page.waitForURL(`${run.platform}/`);
}

async function connect(page) {
  await says(pill(page), 'Not connected');
  await button(page, 'Connect Sample Audiobooks').click();
  await consent(page, 'Allow');
  await says(pill(page), 'Connected');
}

async function disconnect(page) {
  await button(page, 'Disconnect').click();
  await page.getByRole('dialog').getByRole('button', { name: 'Disconnect' }).click();
  await says(pill(page), 'Not connected');
}

const stats = async () => (await fetch(`${run.platform}/sim/stats`)).json();

async function fault(path, kind, value) {
  const body = JSON.stringify({ path, fault: kind, value, count: 1 });
  assert.equal((await fetch(`${run.platform}/sim/faults`, { method: 'POST', body })).status, 200);
}

/** Nothing sticks out to the side, and what is to be pressed is large enough for a finger. */
async function fits(page) {
  const problems = await page.evaluate(() => {
    const found = [];
    if (document.documentElement.scrollWidth > innerWidth) {
      found.push(`${document.documentElement.scrollWidth} px wide`);
    }
    for (const button of document.querySelectorAll('button')) {
      const { width, height } = button.getBoundingClientRect();
      if (width > 0 && height < 40) {
        found.push(`${button.textContent.trim()}: ${height} px high`);
      }
    }
    return found;
  });
  assert.deepEqual(problems, []);
}

/** Every text stands out from what is behind it (WCAG 1.4.3: 4.5 to 1, large 3 to 1). */
async function isLegible(page) {
  const problems = await page.evaluate(() => {
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
      if (!walker.currentNode.data.trim() || !element.checkVisibility() || element.closest('noscript')) {
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
async function tabTo(page, name) {
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

async function pressEnterOn(page, name) {
  await tabTo(page, name);
  await page.keyboard.press('Enter');
}

await test('connect and disconnect', {}, async (page, context) => {
  await page.goto(`${run.platform}/`);
  await button(page, 'Ines').waitFor();
  await shoot(page, '1-signed-out');
  await button(page, 'Ines').click();
  await says(pill(page), 'Not connected');
  await shoot(page, '2-not-connected');

  await button(page, 'Connect Sample Audiobooks').click();
  await button(page, 'Allow').waitFor();
  await shoot(page, '3-consent');
  const [cookie] = await context.cookies(run.latchkey);
  assert.equal(cookie.name, 'latchkey-flow');
  assert.ok(cookie.httpOnly && cookie.sameSite === 'Lax');
  await consent(page, 'Allow');
  await says(notice(page), 'Sample Audiobooks is connected.');
  await says(pill(page), 'Connected');
  assert.equal(await page.locator('#fact-account').innerText(), 'amzn1.account.SAMPLELISTENER');
  assert.match(await page.locator('#fact-synced').innerText(), /\d{4}/);
  await shoot(page, '4-connected');

  await page.reload();
  await says(pill(page), 'Connected');
  assert.equal(await notice(page).isVisible(), false, 'the news is told once');

  await button(page, 'Disconnect').click();
  await page.getByRole('dialog', { name: 'Disconnect Sample Audiobooks?' }).waitFor();
  await shoot(page, '5-disconnect');
  await button(page, 'Keep it connected').click();
  await says(pill(page), 'Connected');
  await disconnect(page);
  await says(notice(page), 'Sample Audiobooks is disconnected.');

  await button(page, 'Sign out').click();
  await button(page, 'Ines').waitFor();
});

await test('no means no', {}, async (page) => {
  await signIn(page, 'Omar');
  await says(pill(page), 'Not connected');
  await button(page, 'Connect Sample Audiobooks').click();
  const before = await stats();
  await consent(page, 'Deny');
  await notice(page).filter({ hasText: 'You chose not to connect' }).waitFor();
  await says(pill(page), 'Not connected');
  assert.equal((await stats()).exchanges, before.exchanges);
  await shoot(page, '6-denied');
  await connect(page); // and a second thought is fine
  await disconnect(page);
});

// That the server refuses is the point; Chromium writes every refusal on its console.
const refusal = (status) => new RegExp(`status of ${status} .*/connected`);

await test('a basic member is told kindly', { expected: refusal(403) }, async (page) => {
  await signIn(page, 'Noor');
  await says(pill(page), 'Not part of your plan');
  await page.getByText('nothing you’ve done wrong').waitFor();
  assert.equal(await button(page, 'Connect Sample Audiobooks').isVisible(), false);
  await isLegible(page);
  await shoot(page, '7-basic');
  await button(page, 'See it as a Premium member').click();
  await says(pill(page), 'Not connected');
});

await test('an admin needs no plan', {}, async (page) => {
  await signIn(page, 'Sam');
  await connect(page);
  await disconnect(page);
});

await test('with the keyboard alone', {}, async (page) => {
  await page.goto(`${run.platform}/`);
  await button(page, 'Ines').waitFor();
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Skip to the content');
  await pressEnterOn(page, 'Ines');
  await says(pill(page), 'Not connected');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'home-title');
  await pressEnterOn(page, 'Connect Sample Audiobooks');
  await button(page, 'Allow').waitFor();
  await pressEnterOn(page, 'Allow');
  await page.waitForURL(`${run.platform}/`);
  await says(pill(page), 'Connected');
  await pressEnterOn(page, 'Disconnect');
  await page.getByRole('dialog').waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'hidden' });
  assert.equal(await page.evaluate(() => document.activeElement.id), 'disconnect');
  await page.keyboard.press('Enter');
  await page.getByRole('dialog').waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.id), 'confirm-no', 'the safe one');
  await pressEnterOn(page, 'Disconnect');
  await says(pill(page), 'Not connected');
});

for (const colorScheme of ['light', 'dark']) {
  await test(`on a phone, ${colorScheme}`, { viewport: PHONE, colorScheme }, async (page) => {
    const look = async (name) => {
      await fits(page);
      await isLegible(page);
      await shoot(page, `phone-${colorScheme}-${name}`);
    };
    await page.goto(`${run.platform}/`);
    await button(page, 'Ines').waitFor();
    await look('1-signed-out');
    await button(page, 'Ines').click();
    await says(pill(page), 'Not connected');
    await look('2-not-connected');
    await button(page, 'Connect Sample Audiobooks').click();
    await button(page, 'Allow').waitFor();
    await look('3-consent');
    await consent(page, 'Allow');
    await says(notice(page), 'Sample Audiobooks is connected.');
    await says(pill(page), 'Connected');
    await look('4-connected');
    await button(page, 'Disconnect').click();
    await look('5-disconnect');
    await button(page, 'Keep it connected').click();
    await disconnect(page);
  });
}

await test('wide and dark', { colorScheme: 'dark' }, async (page) => {
  await page.goto(`${run.platform}/`);
  await button(page, 'Ines').waitFor();
  await isLegible(page);
  await shoot(page, 'dark-1-signed-out');
  await button(page, 'Ines').click();
  await says(pill(page), 'Not connected');
  await isLegible(page);
  await shoot(page, 'dark-2-not-connected');
});

await test('every reason has a sentence', {}, async (page) => {
  const told = new Map();
  const tell = async (reason) => {
    await page.goto(`${run.platform}/?audible=error&reason=${encodeURIComponent(reason)}`);
    await page.waitForURL(`${run.platform}/`); // a reload doesn't tell it again
    await notice(page).waitFor();
    told.set(reason, await notice(page).innerText());
  };
  const reasons = [
    'access_denied',
    'audible_service_unavailable',
    'audible_oauth_failed',
    'invalid_state_parameter',
    'invalid_request',
    'storage_unavailable',
    'overloaded',
    'rate_limit_exceeded',
    'audible_integration_not_configured',
  ];
  await tell('no_such_reason');
  await tell('<img src=x onerror=alert(1)>');
  assert.equal(told.get('<img src=x onerror=alert(1)>'), told.get('no_such_reason'));
  for (const reason of reasons) {
    await tell(reason);
    assert.doesNotMatch(told.get(reason), /_/, 'a sentence, no code');
  }
  assert.equal(new Set(told.values()).size, reasons.length + 1, 'each its own');
});

await test('the provider fails, then works', {}, async (page) => {
  await signIn(page, 'Ines');
  await says(pill(page), 'Not connected');
  await fault('/auth/oauth2/token', 'status', 503);
  await button(page, 'Connect Sample Audiobooks').click();
  await consent(page, 'Allow');
  await notice(page).filter({ hasText: 'Sample Audiobooks isn’t answering' }).waitFor();
  await connect(page);
  await disconnect(page);
});

await test(
  'Latchkey is away, then back',
  { expected: /ERR_FAILED|status of 500/ },
  async (page, context) => {
    await context.route(`${run.latchkey}/**`, (route) => route.abort());
    await signIn(page, 'Ines');
    await says(pill(page), 'Can’t tell right now');
    await page.getByText('Latchkey isn’t answering').waitFor();
    await shoot(page, '8-away');
    await context.unroute(`${run.latchkey}/**`);
    await button(page, 'Try again').click();
    await says(pill(page), 'Not connected');
  },
);

await test('the way back belongs to one browser', {}, async (page) => {
  await signIn(page, 'Ines');
  await says(pill(page), 'Not connected');
  await button(page, 'Connect Sample Audiobooks').click();
  await button(page, 'Allow').waitFor();
  const other = await browser.newContext();
  const thief = await other.newPage();
  await thief.goto(page.url());
  await thief.getByRole('button', { name: 'Allow' }).click();
  await thief.getByText('started in another browser').waitFor();
  await other.close();
  await consent(page, 'Allow'); // the right one isn't hurt by it
  await says(pill(page), 'Connected');
  await disconnect(page);
});

await test('a session ends', { expected: refusal(401) }, async (page) => {
  await signIn(page, 'Ines');
  await says(pill(page), 'Not connected');
  await page.evaluate(() => {
    const stored = JSON.parse(sessionStorage.getItem('marlow-session'));
    sessionStorage.setItem('marlow-session', JSON.stringify({ ...stored, token: 'old' }));
  });
  await page.reload();
  await says(notice(page), 'Your session has ended. Please sign in again.');
  await button(page, 'Ines').waitFor();
});

await test('localhost leads to the right address', { expected: /request: http:\/\/localhost/ },
  async (page) => {
    await page.goto(`${run.platform.replace('127.0.0.1', 'localhost')}/`);
    assert.equal(page.url(), `${run.platform}/`);
  });

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
