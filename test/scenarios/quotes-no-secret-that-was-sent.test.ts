import { writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { apiClient } from '../../cmd/api-client.ts';
import { chaperone } from '../support/program.ts';
import { testConnection } from '../support/agent.ts';
import { shortFolder } from '../support/folder.ts';
import { until } from '../support/until.ts';
import { type TestSidecar, crm, testSidecar } from '../support/sidecar.ts';
import t from 'tap';

const C = 'c4n4ry-5ecret';

const more = (socket: string): string => `  log: { level: debug }
  agentApi: { socket: ${socket} }
`;

const MORE_DESTINATIONS = `---
apiVersion: chaperone.dev/v1alpha1
kind: Destination
metadata: { name: docs }
spec:
  hosts: [docs.internal]
  ports: [80]
  listen: 127.0.0.1:0
  protocol: mcp
  upstream: { address: '127.0.0.1:9' }
  tls: { mode: plaintext }
  mcp: { path: /mcp }
  rules:
    - name: docs
      effect: allow
      action: read
      mcp: { resources: ['doc://open/**'], tools: [get] }
      when: 'args.size() < 2'
---
apiVersion: chaperone.dev/v1alpha1
kind: TaskPolicy
metadata: { name: support }
spec: { purposes: [support], destinations: [crm], actions: [read], dataClasses: [internal] }
`;

/** What an agent may send by mistake, one place of a message each. */
const LINES: readonly string[] = [
  `GET http://user:${C}@crm.internal/ HTTP/1.1\r\nHost: crm.internal`,
  `GET http://${C}@crm.internal/ HTTP/1.1\r\nHost: ${C}@crm.internal`,
  `GET http://crm.internal:${C}/ HTTP/1.1\r\nHost: crm.internal`,
  `GET https://user:${C}@crm.internal/ HTTP/1.1\r\nHost: crm.internal`,
  `GET ftp://${C}/ HTTP/1.1\r\nHost: crm.internal`,
  `GET /${C} HTTP/1.1\r\nHost: crm.internal`,
  `GET http://crm.internal/a#${C} HTTP/1.1\r\nHost: crm.internal`,
  `GET http://crm.internal/a;v=${C} HTTP/1.1\r\nHost: crm.internal`,
  `GET http://crm.internal/a%3Bv=${C} HTTP/1.1\r\nHost: crm.internal`,
  `GET http://crm.internal/${C}/../a HTTP/1.1\r\nHost: crm.internal`,
  `GET http://crm.internal/${C}%2f HTTP/1.1\r\nHost: crm.internal`,
  `GET http://crm.internal/a?k=${C} HTTP/1.1\r\nHost: crm.internal`,
  `GET http://crm.internal/a?k=${C}%00 HTTP/1.1\r\nHost: crm.internal`,
  `GET http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\nAuthorization: Bearer ` +
    `${C}\r\nCookie: ${C}`,
  `GET http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\nConnection: content-${C}`,
  `GET http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\nX-${C}: 1\r\nX-Original-URL: /${C}`,
  `GET http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\nX-${C} : 1`,
  `GET http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\nExpect: ${C}`,
  `GET http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\nUpgrade: ${C}\r\nConnection: upgrade`,
  `GET http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\nContent-Length: ${C}`,
  `GET http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\nTransfer-Encoding: ${C}`,
  `OPTIONS http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\nMax-Forwards: ${C}`,
  `GET http://crm.internal/ HTTP/${C}\r\nHost: crm.internal`,
  `GET http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\nProxy-Authorization: Basic ` +
    `${Buffer.from(`t-1:${C}`).toString('base64')}`,
  `GET http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\nProxy-Authorization: Bearer ${C}`,
  `CONNECT user:${C}@crm.internal:443 HTTP/1.1\r\nHost: crm.internal:443`,
  `CONNECT crm.internal:${C} HTTP/1.1\r\nHost: crm.internal`,
];

const MESSAGES: readonly unknown[] = [
  { method: 'resources/read', params: { uri: `https://u:${C}@x.example/a;v=${C}?k=${C}#${C}` } },
  { method: 'resources/read', params: { uri: `doc://open/a?k=${C}` } },
  { method: 'resources/read', params: { uri: `no uri ${C}` } },
  {
    method: 'tools/call',
    params: { name: 'get', arguments: { [C]: C, b: 1, c: 2 }, _meta: { 'a.b/c': C } },
  },
  { method: 'tools/call', params: { name: 'put', arguments: { a: C } } },
  { method: 'prompts/get', params: { name: 'p', arguments: { a: C } } },
  {
    method: 'initialize',
    params: { protocolVersion: C, capabilities: {}, clientInfo: { name: C, version: C } },
  },
  { method: 'notifications/progress', params: { progressToken: C, message: C, progress: 1 } },
  { [C]: 1 },
];

async function sayAll(s: TestSidecar): Promise<string> {
  let told = '';
  const forward = s.sidecar.addresses.get('forward')?.port ?? 0;
  for (const line of LINES) {
    const to = await testConnection(forward);
    to.write(`${line}\r\nConnection: close\r\n\r\n`);
    const answer = await to.ended();
    if (!answer.startsWith('HTTP/1.1 2')) told += answer;
  }
  for (const message of MESSAGES) {
    const body = JSON.stringify({ jsonrpc: '2.0', id: `${C}-1`, ...Object(message) });
    const to = await testConnection(forward);
    to.write(
      `POST http://docs.internal/mcp HTTP/1.1\r\nHost: docs.internal\r\nContent-Type: ` +
        `application/json\r\n` +
        `Mcp-Session-Id: ${C}\r\nContent-Length: ${body.length}\r\nConnection: ` +
        `close\r\n\r\n${body}`,
    );
    // The id of a request is for its answer.
    told += (await to.ended()).replaceAll(`"id":"${C}-1"`, '');
  }
  return told;
}

function page(port: number, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const asked = request({ port, path, agent: false }, (answer) => {
      let body = '';
      answer.on('data', (chunk: Buffer) => (body += chunk.toString()));
      answer.on('end', () => resolve(body));
    });
    asked.on('error', reject);
    asked.end();
  });
}

