import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { destination, folder, SIDECAR } from '../config/documents.ts';
import { chaperone } from '../support/program.ts';

const POLICY = [
  SIDECAR,
  destination(`  rules:
    - { name: read, effect: allow, action: read, http: { methods: [GET] } }
    - { name: no-exports, effect: deny, http: { paths: [/export/**] } }`),
].join('---\n');

const CASES = `apiVersion: chaperone.dev/v1alpha1
kind: PolicyTest
metadata: { name: crm }
spec:
  cases:
    - { name: read, request: GET http://crm.internal/v1, expect: { effect: allow, rule: read } }
    - { name: 'write <&"', request: POST http://crm.internal/v1, expect: { effect: allow } }
    - { name: climb, request: GET http://crm.internal/../x, expect: { effect: refused, code: malformed } }
`;

function place(t: Parameters<typeof folder>[0], cases: string): string {
  const path = folder(t);
  writeFileSync(join(path, 'policy.yaml'), POLICY);
  writeFileSync(join(path, 'policy.test.yaml'), cases);
  return path;
}

t.test(
  'a case that does not hold fails with its place and the words of the decision, in text, JSON and JUnit',
  async (t) => {
    const path = place(t, CASES);
    const report = join(path, 'report.xml');
    const { status, out } = await chaperone(['test', '-c', path, '--junit', report]);
    t.equal(status, 1);
    t.match(
      out,
      /not ok .*policy\.test\.yaml:7:7: write <&": effect is deny, not allow: no rule of destination crm allows POST/,
    );
    t.match(
      out,
      /2 of 3 cases hold; 1 of 2 rules decided a case \(50 %\)\n {2}no case is decided by crm\/no-exports/,
    );
    const xml = readFileSync(report, 'utf8');
    t.match(xml, /<testsuites tests="3" failures="1" errors="0">/);
    t.match(
      xml,
      /<testcase classname="crm" name="write &lt;&amp;&quot;" file=".*policy\.test\.yaml" line="7">\n +<failure /,
    );
    const json = await chaperone(['test', '-c', join(path, 'policy.yaml'), '--json']);
    t.match(JSON.parse(json.out), { failed: 1, coverage: { rules: 2, covered: 1, percent: 50 } });
  },
);

t.test('too few rules that decide a case fail too', async (t) => {
  const path = place(
    t,
    CASES.split('\n')
      .filter((line) => !line.includes('write'))
      .join('\n'),
  );
  t.equal((await chaperone(['test', '-c', path])).status, 0);
  t.equal((await chaperone(['test', '-c', path, '--coverage', '50'])).status, 0);
  const { status, out } = await chaperone(['test', '-c', path, '--coverage', '51']);
  t.equal(status, 1);
  t.match(out, /too few: 51 % of the rules must decide a case/);
  t.equal((await chaperone(['test', '-c', path, '--coverage', 'all'])).status, 64);
});

t.test(
  'cases are read as strictly as policy: what is wrong is named, nothing is run',
  async (t) => {
    const path = place(
      t,
      CASES.replace('effect: allow, rule', 'efect: allow, rule').replace(
        'GET http://crm.internal/../x',
        'GET',
      ),
    );
    const { status, err } = await chaperone(['test', '-c', path]);
    t.equal(status, 78);
    t.match(
      err,
      /policy\.test\.yaml:6:\d+ spec\.cases\[0\]\.expect: unknown key "efect"; did you mean effect\?/,
    );
    t.match(
      err,
      /policy\.test\.yaml:8:\d+ spec\.cases\[2\]\.request: a request is a method, a blank and a target/,
    );
    const named = await chaperone([
      'check',
      '-c',
      join(path, 'policy.yaml'),
      '-c',
      join(path, 'policy.test.yaml'),
    ]);
    t.match(
      named.err,
      /kind PolicyTest is no part of a policy; keep it in a file that ends in \.test\.yaml/,
    );
    const none = folder(t);
    mkdirSync(join(none, 'p'));
    writeFileSync(join(none, 'p', 'c.yaml'), POLICY);
    t.match(await chaperone(['test', '-c', join(none, 'p')]), {
      status: 64,
      err: /there is no \*\.test\.yaml beside/,
    });
    t.match(
      await chaperone(['check', '-c', path]),
      { status: 0 },
      'a folder does not stand for its tests',
    );
  },
);
