/**
 * The manifests against the schemas that Kubernetes publishes, strict: a key that the API server
 * does not know is an error. The schemas are those of the Python package kubernetes-validate, made
 * from the OpenAPI document of each release and fetched by `make test-schemas`; its folder is
 * $KUBERNETES_SCHEMAS.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import t from 'tap';
import { type Manifest, manifests } from '../manifests.ts';

const SCHEMAS = process.env['KUBERNETES_SCHEMAS'] ?? '';
/** Custom resources, whose schemas come with their own definitions. */
const CUSTOM = ['ClusterSPIFFEID'];
/**
 * From the first release in which the manifests are meant to work as they stand, of those with
 * schemas, to the last.
 */
const OLDEST = 30;
const minors = readdirSync(SCHEMAS)
  .flatMap((name) => /^v1\.(\d+)\.\d+-local-strict$/.exec(name)?.[1] ?? [])
  .map(Number)
  .filter((minor) => minor >= OLDEST)
  .toSorted((a, b) => a - b);
const own = manifests().filter(({ kind }) => !CUSTOM.includes(kind));

/** The validator of one kind in one release. */
function validators(minor: number): (manifest: Manifest) => ValidateFunction {
  const folder = join(SCHEMAS, `v1.${minor}.0-local-strict`);
  const schema = (name: string): object =>
    JSON.parse(readFileSync(join(folder, name), 'utf8')) as object;
  const ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: true });
  ajv.addSchema(schema('_definitions.json'));
  return ({ kind, apiVersion }) =>
    ajv.compile(
      schema(
        `${kind}-${apiVersion.split('/').join('-').replace('.k8s.io', '')}.json`.toLowerCase(),
      ),
    );
}

t.test('there are schemas of several releases', async (t) => {
  t.ok(minors.includes(OLDEST) && minors.length > 2, minors.join(' '));
});

for (const minor of minors) {
  const validator = validators(minor);
  t.test(`every manifest is one that Kubernetes 1.${minor} knows, key by key`, async (t) => {
    for (const manifest of own) {
      const valid = validator(manifest);
      t.ok(
        valid(manifest),
        `${manifest.kind} ${manifest.metadata.name}: ${JSON.stringify(valid.errors)}`,
      );
    }
  });
}

t.test('a misspelt key, a wrong type and a missing key are found', async (t) => {
  const newest = validators(minors.at(-1) ?? OLDEST);
  const [deployment] = own.filter(({ kind }) => kind === 'Deployment');
  if (deployment === undefined) throw new Error('there is no Deployment');
  const valid = newest(deployment);
  const text = JSON.stringify(deployment);
  for (const [right, wrong] of [
    ['"readOnlyRootFilesystem"', '"readonlyRootFilesystem"'],
    ['"containerPort":15021', '"containerPort":"health"'],
    ['"mountPath":"/etc/chaperone",', ''],
  ] as const) {
    t.ok(text.includes(right), right);
    t.notOk(valid(JSON.parse(text.replace(right, wrong))), wrong);
  }
});
