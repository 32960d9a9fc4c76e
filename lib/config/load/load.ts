/**
 * Files and folders to one frozen configuration, or to one Fault that lists every problem. All or
 * nothing: nothing is handed out of a set that has a problem. Dials nothing, writes nothing.
 */
import { createHash } from 'node:crypto';
import { dirname, resolve } from 'node:path';
import { Fault } from '../../base/fault.ts';
import { buildPolicy } from '../../policy/decision/lookup.ts';
import type { Policy } from '../../policy/decision/policy.ts';
import type { Destination } from '../../policy/protocols/index.ts';
import {
  type Problems,
  problems as collector,
  placeText,
  wholeFile,
} from '../../schema/problem.ts';
import { type Tree, canonicalJson, locate, pathText } from '../../schema/tree.ts';
import { readYaml } from '../../schema/yaml.ts';
import { AGENT_CHECKS } from '../checks/agents.ts';
import { checkDestination } from '../checks/destination.ts';
import { SET_CHECKS } from '../checks/set.ts';
import { TASK_CHECKS } from '../checks/tasks.ts';
import type { Finding } from '../documents/finding.ts';
import { type Documents, readDocument } from '../documents/read.ts';
import type { DestinationDocument, SidecarDocument } from '../documents/schema.ts';
import type { Decoded, DocumentSet } from '../documents/set.ts';
import { type SidecarSpec, compileSidecar } from './compile-sidecar.ts';
import { compileTaskPolicy } from './compile-task-policy.ts';
import { compileDestination } from './compile-destination.ts';
import { compileConditions } from './conditions.ts';
import { readRoots } from './roots.ts';
import { readSources } from './sources.ts';
import { collectVias, rootsOfVia, viaOf } from './via.ts';
import { type Pace, pace } from './yielding.ts';

export interface Config {
  readonly sidecar: SidecarSpec;
  readonly policy: Policy;
  /**
   * The files that were read, roots among them: a change of any of them is a reason to load again.
   */
  readonly sources: readonly string[];
}

export interface LoadOptions {
  /** Stands in the policy and so in every record. */
  readonly generation: number;
}

/**
 * Throws a Fault `config`, or `config-unreadable` where a file is the problem; its message has one
 * line for each problem.
 */
export async function loadConfig(
  paths: readonly string[],
  { generation }: LoadOptions,
): Promise<Config> {
  const problems = collector();
  const sources = await readSources(paths, problems);
  const unreadable = problems.size > 0;
  const paced = pace();
  const trees: Tree[] = [];
  for (const { file, text } of sources) {
    for (const tree of readYaml(file, text, problems)) {
      trees.push(tree);
      await paced();
    }
  }
  const found: Documents = { sidecars: [], destinations: [], taskPolicies: [], broken: new Set() };
  for (const tree of trees) {
    readDocument(tree, found, problems);
    await paced();
  }
  const set = documentSet(found, paths, problems);
  await checkAll(set, problems, paced);
  const roots = new Map<Tree, readonly string[]>();
  for (const destination of set.destinations) {
    const { roots: named, mode } = destination.document.spec.tls;
    if (named !== undefined && mode.startsWith('web'))
      await collectRoots(destination, roots, problems);
  }
  const ways = await collectVias(set, beside, problems);
  const conditions = await compileConditions(set, problems, paced);
  const fault = problems.fault(unreadable ? 'config-unreadable' : 'config');
  if (fault !== undefined) throw fault;
  const { sidecar } = set;
  if (sidecar === undefined) throw new TypeError('a set without problems has a Sidecar');
  const { dataClasses, defaults } = sidecar.document.spec;
  const { unlisted } = defaults;
  const destinations = await compileDestinations(set, { sidecar, roots, ways, conditions, paced });
  const taskPolicies = set.taskPolicies.map(({ tree, document }) =>
    compileTaskPolicy(document, placeText(tree.at), conditions.get(tree)?.get('own')),
  );
  const digest = await digestOf(trees, destinations, paced);
  await paced();
  return Object.freeze({
    sidecar: compileSidecar(sidecar.document, (path) => beside(sidecar.tree, path)),
    policy: buildPolicy({
      generation,
      digest,
      destinations,
      unlisted,
      taskPolicies,
      dataClasses,
    }),
    sources: Object.freeze([...sources.map(({ file }) => file), ...rootFiles(set)]),
  });
}

