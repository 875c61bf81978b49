#!/usr/bin/env node
// SPDX-License-Identifier: MIT
//
// Uses the page /docs in headless Chromium: authorises, executes, reads the answer. See tests/run for
// the environment; run it as `tests/run --browser browser/docs.mjs`. Screenshots go to
// TEST_ARTEFACTS.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { join } from 'node:path';

import { startLatchkey, Tally } from '../kit/programs.mjs';

const require = createRequire(process.env.TEST_NODE_MODULES);
const { chromium } = require('playwright-core');

const WAIT_MS = 10_000;
const latchkey = await startLatchkey({
  AUDIBLE_CLIENT_ID: 'docs',
  AUDIBLE_CLIENT_SECRET: 'a client secret',
  AUDIBLE_REDIRECT_URI: 'http://127.0.0.1/callback',
});
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic'],
});
const tally = new Tally();

/**
 * A page in a browser profile of its own. What it complains about (a script's error, a violated
 * Content-Security-Policy, an answer of 400 or more) fails the test, and so does a request to
 * anywhere but the server.
 */
async function onPage(options, body) {
  const { expected, ...context_options } = options;
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...context_options });
  context.setDefaultTimeout(WAIT_MS);
  const complaints = [];
  await context.addInitScript(() => {
    addEventListener('securitypolicyviolation', (event) => {
      console.error(`violates ${event.violatedDirective}: ${event.blockedURI} ${event.sample}`);
    });
  });
  context.on('console', (message) => {
    if (['error', 'warning'].includes(message.type()) && !expected?.test(message.text())) {
      complaints.push(`console: ${message.text()} ${message.location().url}`);
    }
  });
  context.on('weberror', (error) => complaints.push(`script: ${error.error()}`));
  context.on('request', (request) => {
    if (new URL(request.url()).origin !== latchkey.url && !request.url().startsWith('data:')) {
      complaints.push(`request: ${request.url()}`);
    }
  });
  const page = await context.newPage();
  try {
    await page.goto(`${latchkey.url}/docs`);
    await operation(page, 'connected').waitFor();
    await body(page, context);
    assert.deepEqual(complaints, []);
  } finally {
    await context.close();
  }
}

function shoot(page, name) {
  return page.screenshot({ path: join(process.env.TEST_ARTEFACTS, `browser-docs-${name}.png`) });
}

function operation(page, id) {
  return page.locator(`.opblock[id$="-${id}"]`);
}

async function authorize(page, token) {
  await page.getByRole('button', { name: 'Authorize' }).first().click();
  const dialog = page.locator('.dialog-ux');
  await dialog.locator('input').fill(token);
  await shoot(page, '2-authorize');
  await dialog.getByRole('button', { name: 'Apply credentials' }).click();
  await dialog.getByRole('button', { name: 'Close' }).last().click();
}

/** Executes the operation, and what the page shows of the answer: its status and its body. */
async function execute(page, id) {
  const block = operation(page, id);
  if (!(await block.getAttribute('class')).includes('is-open')) {
    await block.locator('.opblock-summary-control').click();
  }
  await block.getByRole('button', { name: 'Execute' }).click();
  const live = block.locator('.live-responses-table .response');
  await live.waitFor();
  const status = await live.locator('.response-col_status').innerText();
  return { status: parseInt(status, 10), text: await live.innerText() };
}

await tally.test('every operation is there', () =>
  onPage({}, async (page) => {
    const document = await (await fetch(`${latchkey.url}/openapi.json`)).json();
    const ids = Object.values(document.paths).flatMap((path) =>
      Object.values(path).map(({ operationId }) => operationId),
    );
    assert.ok(ids.length >= 15, `${ids.length}`);
    for (const id of ids) {
      assert.equal(await operation(page, id).count(), 1, id);
    }
    await shoot(page, '1-all');
  }),
);

await tally.test('authorise with a token, execute connected, see 200', () =>
  onPage({}, async (page) => {
    await authorize(page, latchkey.token('docs-user'));
    const { status, text } = await execute(page, 'connected');
    assert.equal(status, 200, text);
    assert.match(text, /"connected": false/);
    await operation(page, 'connected').scrollIntoViewIfNeeded();
    await shoot(page, '3-connected');
  }),
);

await tally.test('without a token it says 401', () =>
  onPage({ expected: /status of 401/ }, async (page) => {
    const { status, text } = await execute(page, 'connected');
    assert.equal(status, 401, text);
    assert.match(text, /Not authenticated/);
  }),
);

await tally.test('a POST with a body, and one with a parameter in its path', () =>
  onPage({}, async (page) => {
    await authorize(page, latchkey.token('docs-user'));
    const authorized = await execute(page, 'authorize');
    assert.equal(authorized.status, 200, authorized.text);
    assert.match(authorized.text, /"code_challenge_method": "S256"/);
    const block = operation(page, 'playUrl');
    await block.locator('.opblock-summary-control').click();
    await block.locator('tr[data-param-name="asin"] input').fill('B00SAMPLE1');
    const played = await execute(page, 'playUrl');
    assert.equal(played.status, 200, played.text);
    assert.match(played.text, /audible\.com\/pd\/B00SAMPLE1/);
  }),
);

for (const colorScheme of ['light', 'dark']) {
  await tally.test(`on a phone, ${colorScheme}`, () =>
    onPage({ viewport: { width: 390, height: 844 }, colorScheme }, async (page) => {
      const width = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(width <= 390, `the page is ${width} pixels wide`);
      await operation(page, 'healthz').locator('.opblock-summary-control').click();
      const { status } = await execute(page, 'healthz');
      assert.equal(status, 200);
      await shoot(page, `phone-${colorScheme}`);
    }),
  );
}

await tally.test('the token does not outlive the page', () =>
  onPage({ expected: /status of 401/ }, async (page) => {
    await authorize(page, latchkey.token('docs-user'));
    await page.reload();
    await operation(page, 'connected').waitFor();
    assert.equal((await execute(page, 'connected')).status, 401);
    const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }]));
    assert.equal(kept, '[{},{}]');
  }),
);

await browser.close();
await latchkey.stop();
tally.finish();
