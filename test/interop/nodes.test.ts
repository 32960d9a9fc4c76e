/**
 * Node of other years, as real programs: fetch of Node 22 and 24 with the variables that `chaperone
 * env` prints, which says CONNECT for http:// too; and the packed client on every Node that it is
 * meant for.
 */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { openTask, type Task } from 'chaperone/client';
import { proxyVariables } from '../../cmd/environment.ts';
import { bundle } from '../../deploy/bundle.ts';
import { trustVariables } from '../../lib/interception/trust.ts';
import { clientFixture, WEB_HOST, type ClientFixture } from '../clients/fixture.ts';
import { missing, type Command } from './clients.ts';

const run = promisify(execFile);
const FOLDER = join(import.meta.dirname, 'nodes');
const nodeOf = (year: number): string => join(FOLDER, `node_modules/node-${year}/bin/node`);
const needs = (year: number): Command => [nodeOf(year), '--version'];

const INTENT = {
  purpose: 'answer-ticket',
  owner: 'agent',
  targets: ['crm', 'web'],
  actions: ['read'],
};
const CUSTOMERS = 'http://crm.internal/v1/customers';
const EXPORT = 'http://crm.internal/v1/export/customers';

async function said(
  program: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<unknown> {
  const { stdout } = await run(program, args, {
    env: { PATH: process.env['PATH'], ...env },
    timeout: 120_000,
  });
  return JSON.parse(stdout);
}

/** What fetch of that Node has of a URL, as a program inside of the task. */
function fetched(year: number, url: string, p: ClientFixture, task: Task): Promise<unknown> {
  const env = {
    ...proxyVariables(task.proxyUrl ?? ''),
    ...trustVariables(join(p.folder, 'trust')),
  };
  return said(nodeOf(year), [join(FOLDER, 'fetch.mjs'), url], env);
}

for (const year of [22, 24]) {
  t.test(
    `fetch of Node ${year} with NODE_USE_ENV_PROXY`,
    { skip: missing(needs(year)) },
    async (t) => {
      await using p = await clientFixture();
      await using task = await openTask(INTENT, { socket: p.agentSocket });
      const version = new RegExp(`^v${year}\\.`);
      const ask = (url: string): Promise<unknown> => fetched(year, url, p, task);

      await t.test(
        'http:// over mTLS is let through, and refused in words, by what it asks',
        async (t) => {
          t.match(await ask(CUSTOMERS), { version, status: 200, body: /Ada Engines/ });
          t.match(await ask(EXPORT), {
            version,
            status: 403,
            body: /rule no-exports of destination crm denies/,
          });
          t.same(
            p.upstream.requests().map(({ target }) => target),
            ['/v1/customers'],
            'one request alone reached the upstream',
          );
          t.match(p.audit(), /"entry":"cleartext"[^\n]*"effect":"allow"/);
          t.match(p.audit(), /"entry":"cleartext"[^\n]*"effect":"deny"[^\n]*"rule":"no-exports"/);
        },
      );

      await t.test('https:// that is intercepted is judged inside its TLS', async (t) => {
        t.match(await ask(`https://${WEB_HOST}/v1/models`), { status: 200 });
        t.match(await ask(`https://${WEB_HOST}/v1/keys`), {
          status: 403,
          body: /no rule of destination web allows/,
        });
        t.same(p.web.requests(), ['GET /v1/models']);
      });

      await t.test(
        'a host that is not listed, and a task that is over, are no tunnel',
        async (t) => {
          // As docs/which-client.md says: two causes deep.
          const failure =
            /^fetch failed: Request was cancelled\.: Proxy response \(403\) !== 200 when HTTP Tunneling$/;
          t.match(await ask('http://unlisted.example/'), { failure });
          await task.complete();
          t.match(await ask(CUSTOMERS), { failure: /407/ });
          t.equal(p.upstream.requests().length, 1);
        },
      );
    },
  );
}

const YEARS = [20, 22, 24];

t.test('the packed client', async (t) => {
  const folder = t.testdir();
  await bundle(folder);
  for (const year of YEARS) {
    await t.test(
      `opens a task on Node ${year}, fetches through it, is refused, and completes it`,
      { skip: missing(needs(year)) },
      async (t) => {
        await using p = await clientFixture();
        const env = {
          CHAPERONE_AGENT_API: p.agentSocket,
          ...trustVariables(join(p.folder, 'trust')),
        };
        const heard = await said(
          nodeOf(year),
          [join(FOLDER, 'agent.mjs'), join(folder, 'client.mjs')],
          env,
        );
        t.match(heard, {
          version: new RegExp(`^v${year}\\.`),
          mtls: [200, 'Ada Engines Ltd'],
          web: 200,
          denied: {
            code: 'denied',
            status: 403,
            rule: 'no-exports',
            message: /rule no-exports of destination crm/,
          },
          tunnel: { code: 'denied', status: 403 },
          early: { code: 'denied', status: 403 },
          ended: true,
          late: { code: 'task-unknown', status: 407 },
        });
        t.same(await p.eventsUntil('completed'), ['opened', 'completed']);
        t.same(
          p.upstream.requests().map(({ target }) => target),
          ['/v1/customers'],
        );
        t.same(p.web.requests(), ['GET /v1/models']);
      },
    );
  }
});
