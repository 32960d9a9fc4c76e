import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { encodeRecord } from '../../lib/audit/encode.ts';
import { loadConfig } from '../../lib/config/load/load.ts';
import { simulate } from '../../lib/listen/hypothetical.ts';
import { decide } from '../../lib/policy/decision/decide.ts';
import type { Policy } from '../../lib/policy/decision/policy.ts';
import { folder } from '../config/documents.ts';
import { testProxy } from '../support/proxy.ts';
import { chaperone } from '../support/program.ts';
import t from 'tap';

const ROLLOUT = resolve(import.meta.dirname, '../../deploy/policies/rollout/policy.yaml');

const ASKED: readonly (readonly [string, string])[] = [
  ['GET', 'http://tickets.internal/tickets/7'],
  ['PATCH', 'http://tickets.internal/tickets/7'],
  ['PATCH', 'http://tickets.internal/tickets/8'],
  ['POST', 'http://tickets.internal/tickets/8/comments?token=canary-3'],
  ['HEAD', 'http://tickets.internal/search'],
  ['DELETE', 'http://tickets.internal/tickets/9'],
  ['CONNECT', 'wiki.example.com:443'],
  ['GET', 'http://api.example.com/v1/items'],
  ['GET', 'http://10.1.2.3/'],
];

/** The audit log of a sidecar that was asked all of it. */
async function logOf(policy: Policy): Promise<string> {
  await using proxy = await testProxy({ destinations: [] });
  proxy.policy.set(policy);
  for (const [method, target] of ASKED) {
    const host = method === 'CONNECT' ? target : target.split('/')[2];
    await proxy.ask(
      `${method} ${target} HTTP/1.1\r\nHost: ${host}\r\nCookie: canary-4\r\nConnection: ` +
        `close\r\n\r\n`,
    );
  }
  await proxy.quiet();
  return proxy.audit.records.map(encodeRecord).join('');
}

t.test(
  'a log of a reporting policy becomes a policy that loads, allows what was asked and nothing beside it',
  async (t) => {
    const path = folder(t);
    const [log, out] = [join(path, 'audit.jsonl'), join(path, 'suggested.yaml')];
    const { policy } = await loadConfig([ROLLOUT], { generation: 1 });
    writeFileSync(log, `${await logOf(policy)}{"cut off`);
    const { status, out: text, err } = await chaperone(['suggest', '-c', ROLLOUT, log]);
    t.equal(status, 0, err);
    writeFileSync(out, text);
    t.match(
      err,
      /^8 records of what was refused or only let through: 3 rules and 2 destinations suggested, 2 left to you/,
    );
    t.notMatch(text, /canary/);
    t.match(text, /^# Suggested by chaperone suggest.*Review it/);
    t.match(
      text,
      /# Not suggested: DELETE \/tickets\/9: rule no-deletes of destination tickets denies it/,
    );
    t.match(text, /# Not suggested: GET \/: 10\.1\.2\.3 is an address/);
    t.match(text, /# A first week: what is not listed/, 'comments stay');
    const { policy: after } = await loadConfig([out], { generation: 1 });
    t.equal(after.unlisted, 'deny');
    t.equal(after.byName.get('tickets')?.mode, 'enforce');
    const verdict = (method: string, target: string): string =>
      decide(after, simulate({ method, target, time: 0 }, after)).effect;
    const denied = new Set(['DELETE http://tickets.internal/tickets/9', 'GET http://10.1.2.3/']);
    for (const [method, target] of ASKED) {
      t.equal(
        verdict(method, target),
        denied.has(`${method} ${target}`) ? 'deny' : 'allow',
        `${method} ${target}`,
      );
    }
    t.equal(
      verdict('PATCH', 'http://tickets.internal/tickets/4711'),
      'allow',
      'one of several identifiers stands for all',
    );
    const beside: readonly (readonly [string, string])[] = [
      ['POST', 'http://tickets.internal/tickets/9/comments'],
      ['PATCH', 'http://tickets.internal/tickets'],
      ['PATCH', 'http://tickets.internal/search'],
      ['GET', 'http://tickets.internal/search'],
      ['POST', 'http://api.example.com/v1/items'],
      ['GET', 'http://api.example.com/v1'],
      ['CONNECT', 'wiki.example.com:22'],
      ['CONNECT', 'other.example.com:443'],
    ];
    for (const [method, target] of beside)
      t.equal(verdict(method, target), 'deny', `${method} ${target}`);
    t.equal((await chaperone(['check', '-c', out])).status, 0);
    const opens = await chaperone(['paths', '--diff', ROLLOUT, out]);
    t.equal(opens.status, 1);
    t.match(opens.out, /opens wiki-example-com: .*no destination had it/);
    t.notMatch(opens.out, /opens tickets/, 'what only reported allowed everything');
  },
);

t.test(
  'it reads the logs that the configuration writes, and says when there are none',
  async (t) => {
    const path = folder(t);
    const file = join(path, 'policy.yaml');
    writeFileSync(file, readFileSync(ROLLOUT));
    writeFileSync(join(path, 'audit.jsonl'), '');
    const none = await chaperone(['suggest', '-c', file, '--json']);
    t.equal(none.status, 0);
    t.same(JSON.parse(none.out), { rules: {}, destinations: [], left: [] });
    t.match(await chaperone(['suggest', '-c', file, join(path, 'gone')]), {
      status: 66,
      err: /gone cannot be read \(ENOENT\)/,
    });
  },
);
