/**
 * `chaperone check`: is this configuration sound? Dials nothing. In text, problems come as one
 * Fault that lists them all; what loads and is likely a mistake is a warning, and with `--strict` a
 * problem too. In JSON and SARIF all of it is one document, whatever comes of it.
 */
import { rulesOf } from '../../lib/policy/protocols/index.ts';
import { CODES, Fault } from '../../lib/base/fault.ts';
import { confusableNames } from '../../lib/config/checks/confusables.ts';
import { type Config, loadConfig } from '../../lib/config/load/load.ts';
import { lintPolicy, notesOn } from '../../lib/policy/review/lint.ts';
import { problemsOf } from '../../lib/schema/problem.ts';
import { type Io, done } from '../io.ts';
import { counted } from '../table.ts';
import type { CheckFinding } from './check-finding.ts';
import { sarif } from './sarif.ts';

export interface CheckOptions {
  readonly config: readonly string[];
  readonly strict?: boolean;
  readonly format: 'text' | 'json' | 'sarif';
}

/**
 * Gives the exit status. Throws a Fault `config` or `config-unreadable` where the format is text.
 */
export async function check({ config, strict, format }: CheckOptions, io: Io): Promise<number> {
  if (format === 'text') {
    text(await loadConfig(config, { generation: 1 }), strict === true, io);
    return 0;
  }
  const { findings, status, summary } = await outcome(config, strict === true);
  io.out(
    format === 'sarif'
      ? sarif(findings)
      : JSON.stringify({ ok: status === 0, ...summary, findings }),
  );
  return status;
}

interface Outcome {
  readonly findings: readonly CheckFinding[];
  readonly status: number;
  readonly summary?: Summary;
}

interface Summary {
  readonly destinations: number;
  readonly rules: number;
  readonly digest: string;
}

async function outcome(paths: readonly string[], strict: boolean): Promise<Outcome> {
  try {
    const config = await loadConfig(paths, { generation: 1 });
    const found = findingsOf(config);
    const findings = found.map((one) =>
      strict && one.level === 'warning' ? { ...one, level: 'error' as const } : one,
    );
    const bad = findings.some(({ level }) => level === 'error');
    return { findings, status: bad ? CODES.config.exit : 0, summary: summaryOf(config) };
  } catch (failure) {
    const listed = failure instanceof Fault ? problemsOf(failure) : [];
    if (!(failure instanceof Fault) || listed.length === 0) throw failure;
    const findings = listed.map(({ at: { file, line: row, column }, path, message, fix }) => {
      const place = row === 0 ? { file } : { file, line: row, column };
      return { level: 'error' as const, code: 'config', ...place, about: path, message, fix };
    });
    return { findings, status: failure.exit };
  }
}

const NO_DESTINATION = {
  code: 'no-destination',
  about: 'the configuration',
  message: 'there is no Destination document, so every request is refused',
  fix: 'write one, or name the folder that holds them by -c',
} as const;

function findingsOf({ policy, sidecar, sources }: Config): readonly CheckFinding[] {
  const setting = { identity: sidecar.name, forward: sidecar.forward !== undefined };
  const warnings = [...lintPolicy(policy, setting), ...confusableNames(policy.destinations)];
  const reporting = policy.destinations.filter(({ mode }) => mode === 'report');
  const note =
    (code: string) => (one: { at: string; about: string; message: string; fix: string }) =>
      placed('note', code, one);
  return [
    ...(policy.destinations.length > 0
      ? []
      : [NO_DESTINATION].map((one) =>
          placed('warning', one.code, { ...one, at: `${sources[0]}:1:1` }),
        )),
    ...warnings.map((one) => placed('warning', one.code, one)),
    ...notesOn(policy).map(note('encoded-slash')),
    ...reporting
      .map(({ at, name }) => ({
        at,
        about: `destination ${name}`,
        message: 'only reports; what its rules deny is let through',
        fix: 'write mode: enforce when its records say so',
      }))
      .map(note('only-reports')),
  ];
}

function placed(
  level: CheckFinding['level'],
  code: string,
  { at, about, message, fix }: { at: string; about: string; message: string; fix: string },
): CheckFinding {
  const [, file = at, line, column] = /^(.*):(\d+):(\d+)$/s.exec(at) ?? [];
  return { level, code, file, line: Number(line), column: Number(column), about, message, fix };
}

function summaryOf({ policy: { destinations, digest } }: Config): Summary {
  const rules = destinations.reduce((sum, each) => sum + rulesOf(each).length, 0);
  return { destinations: destinations.length, rules, digest };
}

function text(config: Config, strict: boolean, io: Io): void {
  const findings = findingsOf(config);
  const warnings = findings.filter(({ level }) => level === 'warning');
  if (strict && warnings.length > 0) throw new Fault('config', warnings.map(line).join('\n'));
  const { destinations, rules, digest } = summaryOf(config);
  const counts = `${counted(destinations, 'destination')}, ${counted(rules, 'rule')}`;
  done(io, `ok: ${counts}, digest ${digest.slice(0, 16)}`);
  for (const one of io.detail === 'quiet' ? warnings : findings)
    io.out(`${one.level}: ${line(one)}`);
}

function line({ level, code, file, line: row, column, about, message, fix }: CheckFinding): string {
  const words = `${file}:${row}:${column} ${about}: ${message}; ${fix}`;
  return level === 'warning' ? `${words} (${code})` : words;
}
