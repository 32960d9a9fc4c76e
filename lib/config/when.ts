/** The conditions of all documents, compiled: every one that does not parse or type-check is a problem at its place. */
import { setImmediate as turn } from 'node:timers/promises';
import { Fault } from '../base/fault.ts';
import { phaseOf, type Phase } from '../policy/condition-env.ts';
import type { Condition, Conditions as Compiler } from '../policy/conditions.ts';
import type { Problems } from './problem.ts';
import type { DocumentSet } from './set-checks.ts';
import type { DestinationDocument } from './schema.ts';
import { locate, pathText, type Step, type Tree } from './tree.ts';

/** How many conditions are compiled before traffic beside a reload gets a turn: some milliseconds. */
const AT_A_TIME = 64;

/** What was compiled of one document: by the index of the rule, or `own` for the destination itself. */
export type Conditions = ReadonlyMap<number | 'own', Condition>;

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
): Promise<ReadonlyMap<Tree, Conditions>> {
  const all = new Map<Tree, Conditions>();
  let compiled = 0;
  const written: readonly (readonly [Tree, readonly Written[]])[] = [
    ...destinations.map(({ tree, document }) => [tree, writtenIn(document)] as const),
    ...taskPolicies.map(({ tree, document }) => [tree, ownOf(document.spec.when, 'intent')] as const),
  ];
  const any = written.some(([, conditions]) => conditions.length > 0);
  // Without a Sidecar the data classes are not known, and it is a problem already.
  if (sidecar === undefined || !any) return all;
  // The engine is loaded for those who use it: it is a tenth of the start.
  const { conditions } = await import('../policy/conditions.ts');
  const compiler = conditions(sidecar.document.spec.dataClasses);
  for (const [tree, conditionsOfIt] of written) {
    const own = new Map<number | 'own', Condition>();
    for (const one of conditionsOfIt) {
      const condition = compileOne(compiler, one, (message, fix) =>
        problems.add({ at: locate(tree, one.steps).at, path: pathText(one.steps), message, fix }),
      );
      if (condition !== undefined) own.set(one.of, condition);
      if ((compiled += 1) % AT_A_TIME === 0) await turn();
    }
    all.set(tree, own);
  }
  return all;
}

function writtenIn({ spec }: DestinationDocument): readonly Written[] {
  const phase = phaseOf(spec.protocol);
  const ofRules = spec.rules.flatMap(({ when }, i) =>
    when === undefined ? [] : [{ of: i, text: when, phase, steps: ['spec', 'rules', i, 'when'] }],
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
