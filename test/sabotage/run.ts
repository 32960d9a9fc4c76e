/**
 * Takes one security check after the other out of a scratch copy and demands that a test which
 * names it turns red. A sabotage that survives is a check that nothing proves; a test file that no
 * longer loads proves nothing either. The list goes into docs/assurance.md.
 *
 *   node test/sabotage/run.ts [--jobs N] [word ...]
 *
 * With words: only checks whose words or file contain one of them; writes no list then.
 */
import { parseArgs } from 'node:util';
import { coverageTable } from '../attacks/coverage.ts';
import { sabotageList, writeSection } from './page.ts';
import { SABOTAGES } from './checks/all.ts';
import type { Proof, Sabotage } from './sabotage.ts';
import { run, scratch, type Results, type Scratch } from './scratch.ts';

type Verdict =
  | { readonly kind: 'found'; readonly by: Proof }
  | { readonly kind: 'survived' }
  | { readonly kind: 'broken'; readonly why: string };

async function attempt(broken: Sabotage, whole: Scratch): Promise<Verdict> {
  using copy = scratch(broken, whole.folder);
  let loaded = false;
  for (const proof of broken.proofs) {
    const { green, red, hung } = await run(copy, proof.file, proof.title);
    if (red.has(proof.title) && !hung) return { kind: 'found', by: proof };
    loaded ||= green.has(proof.title);
    if (hung) return { kind: 'broken', why: `${proof.file} does not end` };
  }
  return loaded ? { kind: 'survived' } : { kind: 'broken', why: 'the tests do not load' };
}

/** Without a sabotage every named test must be green, or its redness proves nothing. */
async function control(
  chosen: readonly Sabotage[],
  copy: Scratch,
  jobs: number,
): Promise<readonly string[]> {
  const wanted = Map.groupBy(
    chosen.flatMap(({ proofs }) => proofs),
    ({ file }) => file,
  );
  const wrong: string[] = [];
  await inTurn([...wanted], jobs, async ([file, proofs]) => {
    const results = await run(copy, file);
    for (const { title } of proofs) if (!green(results, title)) wrong.push(`${file}: ${title}`);
  });
  return wrong;
}

function green(results: Results, title: string): boolean {
  return results.green.has(title) && !results.red.has(title);
}

async function inTurn<T>(
  all: readonly T[],
  jobs: number,
  work: (one: T) => Promise<void>,
): Promise<void> {
  const left = [...all];
  const worker = async (): Promise<void> => {
    for (let one = left.shift(); one !== undefined; one = left.shift()) await work(one);
  };
  await Promise.all(Array.from({ length: jobs }, worker));
}

function listOf(verdicts: ReadonlyMap<Sabotage, Verdict>): string {
  const found = SABOTAGES.flatMap((sabotage) => {
    const verdict = verdicts.get(sabotage);
    if (verdict === undefined) return [];
    const { check, file } = sabotage;
    const by = verdict.kind === 'found' ? `${verdict.by.title} (${verdict.by.file})` : verdict.kind;
    return [{ check, file, by }];
  });
  return sabotageList(found);
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { jobs: { type: 'string', default: '2' } },
  });
  const chosen = SABOTAGES.filter(
    ({ check, file }) =>
      positionals.length === 0 ||
      positionals.some((word) => check.includes(word) || file.includes(word)),
  );
  const jobs = Number(values.jobs);
  using whole = scratch();
  const wrong = await control(chosen, whole, jobs);
  for (const title of wrong) console.log(`not green to begin with: ${title}`);
  if (wrong.length > 0) return 1;
  const verdicts = new Map<Sabotage, Verdict>();
  await inTurn(chosen, jobs, async (one) => {
    const verdict = await attempt(one, whole);
    verdicts.set(one, verdict);
    const more =
      verdict.kind === 'found'
        ? `: ${verdict.by.title}`
        : verdict.kind === 'broken'
          ? `: ${verdict.why}`
          : '';
    console.log(`${verdict.kind.padEnd(8)} ${one.check}${more}`);
  });
  const missed = [...verdicts.values()].filter(({ kind }) => kind !== 'found').length;
  console.log(`${verdicts.size - missed} of ${verdicts.size} sabotages were found`);
  if (positionals.length === 0) {
    await writeSection('sabotage', listOf(verdicts));
    await writeSection('attacks', coverageTable());
  }
  return missed === 0 ? 0 : 1;
}

process.exitCode = await main();
