/**
 * `chaperone doctor`: what is wrong with this set-up, why, and what to do about it. It changes
 * nothing, and contacts the Workload API, the resolver and what the operator named, nothing else.
 */
import { systemClock } from '../../lib/base/clock.ts';
import { Fault } from '../../lib/base/fault.ts';
import { type Config, loadConfig } from '../../lib/config/load/load.ts';
import { parseDuration } from '../../lib/config/documents/scalars.ts';
import { endpointFrom } from '../../lib/identity/address.ts';
import {
  type Check,
  type CheckName,
  CHECKS,
  fail,
  type Finding,
  ok,
  type Verdict,
  warn,
} from '../doctor/finding.ts';
import { checkAdmin, checkAudit, checkPorts } from '../doctor/host.ts';
import { checkClock, checkIdentity, checkSocket } from '../doctor/identity.ts';
import { checkDns, checkEgress } from '../doctor/network.ts';
import type { Io } from '../io.ts';
import { counted } from '../table.ts';

export interface DoctorOptions {
  readonly config: readonly string[];
  readonly workloadApi?: string;
  readonly egress?: readonly string[];
  readonly only?: readonly string[];
  readonly timeout: string;
  readonly json?: boolean;
}

type Later = Exclude<CheckName, 'configuration'>;

const LATER: Readonly<Record<Later, Check>> = Object.freeze({
  socket: checkSocket,
  identity: checkIdentity,
  clock: checkClock,
  ports: checkPorts,
  audit: checkAudit,
  admin: checkAdmin,
  dns: checkDns,
  egress: checkEgress,
});

/**
 * Whether no check failed; warnings do not count. @throws Fault `usage`; whatever else is wrong is
 * a finding
 */
export async function doctor(options: DoctorOptions, io: Io): Promise<boolean> {
  const wanted = wantedChecks(options.only);
  const patience = parseDuration(options.timeout);
  const { config, verdicts } = await configuration(options.config);
  const findings: Finding[] = wanted.has('configuration') ? named('configuration', verdicts) : [];
  const patient = {
    config,
    endpoint: endpoint(options, config, io),
    egress: options.egress ?? [],
    patience,
    clock: systemClock,
  };
  for (const [name, check] of Object.entries(LATER) as [Later, Check][]) {
    if (wanted.has(name)) findings.push(...named(name, await check(patient)));
  }
  const healthy = findings.every(({ state }) => state !== 'fail');
  if (options.json === true) io.out(JSON.stringify({ healthy, findings }));
  else
    for (const finding of findings)
      if (finding.state !== 'ok' || io.detail !== 'quiet') print(finding, io);
  return healthy;
}

function wantedChecks(only: readonly string[] = CHECKS): ReadonlySet<string> {
  for (const name of only) {
    if (CHECKS.some((known) => known === name)) continue;
    throw new Fault('usage', `there is no check ${JSON.stringify(name)}`, {
      hint: `known are ${CHECKS.join(', ')}`,
    });
  }
  return new Set(only);
}

function named(check: CheckName, verdicts: readonly Verdict[]): Finding[] {
  return verdicts.map((verdict) => ({ check, ...verdict }));
}

interface Loaded {
  readonly config: Config | undefined;
  readonly verdicts: readonly Verdict[];
}

async function configuration(paths: readonly string[]): Promise<Loaded> {
  try {
    const config = await loadConfig(paths, { generation: 1 });
    const { destinations, digest } = config.policy;
    const reporting = destinations
      .filter(({ mode }) => mode === 'report')
      .map(({ name, at }) =>
        warn(
          `destination ${name} only reports`,
          `${at}: what its rules deny is let through`,
          'take mode: report out when the rules are complete',
        ),
      );
    return {
      config,
      verdicts: [
        ok(`${counted(destinations.length, 'destination')}, digest ${digest.slice(0, 16)}`),
        ...reporting,
      ],
    };
  } catch (failure) {
    const { message } = Fault.from(failure, 'config');
    const problems = message
      .split('\n')
      .map((line) =>
        fail(line, 'the documents are taken whole or not at all', 'see docs/reference'),
      );
    return { config: undefined, verdicts: problems };
  }
}

function endpoint(
  { workloadApi }: DoctorOptions,
  config: Config | undefined,
  io: Io,
): ReturnType<typeof endpointFrom> | undefined {
  try {
    return endpointFrom(workloadApi ?? config?.sidecar.identity.workloadApi, io.env);
  } catch {
    return undefined;
  }
}

function print({ check, state, what, why, fix }: Finding, { out, style }: Io): void {
  const mark = { ok: style.good('ok  '), warn: style.bold('warn'), fail: style.bad('fail') }[state];
  out(`${mark} ${check.padEnd(13)} ${what}`);
  if (why !== undefined) out(style.dim(`${' '.repeat(19)}why: ${why}`));
  if (fix !== undefined) out(`${' '.repeat(19)}fix: ${fix}`);
}
