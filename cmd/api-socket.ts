/**
 * Which socket a command speaks to: the one it was told, that of the environment, or that of the
 * configuration.
 */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { Fault } from '../lib/base/fault.ts';
import { loadConfig } from '../lib/config/load/load.ts';
import { apiClient, type ApiClient } from './api-client.ts';
import type { Io } from './io.ts';

export interface DoorOptions {
  /** Of the agent API the folder of its agent will do too. */
  readonly api?: string;
  /** Name of the agent whose socket it is; may be left out where there is one. */
  readonly agent?: string;
  readonly config: readonly string[];
}

export const AGENT_API = 'CHAPERONE_AGENT_API';
const ADMIN_API = 'CHAPERONE_ADMIN_API';

export async function agentSocket(
  { api, agent, config }: DoorOptions,
  { env }: Io,
): Promise<string> {
  const named = api ?? (agent === undefined ? env[AGENT_API] : undefined);
  if (named !== undefined && named !== '') return inFolder(named);
  const { sidecar } = await loadConfig(config, { generation: 1 });
  const known = sidecar.agents.filter(({ home }) => home !== undefined);
  const [found, ...others] = known.filter(({ name }) => agent === undefined || name === agent);
  if (found?.home !== undefined && others.length === 0) return found.home.socket;
  if (known.length === 0)
    throw new Fault('usage', 'the Sidecar document has no agentApi', {
      hint: 'write agentApi: { socket: /path } there',
    });
  const names = known.map(({ name }) => name).join(', ');
  const problem =
    found === undefined ? `there is no agent ${agent ?? ''}` : 'there are several agents';
  throw new Fault('usage', problem, { hint: `write --agent and one of ${names}` });
}

/** The socket in the folder of an agent, or the path itself. */
function inFolder(path: string): string {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true
    ? join(path, 'api.sock')
    : path;
}

export async function operator({ api, config }: DoorOptions, { env }: Io): Promise<ApiClient> {
  const named = api ?? env[ADMIN_API];
  if (named !== undefined && named !== '') return apiClient(named);
  const { sidecar } = await loadConfig(config, { generation: 1 });
  if (sidecar.adminApi !== undefined) return apiClient(sidecar.adminApi.socket);
  throw new Fault('usage', 'the Sidecar document has no adminApi', {
    hint: 'write adminApi: { socket: /path } there',
  });
}
