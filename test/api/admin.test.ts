/**
 * The operator's socket: who can reach it, what it does, and what it does with what it finds at its
 * path.
 */
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { request, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { spawnSync } from 'node:child_process';
import t from 'tap';
import { startAdmin } from '../../lib/api/admin.ts';
import { Fault } from '../../lib/base/fault.ts';

async function ask(
  socketPath: string,
  path: string,
  method = 'GET',
): Promise<{ status: number | undefined; body: string }> {
  const asked = request({ socketPath, path, method, agent: false }).end();
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  let body = '';
  for await (const chunk of response) body += String(chunk);
  return { status: response.statusCode, body };
}

/** Short: a Unix socket's path may have 107 bytes. */
function folder(t: { teardown(act: () => void): unknown }): string {
  const path = mkdtempSync(join(tmpdir(), 'chaperone-admin-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

const tools = { pins: () => [], approve: () => {} };
const parts = { status: () => ({ ready: true, live: 2 }), quit: () => {}, tools };

t.test(
  'lists the definitions of tools and approves the one that was seen last, once it is named',
  async (t) => {
    const socket = join(folder(t), 'admin', 'api.sock');
    const approved: unknown[] = [];
    const pins = [{ destination: 'tickets', tool: 'refund', pinned: 'aa', current: 'bb' }];
    await using _ = await startAdmin({
      ...parts,
      socket,
      tools: {
        pins: () => pins,
        approve(destination, tool, digest) {
          if (digest !== 'bb') throw new Fault('usage', 'not seen');
          approved.push([destination, tool, digest]);
        },
      },
    });
    t.same(await ask(socket, '/mcp/pins'), { status: 200, body: `${JSON.stringify(pins)}\n` });
    const path = '/mcp/approve?destination=tickets&tool=refund&digest=';
    t.match(await ask(socket, `${path}bb`), { status: 405 }, 'a GET approves nothing');
    t.same(await ask(socket, `${path}aa`, 'POST'), { status: 409, body: 'not seen\n' });
    t.match(await ask(socket, '/mcp/approve', 'POST'), { status: 409 });
    t.same(approved, []);
    t.same(await ask(socket, `${path}bb`, 'POST'), { status: 200, body: 'approved\n' });
    t.same(approved, [['tickets', 'refund', 'bb']]);
  },
);

t.test(
  'serves status and quit to its owner alone, and removes its socket in the end',
  async (t) => {
    const socket = join(folder(t), 'admin', 'api.sock');
    let quits = 0;
    const admin = await startAdmin({ ...parts, socket, quit: () => void (quits += 1) });
    t.equal(statSync(join(socket, '..')).mode & 0o777, 0o700);
    t.equal(statSync(socket).mode & 0o777, 0o600);
    t.same(await ask(socket, '/status'), { status: 200, body: '{"ready":true,"live":2}\n' });
    t.match(await ask(socket, '/quitquitquit'), { status: 405 }, 'a GET ends nothing');
    t.match(await ask(socket, '/status', 'POST'), { status: 405 });
    t.match(await ask(socket, '/metrics'), { status: 404 });
    t.equal(quits, 0);
    t.same(await ask(socket, '/quitquitquit', 'POST'), { status: 200, body: 'draining\n' });
    t.equal(quits, 1);
    await admin[Symbol.asyncDispose]();
    t.notOk(existsSync(socket));
  },
);

t.test('a folder that others may enter is refused', async (t) => {
  const open = join(folder(t), 'open');
  mkdirSync(open);
  for (const mode of [0o755, 0o710, 0o701]) {
    chmodSync(open, mode);
    await t.rejects(startAdmin({ ...parts, socket: join(open, 'api.sock') }), {
      code: 'listen',
      message: /others may enter/,
      hint: /chmod 700/,
    });
  }
  t.notOk(existsSync(join(open, 'api.sock')));
});

const root = process.geteuid?.() === 0 ? false : 'only root can give a folder away';

t.test('a folder of another user is refused', { skip: root }, async (t) => {
  const other = join(folder(t), 'other');
  mkdirSync(other, { mode: 0o700 });
  spawnSync('chown', ['65534', other]);
  await t.rejects(startAdmin({ ...parts, socket: join(other, 'api.sock') }), {
    code: 'listen',
    message: /belongs to user 65534/,
  });
});

t.test(
  'a socket left by a process that is gone is replaced, one that is served is not',
  async (t) => {
    const socket = join(folder(t), 'api.sock');
    const script =
      `require('node:net').createServer().listen(${JSON.stringify(socket)}, () => ` +
      `process.kill(process.pid, 'SIGKILL'))`;
    spawnSync(process.execPath, ['-e', script]);
    t.ok(lstatSync(socket).isSocket(), 'the killed process left it');
    const admin = await startAdmin({ ...parts, socket });
    t.match(await ask(socket, '/status'), { status: 200 });
    await t.rejects(startAdmin({ ...parts, socket }), {
      code: 'listen',
      message: /another process serves it/,
    });
    t.match(await ask(socket, '/status'), { status: 200 }, 'and the first goes on');
    await admin[Symbol.asyncDispose]();
  },
);

t.test('anything else at the path is left alone', async (t) => {
  const place = folder(t);
  const file = join(place, 'precious.yaml');
  writeFileSync(file, 'kind: Sidecar\n');
  await t.rejects(startAdmin({ ...parts, socket: file }), {
    code: 'listen',
    message: /not a socket/,
  });
  t.equal(readFileSync(file, 'utf8'), 'kind: Sidecar\n');
});

t.test('a path too long for a socket is a Fault that names it', async (t) => {
  const socket = join(folder(t), `${'x'.repeat(120)}.sock`);
  await t.rejects(startAdmin({ ...parts, socket }), { code: 'listen', message: /x{120}\.sock/ });
});
