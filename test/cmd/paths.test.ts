import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { destination, folder, SIDECAR } from '../config/documents.ts';
import { chaperone } from '../support/program.ts';

const FORWARD =
  `${SIDECAR}  forward: { address: 127.0.0.1:15001 }\n  identity: { select: { spiffeId: ` +
  `spiffe://example.org/agent } }\n`;
const rules = (...lines: readonly string[]): string =>
  destination(`  rules:\n${lines.map((line) => `    - ${line}`).join('\n')}`);
const READ =
  '{ name: read, effect: allow, action: read, http: { methods: [GET], paths: [/v1/**] } }';
const WRITE =
  '{ name: write, effect: allow, action: write, http: { methods: [PUT, POST], paths: ' +
  '[/v1/notes] } }';

t.test('check warns of what is likely a mistake; --strict makes it a problem', async (t) => {
  const path = folder(t);
  const file = join(path, 'c.yaml');
  writeFileSync(
    file,
    [FORWARD, rules(READ, READ.replace('name: read', 'name: again'))].join('---\n'),
  );
  const loose = await chaperone(['check', '-c', file]);
  t.equal(loose.status, 0);
  t.match(
    loose.out,
    /^ok: 1 destination, 2 rules.*\nwarning: .*c\.yaml:\d+:1 rule again of destination crm: .*\(shadowed-rule\)\n$/,
  );
  const strict = await chaperone(['check', '--strict', '-c', file]);
  t.equal(strict.status, 78);
  t.match(strict.err, /shadowed-rule/);
});

t.test(
  'a change that opens paths exits 1 and says which; one that closes some exits 0',
  async (t) => {
    const path = folder(t);
    const [before, after] = [join(path, 'old.yaml'), join(path, 'new.yaml')];
    writeFileSync(before, [FORWARD, rules(READ)].join('---\n'));
    writeFileSync(after, [FORWARD, rules(READ, WRITE)].join('---\n'));
    const opens = await chaperone(['paths', '--diff', before, after]);
    t.equal(opens.status, 1);
    t.match(
      opens.out,
      /opens crm: write, PUT \/v1\/notes at crm\.internal port 80 \(restricted\): no rule allowed it\n/,
    );
    t.match(opens.out, /this change opens 2 paths and closes no paths\n$/);
    const closes = await chaperone(['paths', '--diff', after, before, '--json']);
    t.equal(closes.status, 0);
    t.match(JSON.parse(closes.out), {
      opened: [],
      closed: [{ what: 'PUT /v1/notes' }, { what: 'POST /v1/notes' }],
    });
    const heads = await chaperone(['paths', '-c', after]);
    t.match(
      heads.out,
      /^spiffe:\/\/example\.org\/agent can ever take 2 paths\nDESTINATION  ACTION  WHAT .* AT .* DATA .* TASKS  RULE/,
    );
    t.match(
      heads.out,
      /\ncrm {10}read {4}GET \/v1\/\*\* .*crm\.internal:80 {2}restricted {2}- {6}read .*-\n/,
    );
    const list = await chaperone(['paths', '--verbose', '-c', after]);
    t.equal(list.status, 0);
    t.match(
      list.out,
      /^spiffe:\/\/example\.org\/agent can ever take 2 paths\ncrm: read, GET \/v1\/\*\*\n/,
    );
    t.match(
      list.out,
      / {2}over mtls, answered by spiffe:\/\/example\.org\/crm\n {2}data restricted, credential none, no task needed/,
    );
    t.match(JSON.parse((await chaperone(['paths', '-c', after, '--json'])).out), {
      paths: [{ rule: 'read' }, { rule: 'write' }],
    });
    t.equal((await chaperone(['paths', '--diff', before])).status, 64);
    t.equal((await chaperone(['paths', before])).status, 64);
  },
);
