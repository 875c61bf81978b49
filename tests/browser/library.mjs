#!/usr/bin/env node
// SPDX-License-Identifier: MIT
//
// Uses the sample platform's shelf in headless Chromium: covers, pages, the search, a book's
// details, sync, and what is shown when any of it fails. See tests/run for the environment.
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
  tabTo,
} from '../kit/browser.mjs';

const SEARCHES_PER_MINUTE = 30;

// Access tokens are refreshed within 60 s of their end: here, every time that one is needed.
const stage = await openStage({
  SIM_ACCESS_TTL_SECONDS: 30,
  AUDIBLE_RATE_LIMIT_PER_MINUTE: 0,
  LATCHKEY_RATE_LIMIT_PER_MINUTE: 0,
  LATCHKEY_RATE_LIMIT_SEARCH_PER_MINUTE: SEARCHES_PER_MINUTE,
});
const { run, test, stats, fault } = stage;
const api = `${run.latchkey}/api/v1/user/audible`;

const cards = (page) => page.locator('#books a.book');
const count = (page) => page.locator('#shelf-count');
const said = (page) => page.locator('#said');
const details = (page) => page.locator('#book');
const synced = (page) => page.locator('#fact-synced').locator('..');
const refusal = (status, path) => new RegExp(`status of ${status} .*${path}`);
const unavailable = (path) => ({ expected: refusal(503, path) });

async function signInConnected(page, name = 'Ines') {
  await signIn(page, name);
  await connect(page);
  await says(count(page), 'The first 24');
}

/** Closes the open book; the address follows a moment later. */
async function closeBook(page) {
  await page.keyboard.press('Escape');
  await details(page).waitFor({ state: 'hidden' });
  await page.waitForURL((url) => !url.hash.includes('book='));
}

async function search(page, text) {
  await page.getByLabel('Search the catalogue').fill(text);
  await button(page, 'Search').click();
}

/** Every cover that can be seen has arrived. */
async function hasCovers(page) {
  await eventually(async () => {
    const missing = await page.evaluate(() =>
      [...document.querySelectorAll('.cover img')]
        .filter((image) => image.getBoundingClientRect().top < innerHeight)
        .filter((image) => !(image.complete && image.naturalWidth > 0))
        .map((image) => image.src),
    );
    assert.deepEqual(missing, []);
  });
}

/** Audible's page for a book, without the network. */
async function standInForAudible(context) {
  await context.route('https://www.audible.com/**', (route) =>
    route.fulfill({ contentType: 'text/html', body: '<title>Audible</title>' }),
  );
}

/** Latchkey answers these calls with this instead. */
async function answer(context, path, status, detail, headers = {}) {
  await context.route(`${api}${path}`, (route) =>
    route.fulfill({
      status,
      json: typeof detail === 'string' ? { detail } : detail,
      headers: {
        'Access-Control-Allow-Origin': run.platform,
        'Access-Control-Allow-Credentials': 'true',
        'Access-Control-Expose-Headers': 'X-Request-ID, Retry-After',
        ...headers,
      },
    }),
  );
}

