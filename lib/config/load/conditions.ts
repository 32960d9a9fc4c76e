/**
 * The conditions of all documents, compiled: every one that does not parse or type-check is a
 * problem at its place.
 */
import { Fault } from '../../base/fault.ts';
import { quote } from '../../net/host.ts';
import type { Conditions as Compiler } from '../../policy/conditions/compile.ts';
import type { Condition, Phase } from '../../policy/model/condition.ts';
import { type HeaderPolicy, kindOf, verdictOf } from '../../policy/model/field-table.ts';
import type { Problems } from '../../schema/problem.ts';
import { type Step, type Tree, locate, pathText } from '../../schema/tree.ts';
import { NEEDS_STATE, stateless } from '../checks/tasks.ts';
import { compileHeaders } from '../documents/headers.ts';
import type { DestinationDocument } from '../documents/schema.ts';
import { phaseIn } from '../documents/protocols.ts';
import type { Conditions } from '../documents/rule.ts';
import type { DocumentSet } from '../documents/set.ts';
import type { Pace } from './yielding.ts';

interface Written {
  readonly of: number | 'own';
  readonly text: string;
  readonly phase: Phase;
  readonly steps: readonly Step[];
}

/** By document. */
export async function compileConditions(
  { sidecar, destinations, taskPolicies }: DocumentSet,
  problems: Problems,
  paced: Pace,
): Promise<ReadonlyMap<Tree, Conditions>> {
  const all = new Map<Tree, Conditions>();
  // Without a Sidecar the data classes are not known, and it is a problem already.
  if (sidecar === undefined) return all;
  let compiler: Compiler | undefined;
  const compile = async (
    tree: Tree,
    written: readonly Written[],
    headers?: HeaderPolicy,
  ): Promise<void> => {
    const own = new Map<number | 'own', Condition>();
    for (const one of written) {
      compiler ??= await engine(sidecar.document.spec.dataClasses);
      const refuse = (message: string, fix: string): void =>
        problems.add({ at: locate(tree, one.steps).at, path: pathText(one.steps), message, fix });
      const condition = compileOne(compiler, one, refuse);
      for (const name of condition?.reads.fields.exact ?? []) neverThere(name, headers, refuse);
      if (condition !== undefined) own.set(one.of, condition);
      await paced();
    }
    if (own.size > 0) all.set(tree, own);
  };
  for (const { tree, document } of destinations) {
    await compile(tree, writtenIn(document), compileHeaders(document.spec.headers));
    await paced();
  }
  for (const { tree, document } of taskPolicies)
    await compile(tree, ownOf(document.spec.when, 'intent'));
  if (stateless(sidecar.document)) refuseHistory(all, problems);
  return all;
}

function refuseHistory(all: ReadonlyMap<Tree, Conditions>, problems: Problems): void {
  for (const [tree, conditions] of all) {
    for (const [of, { history }] of conditions) {
      if (!history) continue;
      const steps: readonly Step[] =
        of === 'own' ? ['spec', 'when'] : ['spec', 'rules', of, 'when'];
      const message =
        'it reads the history of tasks, and after a restart nobody would know that there was one';
      problems.add({
        at: locate(tree, steps).at,
        path: pathText(steps),
        message,
        fix: NEEDS_STATE,
      });
    }
  }
}

/** Loaded for those who use it: it is a tenth of the start. */
async function engine(dataClasses: readonly string[]): Promise<Compiler> {
  const { conditions } = await import('../../policy/conditions/compile.ts');
  return conditions(dataClasses);
}

function writtenIn({ spec }: DestinationDocument): readonly Written[] {
  const ofRules = spec.rules.flatMap((rule, i) =>
    rule.when === undefined
      ? []
      : [
          {
            of: i,
            text: rule.when,
            phase: phaseIn(spec, rule),
            steps: ['spec', 'rules', i, 'when'],
          },
        ],
  );
  return [...ownOf(spec.when, 'connect'), ...ofRules];
}

/** The condition of a document itself. */
function ownOf(text: string | undefined, phase: Phase): readonly Written[] {
  return text === undefined ? [] : [{ of: 'own', text, phase, steps: ['spec', 'when'] }];
}

function compileOne(
  compiler: Compiler,
  { text, phase }: Written,
  refuse: (message: string, fix: string) => void,
): Condition | undefined {
  try {
    return compiler.compile(text, phase);
  } catch (failure) {
    const { message, hint = '' } = Fault.from(failure, 'config');
    refuse(message, hint);
    return undefined;
  }
}

/**
 * A condition over a field that is taken off first would never see it: a deny rule would never
 * deny.
 */
function neverThere(
  name: string,
  headers: HeaderPolicy | undefined,
  refuse: (message: string, fix: string) => void,
): void {
  const verdict = verdictOf(name, headers);
  if (verdict !== 'strip' && verdict !== 'refuse') return;
  const claim =
    kindOf(name) === 'claim'
      ? `, or write headers: { pass: [${name}] } where the upstream may believe it`
      : '';
  const fix = name === 'host' ? 'write request.host' : `decide by something else${claim}`;
  refuse(`the field ${quote(name)} never passes: it is no fact that a condition could read`, fix);
}