/** What a destination is compiled with, besides its document. */
interface Surroundings {
  readonly sidecar: Decoded<SidecarDocument>;
  readonly roots: ReadonlyMap<Tree, readonly string[]>;
  readonly ways: Awaited<ReturnType<typeof collectVias>>;
  readonly conditions: Awaited<ReturnType<typeof compileConditions>>;
  readonly paced: () => Promise<void> | undefined;
}

async function compileDestinations(
  { destinations }: DocumentSet,
  { sidecar, roots, ways, conditions, paced }: Surroundings,
): Promise<readonly Destination[]> {
  const { dataClasses, defaults } = sidecar.document.spec;
  const highestClass = dataClasses.at(-1) ?? '';
  const compiled: Destination[] = [];
  for (const { tree, document } of destinations) {
    const surroundings = {
      roots: roots.get(tree),
      conditions: conditions.get(tree) ?? new Map(),
      highestClass,
      task: defaults.task,
    };
    const via = viaOf(tree, document, { ways, sidecar: sidecar.tree });
    compiled.push(compileDestination(document, { at: placeText(tree.at), via, ...surroundings }));
    await paced();
  }
  return compiled;
}

function documentSet(found: Documents, paths: readonly string[], problems: Problems): DocumentSet {
  const [sidecar, ...others] = found.sidecars;
  for (const { tree } of others) {
    const message =
      'there is another Sidecar document ' +
      `(${sidecar === undefined ? '' : placeText(sidecar.tree.at)})`;
    problems.add({ at: tree.at, path: '', message, fix: 'keep one' });
  }
  const broken = found.broken.has('Sidecar');
  if (sidecar === undefined && !broken && problems.size === 0) {
    const at = wholeFile(paths.join(', '));
    problems.add({
      at,
      path: '',
      message: 'there is no Sidecar document',
      fix: 'add one; `chaperone init` writes a starter',
    });
  }
  const { destinations, taskPolicies } = found;
  return { sidecar, sidecarBroken: broken || problems.size > 0, destinations, taskPolicies };
}

async function checkAll(set: DocumentSet, problems: Problems, paced: Pace): Promise<void> {
  const add = (tree: Tree, { steps, message, fix }: Finding): void =>
    problems.add({ at: locate(tree, steps).at, path: pathText(steps), message, fix });
  for (const { tree, document } of set.destinations) {
    for (const finding of checkDestination(document.spec)) add(tree, finding);
    await paced();
  }
  for (const check of [...SET_CHECKS, ...TASK_CHECKS, ...AGENT_CHECKS]) {
    for (const finding of check.find(set)) add(finding.tree, finding);
    await paced();
  }
}

type DecodedDestination = Decoded<DestinationDocument>;

async function collectRoots(
  { tree, document }: DecodedDestination,
  into: Map<Tree, readonly string[]>,
  problems: Problems,
): Promise<void> {
  const { roots = [] } = document.spec.tls;
  const texts: string[] = [];
  for (const [i, path] of roots.entries()) {
    const steps = ['spec', 'tls', 'roots', i];
    try {
      texts.push(...(await readRoots(beside(tree, path))));
    } catch (failure) {
      const { message, hint = '' } = Fault.from(failure, 'config');
      problems.add({ at: locate(tree, steps).at, path: pathText(steps), message, fix: hint });
    }
  }
  into.set(tree, Object.freeze(texts));
}

function rootFiles({ sidecar, destinations }: DocumentSet): readonly string[] {
  return [
    ...new Set(
      [...destinations, ...(sidecar === undefined ? [] : [sidecar])].flatMap(
        ({ tree, document: { spec } }) => {
          const own =
            'tls' in spec
              ? [...(spec.tls.roots ?? []), ...rootsOfVia(spec.via)]
              : rootsOfVia(spec.defaults.via);
          return own.map((path) => beside(tree, path));
        },
      ),
    ),
  ];
}

/** An absolute path; a relative one begins at the folder of its document. */
function beside({ at }: Tree, path: string): string {
  return resolve(dirname(at.file), path);
}

/**
 * Hex SHA-256 over the canonical documents, whatever their order and files, and over the roots they
 * name.
 */
async function digestOf(
  trees: readonly Tree[],
  destinations: readonly Destination[],
  paced: Pace,
): Promise<string> {
  const parts: string[] = [];
  for (const tree of trees) {
    parts.push(sha256(canonicalJson(tree)));
    await paced();
  }
  const roots = destinations.flatMap(({ name, tls, via }) =>
    tls.roots === undefined && via?.roots === undefined
      ? []
      : JSON.stringify([name, tls.roots, via?.roots]),
  );
  return sha256([...parts.sort(), ...roots.sort()].join('\n'));
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
