/**
 * `chaperone test`: cases beside the policy, each a supposed exchange and the decision it must come
 * to, made by the functions that decide in earnest. Exit status 1 when a case fails or too few
 * rules were touched.
 */
import { writeFile } from 'node:fs/promises';
import { Fault } from '../../lib/base/fault.ts';
import { loadConfig } from '../../lib/config/load/load.ts';
import { type PolicyCase, loadTests } from '../../lib/config/load/policy-tests.ts';
import { simulate } from '../../lib/listen/hypothetical.ts';
import { decide } from '../../lib/policy/decision/decide.ts';
import type { Decision } from '../../lib/policy/decision/decision.ts';
import type { Policy } from '../../lib/policy/decision/policy.ts';
import { coverageOf, percent } from '../../lib/policy/review/coverage.ts';
import { supposedTask } from '../../lib/policy/review/hypothetical-task.ts';
import { type Io, done } from '../io.ts';
import type { CaseResult } from './case-result.ts';
import { junit } from './junit.ts';

export interface TestOptions {
  readonly config: readonly string[];
  /** Files of cases; those beside the configuration when there are none. */
  readonly files: readonly string[];
  /** Percent of the rules that must have decided some case. */
  readonly coverage?: string;
  /** File for a report in the format of JUnit. */
  readonly junit?: string;
  readonly json?: boolean;
}

export async function test(options: TestOptions, io: Io): Promise<void> {
  const least = leastOf(options.coverage);
  const { policy } = await loadConfig(options.config, { generation: 1 });
  const results = (await loadTests(options.files, options.config)).map((one) => run(one, policy));
  const failed = results.filter(({ failure }) => failure !== undefined);
  const coverage = coverageOf(
    policy,
    results.flatMap(({ decision }) => decision ?? []),
  );
  const reached = percent(coverage);
  const short = least !== undefined && reached < least;
  if (options.junit !== undefined) await writeFile(options.junit, junit(results));
  if (options.json === true) {
    const cases = results.map(({ from, failure }) => ({
      suite: from.suite,
      name: from.case.name,
      at: from.at,
      failure,
    }));
    io.out(
      JSON.stringify({ cases, failed: failed.length, coverage: { ...coverage, percent: reached } }),
    );
  } else {
    for (const { from, failure } of failed)
      io.out(`${io.style.bad('not ok')} ${from.at}: ${from.case.name}: ${failure}`);
    if (io.detail === 'verbose')
      for (const { from, failure } of results)
        if (failure === undefined) io.out(`${io.style.good('ok')} ${from.at}: ${from.case.name}`);
    done(
      io,
      `${results.length - failed.length} of ${results.length} cases hold; ` +
        `${coverage.covered} of ${coverage.rules} rules decided a case (${reached} %)`,
    );
    for (const one of coverage.missing) done(io, `  no case is decided by ${one}`);
    if (short) io.out(`${io.style.bad('too few')}: ${least} % of the rules must decide a case`);
  }
  if (failed.length > 0 || short) process.exitCode = 1;
}

function leastOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^(?:\d{1,2}|100)$/.test(text)) return Number(text);
  throw new Fault('usage', `--coverage ${JSON.stringify(text)} is no percentage`, {
    hint: 'write 0 to 100',
  });
}

/**
 * What is asked at no time of its own is asked at this one, so that a case means the same every
 * day.
 */
const NOON = Date.UTC(2026, 0, 1, 12);

function run(from: PolicyCase, policy: Policy): CaseResult {
  const { given, case: one } = from;
  const { method, target } = one.request;
  const task = one.task ?? given.task;
  let decision: Decision | undefined;
  let outcome: Outcome;
  try {
    const facts = simulate(
      {
        method,
        target,
        listener: one.listener,
        fields: [...(given.headers ?? []), ...(one.headers ?? [])],
        message: messageOf(one),
        time: one.time ?? given.time ?? NOON,
        peer: one.peer ?? given.peer,
        task: task && supposedTask(task, policy),
      },
      policy,
    );
    decision = decide(policy, facts, one.identity ?? given.identity);
    outcome = decision;
  } catch (failure) {
    if (!(failure instanceof Fault) || failure.code === 'usage')
      throw Fault.from(failure, 'internal', from.at);
    outcome = { effect: 'refused', code: failure.code, reason: failure.message };
  }
  return { from, failure: objection(outcome, one.expect), decision };
}

type Outcome = Pick<Decision, 'code' | 'rule' | 'action' | 'reason' | 'effect'> | Refusal;

interface Refusal {
  readonly effect: 'refused';
  readonly code: string;
  readonly reason: string;
  readonly rule?: undefined;
  readonly action?: undefined;
}

/** The message of a case; `tool` and `args` are short for one. */
function messageOf({ message, tool, args }: PolicyCase['case']): string | undefined {
  if (tool === undefined) return message;
  return `{"method":"tools/call","params":{"name":${JSON.stringify(tool)},"arguments":${args ?? '{}'}}}`;
}

function objection(outcome: Outcome, expected: PolicyCase['case']['expect']): string | undefined {
  for (const key of ['effect', 'rule', 'code', 'action'] as const) {
    const wanted = expected[key];
    if (wanted === undefined || outcome[key] === wanted) continue;
    return `${key} is ${outcome[key] ?? 'none'}, not ${wanted}: ${outcome.reason}`;
  }
  return undefined;
}
