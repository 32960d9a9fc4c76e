import t from 'tap';
import { STARTER } from '../../lib/config/starter.ts';
import { decide } from '../../lib/policy/decide.ts';
import { connection, request } from '../policy/destination.ts';
import { load, problemsOf } from './documents.ts';

t.test('the starter configuration loads as it stands and decides as its comments say', async (t) => {
  const { policy, sidecar } = await load(t, STARTER);
  const code = (method: string, path: string): string => decide(policy, request({ method, path })).code;
  t.equal(code('GET', '/v1/customers/7'), 'allowed');
  t.equal(code('GET', '/v1/customers/export'), 'denied-by-rule');
  t.equal(code('POST', '/v1/notes'), 'allowed');
  t.equal(code('DELETE', '/v1/customers/7'), 'no-rule-matched');
  t.equal(decide(policy, connection({ host: 'docs.example.com', port: 443 })).code, 'allowed');
  t.equal(decide(policy, request({ host: 'elsewhere.example' })).code, 'unlisted');
  t.same(sidecar.forward, { host: '127.0.0.1', port: 15001 });
});

t.test('what it comments out loads too', async (t) => {
  const from = STARTER.indexOf('# ---');
  const uncommented = STARTER.slice(0, from) + STARTER.slice(from).replace(/^# (?!A database)/gm, '');
  t.match(uncommented, /^kind: Destination\nmetadata: \{ name: database \}$/m);
  t.same(await problemsOf(t, uncommented.replace('# mode: report #', 'mode: report #')), []);
});
