/**
 * What a sidecar knows after a restart: that it has run before, and what was counted against
 * quotas. The folder belongs to the sidecar alone and lives as long as the pod.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { guardFolder } from '../../lib/api/admin.ts';
import { Fault } from '../../lib/base/fault.ts';
import type { SidecarSpec } from '../../lib/config/load/compile-sidecar.ts';
import type { CountsKept } from '../../lib/tasks/quotas.ts';

export interface State {
  /** What the agents did until now is not known. */
  readonly unknownPast: boolean;
  readonly counts: CountsKept | undefined;
}

/** @throws Fault `listen` where others may enter the folder */
export async function openState({
  stateDir,
  adminApi,
}: Pick<SidecarSpec, 'stateDir' | 'adminApi'>): Promise<State> {
  const folder = stateDir ?? (adminApi && dirname(adminApi.socket));
  if (folder === undefined) return { unknownPast: true, counts: undefined };
  await guardFolder(folder, stateDir === undefined ? undefined : 'the state of the sidecar');
  return { unknownPast: await startedBefore(folder), counts: countsIn(folder) };
}

async function startedBefore(folder: string): Promise<boolean> {
  try {
    await writeFile(join(folder, '.started'), '', { flag: 'wx', mode: 0o600 });
    return false;
  } catch {
    // It is there already, or that cannot be told.
    return true;
  }
}

function countsIn(folder: string): CountsKept {
  const path = join(folder, 'quotas.json');
  return {
    load() {
      try {
        return readFileSync(path, 'utf8');
      } catch (failure) {
        if (failure instanceof Error && 'code' in failure && failure.code === 'ENOENT')
          return undefined;
        throw Fault.from(failure, 'config-unreadable');
      }
    },
    save(text) {
      writeFileSync(`${path}.new`, text, { mode: 0o600 });
      renameSync(`${path}.new`, path);
    },
  };
}
