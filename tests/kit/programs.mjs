// SPDX-License-Identifier: MIT
//
// What the tests in JavaScript share: a Latchkey of their own, and a count of what passed. See
// tests/run for the environment.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Below those that the system gives to outgoing connections, one of which could take it meanwhile. */
export async function freePort() {
  for (;;) {
    const port = 12000 + Math.floor(20000 * Math.random());
    const server = createServer().listen(port, '127.0.0.1');
    try {
      await once(server, 'listening');
    } catch {
      continue;
    }
    server.close();
    await once(server, 'close');
    return port;
  }
}

/** The Set-Cookie lines of fetch's headers; Debian 12's Node only has them in one piece. */
export function cookiesOf(headers) {
  const joined = headers.get('set-cookie') ?? '';
  return headers.getSetCookie?.() ?? joined.split(/, *(?=[^;,= ]+=)/).filter((line) => line !== '');
}

/** Tests that run one after another; `finish` prints the line that tests/run reads. */
export class Tally {
  passed = 0;
  failed = 0;

  async test(name, body) {
    try {
      await body();
      this.passed++;
      console.log(`ok   ${name}`);
    } catch (error) {
      this.failed++;
      console.log(`FAIL ${name}\n${error.stack}`);
    }
  }

  finish() {
    console.log(`${this.passed} passed, ${this.failed} failed`);
    process.exitCode = this.failed > 0 || this.passed === 0 ? 1 : 0;
  }
}

/** `latchkey serve` with these settings, on a port and in a folder of its own. */
export async function startLatchkey(settings, port) {
  const program = join(process.env.TEST_BUILD_DIR, 'latchkey');
  const data = await mkdtemp(join(tmpdir(), 'latchkey-interop-'));
  port ??= await freePort();
  const env = {
    ...process.env,
    SECRET_KEY: 'a secret of the tests, 32 bytes or more',
    AUDIBLE_TOKEN_ENCRYPTION_KEY: 'cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=',
    LATCHKEY_LISTEN: `127.0.0.1:${port}`,
    LATCHKEY_ACCOUNT_STORE: `sqlite:${join(data, 'accounts.db')}`,
    LATCHKEY_LOG_LEVEL: 'debug',
    ...settings,
  };
  const child = spawn(program, ['serve'], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  let log = '';
  child.stdout.on('data', (bytes) => (log += bytes));
  const ended = exited.then(([code]) => {
    throw new Error(`latchkey serve ended with ${code}:\n${log}`);
  });
  ended.catch(() => {});
  while (!log.includes('"listening"')) {
    await Promise.race([once(child.stdout, 'data'), ended]);
  }

  const url = `http://127.0.0.1:${port}`;
  const api = `${url}/api/v1/user/audible`;
  return {
    url,
    api,
    log: () => log,
    /** A premium user's token. */
    token: (sub) =>
      execFileSync(program, ['token', '--sub', sub, '--tier', 'premium'], { env }).toString().trim(),
    /** A call of the API: status, body and headers. */
    async call(token, method, path, body) {
      const headers = { Authorization: `Bearer ${token}` };
      if (body) {
        headers['Content-Type'] = 'application/json';
      }
      const answer = await fetch(api + path, { method, headers, body: JSON.stringify(body) });
      return { status: answer.status, body: await answer.json(), headers: answer.headers };
    },
    /** Ends it as an operator does, and expects it to end well. */
    async stop() {
      child.kill('SIGTERM');
      const [code] = await exited;
      await rm(data, { recursive: true });
      assert.equal(code, 0, `latchkey serve ended with ${code}`);
    },
  };
}
