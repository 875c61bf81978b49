#!/usr/bin/env node
// SPDX-License-Identifier: MIT
//
// /openapi.json as Redocly's linter sees it, and as the server behaves. See tests/run for the
// environment.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { startLatchkey, Tally } from '../kit/programs.mjs';

const require = createRequire(process.env.TEST_NODE_MODULES);
const redocly = require.resolve('@redocly/cli/bin/cli.js');
const folder = await mkdtemp(join(tmpdir(), 'latchkey-openapi-'));
const tally = new Tally();

/** What the linter says of a document, in a folder without a configuration: exit code and text. */
async function lint(document, name) {
  const file = join(folder, `${name}.json`);
  await writeFile(file, JSON.stringify(document));
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [redocly, 'lint', '--extends=recommended-strict', file],
    { cwd: folder, encoding: 'utf8', env: { ...process.env, REDOCLY_TELEMETRY: 'off', CI: '1' } },
  );
  return { status, text: stdout + stderr };
}

/** The document of a server with these settings. */
async function documentOf(settings) {
  const latchkey = await startLatchkey(settings);
  const answer = await fetch(`${latchkey.url}/openapi.json`);
  const text = await answer.text();
  await latchkey.stop();
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get('content-type'), 'application/json');
  return JSON.parse(text);
}

const document = await documentOf({});

await tally.test('valid, and nothing that is recommended is missing', async () => {
  const { status, text } = await lint(document, 'openapi');
  assert.equal(status, 0, text);
});

await tally.test('valid with another prefix, and without any', async () => {
  for (const prefix of ['/', '/x']) {
    const other = await documentOf({ LATCHKEY_API_PREFIX: prefix });
    const path = `${prefix === '/' ? '' : prefix}/user/audible/connected`;
    assert.ok(other.paths[path], `${prefix}: ${Object.keys(other.paths)}`);
    const { status, text } = await lint(other, 'prefix');
    assert.equal(status, 0, text);
  }
});

await tally.test('the linter would say if it were not', async () => {
  const faults = {
    'no description': (broken) => delete broken.paths['/healthz'].get.responses['200'].description,
    'no such schema': (broken) => delete broken.components.schemas.Audiobook,
    'only recommended': (broken) => delete broken.info.license,
  };
  for (const [name, breakIt] of Object.entries(faults)) {
    const broken = structuredClone(document);
    breakIt(broken);
    const { status, text } = await lint(broken, 'broken');
    assert.equal(status, 1, `${name}: ${text}`);
  }
});

await tally.test('each operation has an id, an answer that is good, and a security', () => {
  const ids = new Set();
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const what = `${method} ${path}`;
      assert.match(operation.operationId, /^[a-zA-Z]+$/, what);
      assert.ok(!ids.has(operation.operationId), what);
      ids.add(operation.operationId);
      assert.ok(operation.responses['200'], what);
      assert.ok(operation.responses.default, what);
      const isPublic = !path.includes('/user/') || operation.operationId === 'browserReturn';
      assert.deepEqual(operation.security, isPublic ? [] : [{ bearer: [] }], what);
      if (!isPublic) {
        for (const status of ['400', '401', '403', '413', '429', '500']) {
          assert.ok(operation.responses[status], `${what} ${status}`);
        }
      }
    }
  }
});

await rm(folder, { recursive: true });
tally.finish();
