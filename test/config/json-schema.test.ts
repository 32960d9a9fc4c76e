/**
 * The published schema takes what the decoder takes, and refuses what a schema can refuse of what
 * the decoder refuses.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import Ajv from 'ajv';
import t from 'tap';
import { parseAllDocuments } from 'yaml';
import { jsonSchema } from '../../lib/config/reference/json-schema.ts';
import { STARTER } from '../../lib/config/reference/starter.ts';
import { chaperone } from '../support/program.ts';
import { destination, problemsOf, SIDECAR } from './documents.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const valid = new Ajv.default({ strict: true, allErrors: true }).compile(jsonSchema());

function refusals(text: string): readonly string[] {
  return parseAllDocuments(text).flatMap((document) =>
    valid(document.toJS())
      ? []
      : (valid.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message}`),
  );
}

/**
 * Texts of a repository file that may hold documents of ours: itself, fenced blocks, values of
 * ConfigMaps.
 */
function documentsIn(file: string): readonly string[] {
  const text = readFileSync(join(ROOT, file), 'utf8');
  if (file.endsWith('.md'))
    return [...text.matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, yaml = '']) => yaml);
  const own: string[] = [];
  for (const document of parseAllDocuments(text)) {
    const value = document.toJS() as {
      readonly kind?: string;
      readonly data?: Readonly<Record<string, string>>;
    } | null;
    own.push(
      ...(value?.kind === 'ConfigMap' ? Object.values(value.data ?? {}) : [document.toString()]),
    );
  }
  return own;
}

const EXAMPLES = ['.', 'docs', 'deploy'].flatMap((top) =>
  readdirSync(join(ROOT, top), { recursive: top !== '.' })
    .map((name) => join(top, String(name)))
    .filter((name) => /\.(md|ya?ml)$/.test(name)),
);

t.test('every document of the documentation, of deploy/ and of the starter is taken', async (t) => {
  const seen = new Set<string>();
  for (const file of EXAMPLES) {
    for (const text of documentsIn(file)) {
      if (!/^apiVersion: chaperone\.dev\//m.test(text)) continue;
      seen.add(file);
      t.same(refusals(text), [], file);
    }
  }
  for (const file of ['README.md', 'deploy/kubernetes/documents.yaml'])
    t.ok(seen.has(file), `${file} has documents`);
  t.same(refusals(STARTER), [], 'starter');
  t.same(
    refusals(STARTER.slice(STARTER.indexOf('# ---')).replace(/^# /gm, '')),
    [],
    'commented out',
  );
});

interface Bad {
  readonly what: string;
  readonly text: string;
  /** Whether a JSON Schema can say it too. */
  readonly schema: boolean;
}

const rule = (text: string): string => destination(`  rules: [${text}]`);

const BAD: readonly Bad[] = [
  { what: 'an unknown kind', text: SIDECAR.replace('Sidecar', 'Sidekick'), schema: true },
  { what: 'another version', text: SIDECAR.replace('v1alpha1', 'v1'), schema: true },
  { what: 'no metadata', text: SIDECAR.replace('metadata: { name: agent }\n', ''), schema: true },
  {
    what: 'a name with capitals',
    text: SIDECAR.replace('name: agent', 'name: Agent'),
    schema: true,
  },
  { what: 'an unknown key', text: destination('  upstrem: {}'), schema: true },
  {
    what: 'an unknown key deep down',
    text: destination('  limits: { concurent: 3 }'),
    schema: true,
  },
  { what: 'a map for a list', text: destination('  hosts: { a: b }'), schema: true },
  { what: 'an empty list', text: destination('  hosts: []'), schema: true },
  { what: 'the same port twice', text: destination('  ports: [80, 80]'), schema: true },
  { what: 'a port that is none', text: destination('  ports: [70000]'), schema: true },
  { what: 'a port in quotes', text: destination('  ports: ["80"]'), schema: true },
  { what: 'a word that is not known', text: destination('  protocol: gopher'), schema: true },
  {
    what: 'a duration without a unit',
    text: destination('  timeouts: { connect: 5 }'),
    schema: true,
  },
  {
    what: 'a duration of another unit',
    text: destination('  timeouts: { connect: 5d }'),
    schema: true,
  },
  { what: 'a size in decimal units', text: destination('  limits: { body: 5MB }'), schema: true },
  {
    what: 'a peer that is no SPIFFE ID',
    text: destination('  tls: { mode: mtls, peers: [crm] }'),
    schema: true,
  },
  {
    what: 'a path without a slash',
    text: rule('{ name: a, effect: deny, http: { paths: [v1] } }'),
    schema: true,
  },
  { what: 'a rule without an effect', text: rule('{ name: a, http: {} }'), schema: true },
  { what: 'an address without a port', text: destination('  listen: 127.0.0.1'), schema: true },
  {
    what: 'a duration that is nothing',
    text: destination('  timeouts: { connect: 0s }'),
    schema: false,
  },
  { what: 'mtls without peers', text: destination('  tls: { mode: mtls }'), schema: false },
  {
    what: 'an allow rule without an action',
    text: rule('{ name: a, effect: allow, http: {} }'),
    schema: false,
  },
  {
    what: 'two rules of one name',
    text: rule(
      '{ name: a, effect: deny, http: {} }, { name: a, effect: deny, http: { paths: [/a] } }',
    ),
    schema: false,
  },
  { what: 'a wildcard over everything', text: destination("  hosts: ['*.com']"), schema: false },
  { what: 'a sink that is no place', text: `${SIDECAR}  audit: { sinks: [{}] }\n`, schema: false },
];

t.test('bad documents are refused by the decoder, and by the schema where it can', async (t) => {
  for (const { what, text, schema } of BAD) {
    const [sidecar, document] = text.includes('kind: Destination')
      ? [SIDECAR, text]
      : [text, destination('')];
    t.not((await problemsOf(t, sidecar, document)).length, 0, `${what}: the decoder`);
    t.equal(refusals(text).length > 0, schema, `${what}: the schema`);
  }
});

t.test(
  'without their fault the bad documents are good: the tests above refuse for the reason they name',
  async (t) => {
    t.same(
      await problemsOf(
        t,
        SIDECAR,
        destination('  timeouts: { connect: 5s }\n  limits: { body: 5MiB, concurrent: 3 }'),
      ),
      [],
    );
    t.same(refusals(SIDECAR), []);
    t.same(
      refusals(destination('  timeouts: { connect: 5s }\n  limits: { body: 5MiB, concurrent: 3 }')),
      [],
    );
    t.same(refusals(rule('{ name: a, effect: deny, http: { paths: [/v1] } }')), []);
  },
);

t.test('chaperone schema prints the schema', async (t) => {
  const { status, out } = await chaperone(['schema']);
  t.equal(status, 0);
  t.same(JSON.parse(out), jsonSchema());
});
