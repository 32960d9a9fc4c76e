/**
 * Files of PolicyTest documents to cases. As strict as the documents of the policy: every problem
 * is named, and nothing is run of a set that has one.
 */
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Fault } from '../../base/fault.ts';
import { type Problems, problems as collector, placeText } from '../../schema/problem.ts';
import { fail } from '../../schema/schema.ts';
import { type Tree, locate } from '../../schema/tree.ts';
import { parseYaml } from '../../schema/yaml.ts';
import { type TestDocument, testDocument } from '../documents/policy-test.ts';
import { readSources, testFiles } from './sources.ts';

export interface PolicyCase {
  /** Name of its document. */
  readonly suite: string;
  /** `file:line:column` */
  readonly at: string;
  readonly given: TestDocument['spec']['given'];
  readonly case: TestDocument['spec']['cases'][number];
}

/**
 * The cases of `files`; without any, of the `*.test.yaml` beside the configuration. Throws a Fault
 * `config`, `config-unreadable` or `usage`.
 */
export async function loadTests(
  files: readonly string[],
  config: readonly string[],
): Promise<readonly PolicyCase[]> {
  const found = files.length > 0 ? files : await beside(config);
  if (found.length === 0) {
    throw new Fault('usage', `there is no *.test.yaml beside ${config.join(', ')}`, {
      hint: 'write one, or name files',
    });
  }
  const problems = collector();
  const sources = await readSources(found, problems);
  const unreadable = problems.size > 0;
  const trees = sources.flatMap(({ file, text }) => parseYaml(file, text, problems));
  const cases = trees.flatMap((tree) => casesOf(tree, problems));
  const fault = problems.fault(unreadable ? 'config-unreadable' : 'config');
  if (fault !== undefined) throw fault;
  return cases;
}

/** Every `*.test.yaml` of the folder that is named, or in which a named file lies. */
async function beside(config: readonly string[]): Promise<readonly string[]> {
  const found = await Promise.all(config.map(testsBeside));
  return [...new Set(found.flat())];
}

async function testsBeside(path: string): Promise<readonly string[]> {
  const folder = await stat(path).then(
    (stats) => stats.isDirectory(),
    () => false,
  );
  // A file that is not there is told of by whoever loads it.
  return folder ? testFiles(path) : testFiles(dirname(path)).catch(() => []);
}

function casesOf(tree: Tree, problems: Problems): readonly PolicyCase[] {
  const reading = { problems, steps: [] };
  if (tree.kind === 'map' && kindOf(tree) !== 'PolicyTest') {
    fail(reading, tree, 'the document is no PolicyTest', 'documents of the policy are named by -c');
    return [];
  }
  const outcome = testDocument.read(tree, reading);
  if (outcome === undefined) return [];
  const { metadata, spec } = outcome.value;
  return spec.cases.map((one, i) => ({
    suite: metadata.name,
    at: placeText(locate(tree, ['spec', 'cases', i]).at),
    given: spec.given,
    case: one,
  }));
}

function kindOf(tree: Extract<Tree, { kind: 'map' }>): unknown {
  const kind = tree.entries.get('kind')?.value;
  return kind?.kind === 'scalar' ? kind.value : undefined;
}
