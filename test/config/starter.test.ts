import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import t from 'tap';
import { parseAllDocuments } from 'yaml';
import { STARTER } from '../../lib/config/reference/starter.ts';
import { decide } from '../../lib/policy/decision/decide.ts';
import { connection, request } from '../policy/destination.ts';
import { load, problemsOf } from './documents.ts';

t.test(
  'the starter configuration loads as it stands and decides as its comments say',
  async (t) => {
    const { policy, sidecar } = await load(t, STARTER);
    const code = (method: string, path: string): string =>
      decide(policy, request({ method, path })).code;
    t.equal(code('GET', '/v1/customers/7'), 'allowed');
    t.equal(code('GET', '/v1/customers/export'), 'denied-by-rule');
    t.equal(code('POST', '/v1/notes'), 'allowed');
    t.equal(code('DELETE', '/v1/customers/7'), 'no-rule-matched');
    t.equal(decide(policy, connection({ host: 'docs.example.com', port: 443 })).code, 'allowed');
    t.equal(decide(policy, request({ host: 'elsewhere.example' })).code, 'unlisted');
    t.same(sidecar.forward, { host: '127.0.0.1', port: 15001 });
  },
);

t.test('what it comments out loads too', async (t) => {
  const from = STARTER.indexOf('# ---');
  const uncommented = STARTER.slice(0, from) + STARTER.slice(from).replace(/^# /gm, '');
  t.match(uncommented, /^kind: Destination\nmetadata: \{ name: cache \}$/m);
  t.same(await problemsOf(t, uncommented.replace('# mode: report #', 'mode: report #')), []);
});

t.test(
  'the README shows documents that the starter has, word for word in what they mean',
  async (t) => {
    const page = readFileSync(join(import.meta.dirname, '..', '..', 'README.md'), 'utf8');
    const shown = /```yaml\n([\s\S]*?)```/.exec(page)?.[1] ?? '';
    const documents = (text: string): unknown[] =>
      parseAllDocuments(text).map((one) => one.toJS() as unknown);
    const written = documents(STARTER);
    t.equal(documents(shown).length, 2);
    for (const one of documents(shown))
      t.ok(
        written.some((other) => isDeepStrictEqual(other, one)),
        JSON.stringify(one),
      );
  },
);

t.test(
  'what the starter and the README call missing is refused by name, and nothing that is there is',
  async (t) => {
    const page = readFileSync(join(import.meta.dirname, '..', '..', 'README.md'), 'utf8');
    for (const text of [STARTER, page])
      t.notMatch(text, /not (?:yet )?supported|are not there yet/i);
    const missing =
      /- Not there yet, and refused by name[^:]*:\s*([\s\S]*?)\n(?=\n|- )/.exec(page)?.[1] ?? '';
    t.match(missing, /inbound listeners/);
    t.notMatch(missing, /\btasks?\b|\bMCP\b|\bgRPC\b|interception/);
  },
);
