/** `chaperone check`: is this configuration sound? Dials nothing. Problems come as one Fault that lists them all. */
import { loadConfig } from '../../lib/config/load.ts';
import type { Io } from '../io.ts';

export async function check(paths: readonly string[], io: Io): Promise<void> {
  const { policy } = await loadConfig(paths, { generation: 1 });
  const rules = policy.destinations.reduce((sum, { rules: list }) => sum + list.length, 0);
  io.out(`ok: ${policy.destinations.length} destinations, ${rules} rules, digest ${policy.digest.slice(0, 16)}`);
  for (const destination of policy.destinations) {
    if (destination.mode === 'report') {
      io.out(
        `note: ${destination.at}: destination ${destination.name} only reports; what its rules deny is let through`,
      );
    }
  }
}
