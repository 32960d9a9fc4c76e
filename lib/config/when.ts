/** The conditions of all documents, compiled: every one that does not parse or type-check is a problem at its place. */
import { setImmediate as turn } from 'node:timers/promises';
import { Fault } from '../base/fault.ts';
import { phaseOf, type Phase } from '../policy/condition-env.ts';
import type { Condition, Conditions } from '../policy/conditions.ts';
import type { Problems } from './problem.ts';
import type { DocumentSet } from './set-checks.ts';
import { locate, pathText, type Tree } from './tree.ts';

/** How many conditions are compiled before traffic beside a reload gets a turn: some milliseconds. */
const AT_A_TIME = 64;

/** By document, then by the index of the rule. */
export async function compileConditions(
  { sidecar, destinations }: DocumentSet,
  problems: Problems,
): Promise<ReadonlyMap<Tree, ReadonlyMap<number, Condition>>> {
  const all = new Map<Tree, ReadonlyMap<number, Condition>>();
  let compiled = 0;
  const any = destinations.some(({ document }) => document.spec.rules.some(({ when }) => when !== undefined));
  // Without a Sidecar the data classes are not known, and it is a problem already.
  if (sidecar === undefined || !any) return all;
  // The engine is loaded for those who use it: it is a tenth of the start.
  const { conditions } = await import('../policy/conditions.ts');
  const compiler = conditions(sidecar.document.spec.dataClasses);
  for (const { tree, document } of destinations) {
    const own = new Map<number, Condition>();
    for (const [i, { when }] of document.spec.rules.entries()) {
      if (when === undefined) continue;
      const condition = compileOne(compiler, { text: when, phase: phaseOf(document.spec.protocol) }, (message, fix) => {
        const steps = ['spec', 'rules', i, 'when'];
        problems.add({ at: locate(tree, steps).at, path: pathText(steps), message, fix });
      });
      if (condition !== undefined) own.set(i, condition);
      if ((compiled += 1) % AT_A_TIME === 0) await turn();
    }
    all.set(tree, own);
  }
  return all;
}

function compileOne(
  compiler: Conditions,
  when: { readonly text: string; readonly phase: Phase },
  refuse: (message: string, fix: string) => void,
): Condition | undefined {
  try {
    return compiler.compile(when.text, when.phase);
  } catch (failure) {
    const { message, hint = '' } = Fault.from(failure, 'config');
    refuse(message, hint);
    return undefined;
  }
}
