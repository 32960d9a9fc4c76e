/** Which socket a command speaks to: the one it was told, that of the environment, or that of the configuration. */
import { Fault } from '../lib/base/fault.ts';
import { loadConfig } from '../lib/config/load.ts';
import { apiClient, type ApiClient } from './api-client.ts';
import type { Io } from './io.ts';

export interface DoorOptions {
  readonly api?: string;
  readonly config: readonly string[];
}

export const AGENT_API = 'CHAPERONE_AGENT_API';
export const ADMIN_API = 'CHAPERONE_ADMIN_API';

export async function agentSocket({ api, config }: DoorOptions, { env }: Io): Promise<string> {
  const named = api ?? env[AGENT_API];
  if (named !== undefined && named !== '') return named;
  const { sidecar } = await loadConfig(config, { generation: 1 });
  if (sidecar.agentApi !== undefined) return sidecar.agentApi.socket;
  throw new Fault('usage', 'the Sidecar document has no agentApi', { hint: 'write agentApi: { socket: /path } there' });
}

export async function operator({ api, config }: DoorOptions, { env }: Io): Promise<ApiClient> {
  const named = api ?? env[ADMIN_API];
  if (named !== undefined && named !== '') return apiClient(named);
  const { sidecar } = await loadConfig(config, { generation: 1 });
  if (sidecar.adminApi !== undefined) return apiClient(sidecar.adminApi.socket);
  throw new Fault('usage', 'the Sidecar document has no adminApi', { hint: 'write adminApi: { socket: /path } there' });
}