const isAudible = { expected: /request: https:\/\/www\.audible\.com\/pd\// };

await test('link, covers, details, Audible, sync, unlink', isAudible, async (page, context) => {
  await standInForAudible(context);
  await signInConnected(page);
  assert.equal(await cards(page).count(), 24);
  await hasCovers(page);
  await page.mouse.move(0, 0);
  await isLegible(page);
  await shoot(page, 'library-1-shelf');

  const first = cards(page).first();
  const title = await first.locator('.book-title').innerText();
  await first.click();
  await details(page).getByRole('heading', { name: title }).waitFor();
  const listen = page.getByRole('link', { name: 'Listen on Audible (opens in a new tab)' });
  await listen.waitFor();
  await details(page).getByText('On your shelf').waitFor();
  await details(page).getByText(/^\d\.?\d? out of 5$/).waitFor();
  await details(page).getByText(/^\d+ h \d+ min$/).waitFor();
  await isLegible(page);
  await shoot(page, 'library-2-details', {});
  assert.equal(await listen.getAttribute('href'), 'https://www.audible.com/pd/B0SIM00000');
  assert.equal(await listen.getAttribute('rel'), 'noopener noreferrer');
  const opened = context.waitForEvent('page');
  await listen.click();
  const audible = await opened;
  await audible.waitForLoadState();
  assert.equal(audible.url(), 'https://www.audible.com/pd/B0SIM00000');
  assert.equal(await audible.evaluate(() => opener), null);
  await audible.close();
  await button(page, 'Close').click();
  await details(page).waitFor({ state: 'hidden' });
  await page.waitForURL(`${run.platform}/`);

  await button(page, 'Sync now').click();
  await says(notice(page), 'Your shelf is up to date: 137 audiobooks.');
  await says(synced(page), '137 audiobooks, just now');
  await says(count(page), '24 of 137 audiobooks');
  await shoot(page, 'library-3-synced');
  await page.reload();
  await says(synced(page), '137 audiobooks, just now');

  const { revokes } = await stats();
  await disconnect(page);
  await eventually(async () => assert.equal((await stats()).revokes, revokes + 1));
  await page.getByText('Your shelf is still empty').waitFor();
  assert.equal(await cards(page).count(), 0);
});

await test('page by page to the end', {}, async (page) => {
  const { refreshes } = await stats();
  await signInConnected(page);
  for (const so_far of [48, 72, 96, 120]) {
    await button(page, 'Show more').click();
    await says(count(page), `The first ${so_far}`);
    assert.equal(await cards(page).count(), so_far);
  }
  await button(page, 'Show more').click();
  await says(count(page), '137 audiobooks');
  assert.equal(await cards(page).count(), 137);
  assert.equal(await button(page, 'Show more').isVisible(), false);
  const hrefs = await cards(page).evaluateAll((all) => all.map((card) => card.hash));
  assert.equal(new Set(hrefs).size, 137, 'each once');
  assert.equal((await stats()).refreshes, refreshes + 6, 'a refresh a page');
  await disconnect(page);
});

await test('search, a book that was found, and back', {}, async (page) => {
  await signInConnected(page);
  await search(page, ' a ');
  assert.equal(new URL(page.url()).hash, '', 'one letter is not asked for');
  assert.match(
    await page.getByLabel('Search the catalogue').evaluate((field) => field.validationMessage),
    /at least two letters/,
  );
  await search(page, 'café');
  await page.getByRole('heading', { name: 'Results for “café”' }).waitFor();
  await count(page).filter({ hasText: /^\d+ audiobooks found$/ }).waitFor();
  const titles = await page.locator('.book-title').allInnerTexts();
  assert.ok(titles.length > 10 && titles.every((title) => /Café/.test(title)), titles.join());
  assert.ok((await page.locator('.book .badge').count()) >= 1, 'those that one has say so');
  await hasCovers(page);
  await isLegible(page);
  await shoot(page, 'library-4-found');

  // One that isn't on the shelf: its details don't claim that it is.
  const other = page.locator('#books li', { hasNot: page.locator('.badge') }).first();
  await other.locator('a').click();
  await page.getByRole('link', { name: 'Listen on Audible' }).waitFor();
  assert.equal(await details(page).getByText('On your shelf').count(), 0);
  await page.goBack();
  await details(page).waitFor({ state: 'hidden' });
  await page.getByRole('heading', { name: 'Results for “café”' }).waitFor();
  await page.reload();
  await count(page).filter({ hasText: /^\d+ audiobooks found$/ }).waitFor();
  await page.getByRole('link', { name: 'Back to your audiobooks' }).click();
  await says(count(page), 'The first 24');

  await search(page, 'zzyzx');
  await page.getByRole('heading', { name: 'Nothing found' }).waitFor();
  await shoot(page, 'library-5-nothing');
  await search(page, 'the');
  await says(count(page), 'The first 50. Add a word to find fewer.');
  await page.goBack();
  await page.getByRole('heading', { name: 'Results for “zzyzx”' }).waitFor();
  await page.goBack();
  await says(count(page), 'The first 24');
  await disconnect(page);
});

await test('the catalogue is open before one connects', {}, async (page) => {
  await signIn(page, 'Omar');
  await says(pill(page), 'Not connected');
  await search(page, 'lighthouse harbour');
  await page.getByRole('heading', { name: 'Nothing found' }).waitFor();
  await search(page, 'harbour');
  await says(count(page), 'The first 50. Add a word to find fewer.');
  await cards(page).first().click();
  await page.getByRole('link', { name: 'Listen on Audible' }).waitFor();
  await closeBook(page);
  await page.getByRole('link', { name: 'Back', exact: true }).click();
  await page.getByText('Your shelf is still empty').waitFor();
});

await test('a book’s address can be kept', { expected: refusal(404, '/details') }, async (page) => {
  await signInConnected(page);
  await page.goto('/#book=B0SIM00103');
  await page.reload();
  await page.getByRole('link', { name: 'Listen on Audible' }).waitFor();
  await button(page, 'Close').click();
  await says(count(page), 'The first 24');
  await page.waitForURL((url) => url.hash === ''); // it follows a moment later
  await page.goto('/#book=B0SIMZZZZZ');
  await page.locator('#book-link p').getByText('doesn’t have this audiobook any more').waitFor();
  assert.equal(await details(page).getByRole('button', { name: 'Try again' }).count(), 0);
  await shoot(page, 'library-6-no-such-book', {});
  await closeBook(page);
  await page.goto('/#book=../../oauth&search=');
  await says(count(page), 'The first 24');
  assert.equal(await details(page).isVisible(), false, 'what is no asin is not asked for');
  await disconnect(page);
});

const isNoCover = { expected: refusal(404, '/covers/') };

await test('what is missing is left out', isNoCover, async (page, context) => {
  const bare = {
    asin: 'B0BARE',
    title: '',
    author: '',
    narrator: null,
    image: null,
    description: null,
    duration_minutes: 0,
    rating: null,
    is_owned: true,
    source: 'audible',
  };
  const elsewhere = { ...bare, title: '<b>Bold</b>', image: 'https://elsewhere.example/a.png' };
  const broken = { ...bare, title: 'Gone', image: `${run.platform}/covers/B0GONE.svg` };
  await signIn(page, 'Ines');
  await connect(page);
  await answer(context, '/library?*', 200, [bare, elsewhere, broken]);
  await answer(context, '/B0BARE/details', 200, bare);
  await page.reload();
  await says(count(page), '3 audiobooks');
  await eventually(async () => {
    const cloths = await page.locator('.cloth').allInnerTexts();
    assert.deepEqual(cloths, ['Untitled', '<b>Bold</b>', 'Gone']);
  });
  await cards(page).first().click();
  await page.getByRole('link', { name: 'Listen on Audible' }).waitFor();
  await details(page).getByText('There’s no description yet.').waitFor();
  await details(page).getByText('Not rated yet').waitFor();
  assert.equal(await details(page).getByText('Narrator').count(), 0);
  await shoot(page, 'library-7-bare', {});
  await closeBook(page);
  await context.unrouteAll();
  await answer(context, '/library?*', 200, []);
  await page.reload();
  await page.getByRole('heading', { name: 'Nothing here yet' }).waitFor();
  await context.unrouteAll();
  await disconnect(page);
});

await test('skeletons while it loads', {}, async (page, context) => {
  await signInConnected(page);
  let let_go;
  const gate = new Promise((resolve) => (let_go = resolve));
  await context.route(`${api}/library?*`, async (route) => {
    await gate;
    await route.continue();
  });
  await page.reload();
  await says(count(page), 'Loading…');
  assert.equal(await page.locator('.skeleton').count(), 12);
  assert.equal(await page.locator('#books').getAttribute('aria-busy'), 'true');
  await shoot(page, 'library-8-loading');
  let_go();
  await says(count(page), 'The first 24');
  assert.equal(await page.locator('.skeleton').count(), 0);
  assert.equal(await page.locator('#books').getAttribute('aria-busy'), 'false');
  await disconnect(page);
});

await test('the provider fails, then works', unavailable('/library|/search|/details'),
  async (page) => {
    await signInConnected(page);
    await fault('/api/1.0/library', 'garbage');
    await page.reload();
    const below = page.locator('#shelf-below');
    await below.getByText('Sample Audiobooks isn’t answering').waitFor();
    await says(pill(page), 'Connected');
    await shoot(page, 'library-9-unavailable');
    await below.getByRole('button', { name: 'Try again' }).click();
    await says(count(page), 'The first 24');

    await fault('/api/1.0/library', 'garbage');
    await button(page, 'Show more').click();
    await below.getByText('Sample Audiobooks isn’t answering').waitFor();
    assert.equal(await cards(page).count(), 24, 'what is there stays');
    await below.getByRole('button', { name: 'Try again' }).click();
    await says(count(page), 'The first 48');

    await fault('/api/1.0/catalog/search', 'garbage');
    await search(page, 'café');
    await below.getByRole('button', { name: 'Try again' }).click();
    await count(page).filter({ hasText: 'found' }).waitFor();

    await fault('/api/1.0/catalog/*', 'garbage');
    await cards(page).first().click();
    const retry = details(page).getByRole('button', { name: 'Try again' });
    await retry.waitFor();
    await details(page).getByText(/out of 5|Not rated/).waitFor(); // what is known is shown
    await retry.click();
    await page.getByRole('link', { name: 'Listen on Audible' }).waitFor();
    await closeBook(page);
  });

await test('a sync that fails is told of', unavailable('/library/sync'), async (page) => {
  await signInConnected(page);
  await fault('/api/1.0/library', 'garbage');
  await button(page, 'Sync now').click();
  await page.getByRole('alert').getByText('The last sync didn’t finish').waitFor();
  await says(pill(page), 'Connected');
  await isLegible(page);
  await page.reload();
  await page.getByRole('alert').getByText('sync again in a few minutes').waitFor();
  await shoot(page, 'library-10-sync-failed');
  assert.equal(await button(page, 'Connect again').isVisible(), false);
  await button(page, 'Sync now').click();
  await says(synced(page), '137 audiobooks, just now');
  assert.equal(await page.getByRole('alert').isVisible(), false);
});

/** The provider takes back what it gave: the refresh token, and for so many calls the access token. */
async function takeBack(count = 1) {
  await fault('/api/1.0/library', 'status', { value: 401, count });
  await fault('/auth/oauth2/token', 'status', { value: 400, text: '{"error":"invalid_grant"}' });
}

await test('reauthorization_required: the page says so, and connecting again repairs it',
  unavailable('/library'), async (page) => {
    await signInConnected(page);
    await takeBack(2);
    await page.reload();
    const alert = page.getByRole('alert');
    await alert.getByText('Please connect again').waitFor();
    await says(pill(page), 'Needs your attention');
    await page.getByRole('heading', { name: 'Your shelf is waiting' }).waitFor();
    assert.equal(await button(page, 'Sync now').isVisible(), false, 'it would not help');
    assert.equal(await notice(page).isVisible(), false);
    await isLegible(page);
    await shoot(page, 'library-11-connect-again');
    const { refreshes } = await stats();
    await page.reload();
    await alert.getByText('Please connect again').waitFor();
    await page.getByRole('heading', { name: 'Your shelf is waiting' }).waitFor();
    assert.equal((await stats()).refreshes, refreshes, 'a refused token is not sent twice');

    await alert.getByRole('button', { name: 'Connect again' }).click();
    await consent(page, 'Allow');
    await says(notice(page), 'Sample Audiobooks is connected.');
    await says(pill(page), 'Connected');
    await says(count(page), 'The first 24');
    assert.equal(await alert.isVisible(), false);
    await button(page, 'Sync now').click();
    await says(synced(page), '137 audiobooks, just now');
  });

await test('a sync that finds it out', unavailable('/library/sync'), async (page) => {
  await signInConnected(page);
  await takeBack();
  await button(page, 'Sync now').click();
  await page.getByRole('alert').getByRole('button', { name: 'Connect again' }).waitFor();
  await says(pill(page), 'Needs your attention');
});

/** Searches in this page's name until Latchkey has had enough. */
async function searchTooOften(page) {
  const session = await page.evaluate(() => sessionStorage.getItem('marlow-session'));
  const headers = { Authorization: `Bearer ${JSON.parse(session).token}` };
  for (let i = 0; i <= SEARCHES_PER_MINUTE; i++) {
    const { status } = await fetch(`${api}/search?q=harbour`, { headers });
    if (status === 429) {
      return;
    }
  }
  assert.fail('there is no limit');
}

await test('429: how long to wait, and on it goes', { expected: refusal(429, '/search|/sync') },
  async (page, context) => {
    await signInConnected(page, 'Omar');
    const below = page.locator('#shelf-below');
    const soon = { timeout: 1000 };
    await eventually(async () => {
      await searchTooOften(page); // on a slow machine one more is allowed before the page asks
      await search(page, 'café');
      await below.getByText(/^That was a lot in a short time. You can go on in \d s/).waitFor(soon);
      await button(page, /^Try again in \d s$/).waitFor(soon);
    });
    assert.match(await said(page).innerText(), /^That was a lot in a short time/);
    await isLegible(page);
    await shoot(page, 'library-12-wait');
    await below.getByRole('button', { name: 'Try again', exact: true }).click();
    await count(page).filter({ hasText: 'found' }).waitFor();

    await answer(context, '/library/sync', 429, 'rate_limit_exceeded', { 'Retry-After': '1' });
    await button(page, 'Sync now').click();
    await says(notice(page), 'That was a lot in a short time. You can go on in 1 second.');
    await button(page, 'Sync now in 1 s').waitFor();
    await context.unrouteAll();
    await button(page, /^Sync now$/).click();
    await says(synced(page), '137 audiobooks, just now');
  });

await test('Latchkey is away, full, without its records', { expected: /ERR_FAILED|status of 5/ },
  async (page, context) => {
    await signInConnected(page);
    const below = page.locator('#shelf-below');
    await context.route(`${api}/library?*`, (route) => route.abort());
    await page.reload();
    await below.getByText('Latchkey isn’t answering').waitFor();
    await context.unrouteAll();
    await answer(context, '/library?*', 503, 'overloaded', { 'Retry-After': '1' });
    await below.getByRole('button', { name: 'Try again' }).click();
    await below.getByText('It’s busy here').waitFor();
    await context.unrouteAll();
    await answer(context, '/library?*', 503, 'storage_unavailable');
    await below.getByRole('button', { name: 'Try again', exact: true }).click();
    await below.getByText('can’t reach its records').waitFor();
    await context.unrouteAll();
    await answer(context, '/library?*', 500, 'internal_error', { 'X-Request-ID': 'abc-123' });
    await below.getByRole('button', { name: 'Try again' }).click();
    await below.getByText('tell us this number: abc-123').waitFor();
    await context.unrouteAll();
    await below.getByRole('button', { name: 'Try again' }).click();
    await says(count(page), 'The first 24');
  });

await test('disconnected elsewhere, signed out', { expected: refusal('40[01]', '/library') },
  async (page, context) => {
    await signInConnected(page);
    const other = await context.newPage();
    await signIn(other, 'Ines');
    await says(pill(other), 'Connected');
    await disconnect(other);
    await button(page, 'Show more').click();
    await says(pill(page), 'Not connected');
    await says(notice(page), 'There is no connection any more.');
    assert.equal(await cards(page).count(), 0);
    await connect(page);
    await says(count(page), 'The first 24');
    await answer(context, '/library?*', 401, 'Could not validate credentials');
    await button(page, 'Show more').click();
    await says(notice(page), 'Your session has ended. Please sign in again.');
    await button(page, 'Ines').waitFor();
    assert.equal(await cards(page).count(), 0, 'nothing of it stays on the page');
  });

await test('with the keyboard alone', {}, async (page) => {
  await signInConnected(page);
  await pressEnterOn(page, 'Sync now');
  await says(synced(page), '137 audiobooks, just now');
  const title = await cards(page).nth(1).locator('.book-title').innerText();
  await pressEnterOn(page, title);
  await details(page).getByRole('heading', { name: title }).waitFor();
  await tabTo(page, 'Listen on Audible');
  await closeBook(page);
  const focused = () => page.evaluate(() => document.activeElement.textContent);
  await eventually(async () => assert.ok((await focused()).includes(title), 'back where one was'));
  await button(page, 'Show more').focus();
  await page.keyboard.press('Enter');
  await says(count(page), '48 of 137 audiobooks');
  const next = await cards(page).nth(24).locator('.book-title').innerText();
  await eventually(async () => assert.ok((await focused()).includes(next), 'on the first new one'));
  await says(said(page), '24 audiobooks more. 48 of 137 audiobooks.');
  await page.getByLabel('Search the catalogue').focus();
  await page.keyboard.type('café');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Results for “café”' }).waitFor();
  await eventually(async () => assert.equal(await focused(), 'Results for “café”'));
});

for (const colorScheme of ['light', 'dark']) {
  await test(`on a phone, ${colorScheme}`,
    { viewport: PHONE, colorScheme, ...unavailable('/library') }, async (page) => {
      const look = async (name) => {
        await fits(page);
        await isLegible(page);
        await shoot(page, `library-phone-${colorScheme}-${name}`, {});
      };
      await signInConnected(page);
      await look('1-top');
      await page.locator('#shelf-title').evaluate((title) => title.scrollIntoView());
      await hasCovers(page);
      await look('2-shelf');
      await cards(page).nth(1).click();
      await page.getByRole('link', { name: 'Listen on Audible' }).waitFor();
      await look('3-details');
      await page.goBack();
      await details(page).waitFor({ state: 'hidden' });
      await search(page, 'café');
      await count(page).filter({ hasText: 'found' }).waitFor();
      await hasCovers(page);
      await look('4-found');
      await takeBack();
      await page.goto('/');
      await page.getByRole('alert').waitFor();
      await page.getByRole('heading', { name: 'Your shelf is waiting' }).waitFor();
      await look('5-connect-again');
    });
}

await test('wide and dark', { colorScheme: 'dark' }, async (page) => {
  await signInConnected(page);
  await hasCovers(page);
  await isLegible(page);
  await shoot(page, 'library-dark-1-shelf', {});
  await cards(page).first().click();
  await page.getByRole('link', { name: 'Listen on Audible' }).waitFor();
  await isLegible(page);
  await shoot(page, 'library-dark-2-details', {});
});

await stage.close();
