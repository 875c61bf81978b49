#!/usr/bin/env node
// SPDX-License-Identifier: MIT
//
// Clicks through what `make run` shows, in headless Chromium: signed out, connected, and back. See
// tests/run for the environment; run it as `tests/run --browser`. Screenshots go to TEST_ARTEFACTS.
import assert from 'node:assert/strict';

import {
  button,
  connect,
  consent,
  disconnect,
  eventually,
  fits,
  isLegible,
  notice,
  openStage,
  PHONE,
  pill,
  pressEnterOn,
  says,
  shoot,
  signIn,
} from '../kit/browser.mjs';

// One user connects more often here than a person would in a minute.
const stage = await openStage({
  AUDIBLE_RATE_LIMIT_PER_MINUTE: 0,
  LATCHKEY_RATE_LIMIT_PER_MINUTE: 0,
});
const { run, browser, test, stats, fault } = stage;

await test('connect and disconnect', {}, async (page, context) => {
  await page.goto('/');
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
  await says(page.locator('#fact-synced'), 'just now');
  await says(page.locator('#shelf-count'), 'The first 24');
  await shoot(page, '4-connected');

  await page.reload();
  await says(pill(page), 'Connected');
  assert.equal(await notice(page).isVisible(), false, 'the news is told once');

  await button(page, 'Disconnect').click();
  await page.getByRole('dialog', { name: 'Disconnect Sample Audiobooks?' }).waitFor();
  await shoot(page, '5-disconnect');
  await button(page, 'Keep it connected').click();
  await says(pill(page), 'Connected');
  const { revokes } = await stats();
  await disconnect(page);
  await says(notice(page), 'Sample Audiobooks is disconnected.');
  await eventually(async () => assert.equal((await stats()).revokes, revokes + 1));

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
  await page.goto('/');
  await button(page, 'Ines').waitFor();
  await page.keyboard.press('Tab');
  const first = await page.evaluate(() => document.activeElement.textContent);
  assert.equal(first, 'Skip to the content');
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
    await page.goto('/');
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
  await page.goto('/');
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
  await fault('/auth/oauth2/token', 'status', { value: 503 });
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

await stage.close();
