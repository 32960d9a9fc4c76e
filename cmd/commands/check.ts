/**
 * `chaperone check`: is this configuration sound? Dials nothing. Problems come as one Fault that lists them all; what loads and is likely a mistake is a warning, and
 * with `--strict` a problem too.
 */
import { Fault } from '../../lib/base/fault.ts';
import { confusableNames } from '../../lib/config/confusable.ts';
import { loadConfig } from '../../lib/config/load.ts';
import { lintPolicy, notesOn, type LintFinding } from '../../lib/policy/lint.ts';
import type { Io } from '../io.ts';

export interface CheckOptions {
  readonly config: readonly string[];
  readonly strict?: boolean;
}

export async function check({ config, strict }: CheckOptions, io: Io): Promise<void> {
  const { policy, sidecar } = await loadConfig(config, { generation: 1 });
  const setting = { identity: sidecar.name, forward: sidecar.forward !== undefined };
  const warnings = [...lintPolicy(policy, setting), ...confusableNames(policy.destinations)];
  if (strict === true && warnings.length > 0) throw new Fault('config', warnings.map(line).join('\n'));
  const rules = policy.destinations.reduce((sum, { rules: list }) => sum + list.length, 0);
  io.out(`ok: ${policy.destinations.length} destinations, ${rules} rules, digest ${policy.digest.slice(0, 16)}`);
  for (const warning of warnings) io.out(`warning: ${line(warning)}`);
  for (const { at, about, message, fix } of notesOn(policy)) io.out(`note: ${at} ${about}: ${message}; ${fix}`);
  for (const destination of policy.destinations) {
    if (destination.mode === 'report') {
      io.out(
        `note: ${destination.at}: destination ${destination.name} only reports; what its rules deny is let through`,
      );
    }
  }
}

function line({ code, at, about, message, fix }: LintFinding): string {
  return `${at} ${about}: ${message}; ${fix} (${code})`;
}
