/**
 * Invariant 4 end to end: whatever an agent sends, what was recorded as judged is what reached the
 * upstream.
 */
import type { IncomingMessage } from 'node:http';
import { type Random, pick, seeded } from '../http1/generator.ts';
import { unpaired } from '../support/audit.ts';
import { testDestination } from '../support/destination.ts';
import { testProxy } from '../support/proxy.ts';
import { until } from '../support/until.ts';
import { rawUpstream } from '../support/upstream.ts';
import t from 'tap';

const SEED = Number(process.env['FUZZ_SEED'] ?? 20_260_101);
const CASES = 600;

const METHODS = [
  'GET',
  'GET',
  'HEAD',
  'POST',
  'DELETE',
  'OPTIONS',
  'PURGE',
  'TRACE',
  'get',
] as const;
const HOSTS = [
  'crm.internal',
  'CRM.internal',
  'crm.internal:80',
  'crm.internal.',
  'crm.internal:0080',
  'a@crm.internal',
  '[::1]',
  'crm%2einternal',
  'x.test',
] as const;
const GOOD = ['/', '//', 'a', 'B', '/.', '/../', '%2e', '%41', '%c3%a9', '~', '%7E', '!'] as const;
const BAD = ['..', '%2F', '%5c', '%ff', ';', '\\', '%', '%00', 'é'] as const;
const QUERIES = ['', '', '?', '?a=b&c', '?%41=%zz', '?/../x', '#f'] as const;
const FIELDS = [
  'X-A: 1',
  'X_A: 2',
  'Accept: */*',
  'Connection: x-a',
  'X-Forwarded-Host: x.test',
  'Forwarded: host=x.test',
  'Content-Length: 0',
] as const;
const HARM = [
  'Host: crm.internal',
  'Host: x.test',
  'X-HTTP-Method-Override: DELETE',
  'X-Original-URL: /admin',
  'Transfer-Encoding: chunked',
] as const;

function someTarget(random: Random): string {
  const path = Array.from({ length: Math.floor(random() * 7) }, () =>
    pick(random, random() < 0.95 ? GOOD : BAD),
  ).join('');
  return `http://${pick(random, random() < 0.8 ? ['crm.internal'] : HOSTS)}/${path}${pick(random, QUERIES)}`;
}

function someRequest(random: Random): string {
  const lines = Array.from({ length: Math.floor(random() * 4) }, () =>
    pick(random, random() < 0.9 ? FIELDS : HARM),
  );
  if (random() < 0.95) lines.push('Host: crm.internal');
  return [
    `${pick(random, METHODS)} ${someTarget(random)} HTTP/1.1`,
    ...lines,
    'Connection: close',
    '',
    '',
  ].join('\r\n');
}

t.test(
  'what was judged is what the upstream was asked: method, authority, path (P7, H1, invariant 4)',
  async (t) => {
    const seen: IncomingMessage[] = [];
    await using upstream = await rawUpstream({
      http(request, response) {
        seen.push(request);
        response.end();
      },
    });
    const at = { host: '127.0.0.1', port: upstream.port };
    await using proxy = await testProxy({
      identity: 'none',
      destinations: [testDestination({ mode: 'plaintext', upstream: at })],
    });
    const random = seeded(SEED);
    let sent = 0;
    for (let left = CASES; left > 0; left--) {
      const text = someRequest(random);
      const before = proxy.audit.records.length;
      const answer = await proxy.ask(text);
      await until('both records are written', () => proxy.audit.records.length === before + 2);
      const [record] = proxy.audit.records.slice(before);
      const [request] = seen.splice(0);
      const allowed = record?.kind === 'decided' && record.effect === 'allow';
      if (request === undefined) {
        if (allowed && !answer.startsWith('HTTP/1.1 400'))
          t.fail(`allowed but not sent: ${JSON.stringify(text)} ${answer}`);
        continue;
      }
      sent++;
      if (!allowed) {
        t.fail(`sent though not allowed: ${JSON.stringify(text)}`);
        continue;
      }
      const { method, url = '', headers } = request;
      const judged = {
        method: record.method,
        path: record.path,
        host: record.host,
        port: record.port,
      };
      const got = { method, path: url.replace(/\?.*$/s, ''), host: headers.host, port: 80 };
      if (JSON.stringify(got) !== JSON.stringify(judged))
        t.strictSame(got, judged, JSON.stringify(text));
      const claims = Object.keys(headers).filter((name) =>
        /forwarded|override|original/.test(name),
      );
      if (claims.length > 0) t.same(claims, [], JSON.stringify(text));
    }
    t.ok(sent > CASES / 10 && sent < CASES * 0.9, `${sent} of ${CASES} were sent`);
    t.same(unpaired(proxy.audit.records), []);
  },
);