/** The canary's surroundings; undefined where it is not. */
function found(text: string): string | undefined {
  const at = text.indexOf(C);
  return at < 0 ? undefined : text.slice(Math.max(0, at - 120), at + 60);
}

t.setTimeout(240_000);

t.test(
  'nothing that was sent stands in a record, an answer, the log, a metric, a status or an explanation',
  async (t) => {
    const socket = join(shortFolder(t), 'agent.sock');
    await using s = await testSidecar({
      more: more(socket),
      destinations: (api) => `${crm(api)}${MORE_DESTINATIONS}`,
    });
    t.equal(found(await sayAll(s)), undefined, 'answers');
    const agent = apiClient(socket);
    const told: string[] = [];
    for (const body of [
      {
        purpose: 'support',
        owner: 'a',
        targets: [`https://u:${C}@crm.internal/?k=${C}`],
        actions: ['read'],
      },
      { purpose: 'support', owner: 'a', targets: [`u:${C}@crm.internal`], actions: ['read'] },
    ])
      await agent
        .ask({ method: 'POST', path: '/v1/tasks', body })
        .catch((failure: unknown) =>
          told.push(failure instanceof Error ? failure.message : String(failure)),
        );
    t.equal(found(told.join('\n')), undefined, 'answers of the API');
    await until(
      'all is recorded',
      () => s.records().filter(({ kind }) => kind === 'ended').length >= LINES.length,
    );
    const health = s.sidecar.addresses.get('health')?.port ?? 0;
    const admin = apiClient(join(s.folder, 'admin', 'api.sock'));
    const outputs: Readonly<Record<string, string>> = {
      records: JSON.stringify(s.records()),
      log: s.log.join('\n'),
      metrics: await page(health, '/metrics'),
      ready: await page(health, '/readyz'),
      status: JSON.stringify(await admin.ask({ method: 'GET', path: '/status' }).catch(() => ({}))),
      tasks: JSON.stringify(await admin.ask({ method: 'GET', path: '/v1/tasks' })),
    };
    for (const [name, text] of Object.entries(outputs)) t.equal(found(text), undefined, name);
    t.ok(s.records().length > 2 * LINES.length, 'there were records');
    t.notMatch(outputs['metrics'], /^$/);
  },
);

t.test(
  'explain, tests of policy and suggestions quote nothing of what they are asked about',
  async (t) => {
    await using s = await testSidecar({ destinations: (api) => `${crm(api)}${MORE_DESTINATIONS}` });
    const targets = [
      `http://u:${C}@crm.internal/`,
      `http://crm.internal/a?k=${C}&${C}`,
      `http://crm.internal/a;v=${C}`,
      `http://crm.internal/a%3Bv=${C}`,
      `http://crm.internal/a#${C}`,
      `http://crm.internal/${C}/../a`,
    ];
    for (const target of targets) {
      for (const more of [[], ['--json']]) {
        const field = ['--header', `X-A: ${C}`];
        const { out, err } = await chaperone([
          'explain',
          '-c',
          s.folder,
          ...field,
          ...more,
          'GET',
          target,
        ]);
        t.equal(found(out + err), undefined, `${target} ${more.join('')}`);
      }
    }
    const message = JSON.stringify({
      method: 'resources/read',
      params: { uri: `https://u:${C}@x.example/a?k=${C}` },
    });
    for (const more of [[], ['--json']]) {
      const asked = ['--message', message, ...more, 'POST', 'http://docs.internal/mcp'];
      const { out, err } = await chaperone(['explain', '-c', s.folder, ...asked]);
      t.match(out, /x\.example\/a/);
      t.equal(found(out + err), undefined, out);
    }
    await sayAll(s);
    await until(
      'all is recorded',
      () => s.records().filter(({ kind }) => kind === 'ended').length >= LINES.length,
    );
    writeFileSync(
      join(s.folder, 'audit.log'),
      s
        .records()
        .map((one) => JSON.stringify(one))
        .join('\n'),
    );
    const { out, err } = await chaperone(['suggest', '-c', s.folder, join(s.folder, 'audit.log')]);
    t.equal(found(out + err), undefined, 'suggest');
  },
);
