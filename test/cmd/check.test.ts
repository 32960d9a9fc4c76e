/** `check` for machines: one document, whatever comes of it. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import t from 'tap';
import { VERSION } from '../../cmd/version.ts';
import { chaperone } from '../support/program.ts';

const HEAD = 'apiVersion: chaperone.dev/v1alpha1\n';
const SIDECAR =
  `${HEAD}kind: Sidecar\nmetadata: { name: a }\nspec: { forward: { address: ` +
  `'127.0.0.1:15001' }, defaults: { task: optional } }\n`;
const DESTINATION = `---
${HEAD}kind: Destination
metadata: { name: crm }
spec:
  mode: report
  hosts: [crm.internal]
  ports: [80]
  upstream: { address: '127.0.0.1:9' }
  tls: { mode: mtls, peers: ['spiffe://dev.local/crm'] }
  rules:
    - { name: all, effect: allow, action: read, http: { methods: [GET] } }
    - { name: never, effect: allow, action: read, http: { methods: [GET], paths: [/x] } }
`;

t.test('check --json gives the counts, the digest and every finding with its place', async (t) => {
  const file = join(t.testdir(), 'c.yaml');
  writeFileSync(file, SIDECAR + DESTINATION);
  const { status, out } = await chaperone(['check', '--json', '-c', file]);
  t.equal(status, 0);
  const { ok, destinations, rules, digest, findings } = JSON.parse(out);
  t.match([ok, destinations, rules, digest], [true, 1, 2, /^[0-9a-f]{64}$/]);
  t.match(findings, [
    { level: 'warning', file, line: Number, column: Number, about: /never/, fix: String },
    { level: 'note', code: 'only-reports', file, line: 6, column: 1 },
  ]);
  const strict = await chaperone(['check', '--json', '--strict', '-c', file]);
  t.match(
    [strict.status, JSON.parse(strict.out)],
    [78, { ok: false, findings: [{ level: 'error' }, {}] }],
  );
  t.match(
    (await chaperone(['check', '-c', file])).out,
    /^ok: 1 destination, 2 rules, digest [0-9a-f]{16}$/m,
  );
});

t.test(
  'a configuration that does not load is findings in JSON too, with the exit status of text',
  async (t) => {
    const folder = t.testdir();
    const file = join(folder, 'c.yaml');
    writeFileSync(file, SIDECAR.replace('forward', 'foward'));
    const { status, out, err } = await chaperone(['check', '--json', '-c', file]);
    t.match([status, err], [78, '']);
    t.match(JSON.parse(out), {
      ok: false,
      findings: [{ level: 'error', file, line: 4, column: 9, fix: /forward/ }],
    });
    const missing = await chaperone(['check', '--format', 'json', '-c', join(folder, 'none.yaml')]);
    t.equal(missing.status, 66);
    const [finding] = JSON.parse(missing.out).findings;
    t.match(finding, { level: 'error', file: /none\.yaml/ });
    t.notOk('line' in finding, 'the whole file has no line');
    t.match(await chaperone(['check', '--format', 'xml', '-c', file]), {
      status: 64,
      err: /Allowed choices are text, json, sarif/,
    });
  },
);

t.test('check --format sarif is SARIF 2.1.0 with file, line and column', async (t) => {
  const folder = t.testdir();
  const file = join(folder, 'with blank.yaml');
  writeFileSync(file, SIDECAR + DESTINATION.replace('mode: mtls', 'mode: mtsl'));
  const { status, out } = await chaperone(['check', '--format', 'sarif', '-c', file]);
  t.equal(status, 78);
  const { version, $schema, runs } = JSON.parse(out);
  t.match([version, $schema, runs.length], ['2.1.0', /sarif-schema-2\.1\.0\.json$/, 1]);
  const [{ tool, results, columnKind, originalUriBaseIds }] = runs;
  t.match(tool.driver, { name: 'chaperone', version: VERSION, rules: [{ id: 'config' }] });
  t.equal(columnKind, 'utf16CodeUnits');
  t.match(results[0], {
    ruleId: 'config',
    ruleIndex: 0,
    level: 'error',
    message: { text: /mtls/ },
  });
  const { artifactLocation, region } = results[0].locations[0].physicalLocation;
  t.same(region, { startLine: 14, startColumn: 16 });
  const base = originalUriBaseIds[artifactLocation.uriBaseId].uri;
  t.equal(
    new URL(artifactLocation.uri, base).href,
    pathToFileURL(file).href,
    'the place is that file',
  );
  const away = await chaperone(['check', '--format', 'sarif', '-c', '/nonexistent/x.yaml']);
  t.equal(away.status, 66);
  const [{ locations }] = JSON.parse(away.out).runs[0].results;
  t.match(locations[0].physicalLocation, {
    artifactLocation: { uri: 'file:///nonexistent/x.yaml' },
  });
  t.notOk('region' in locations[0].physicalLocation);
});

t.test('the version of the program is that of the package', (t) => {
  const manifest = JSON.parse(
    readFileSync(resolve(import.meta.dirname, '../../package.json'), 'utf8'),
  );
  t.equal(VERSION, manifest.version);
  t.end();
});
