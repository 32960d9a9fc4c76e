/**
 * `chaperone env`: the variables that send an agent through the sidecar. Both cases of each name, because curl reads only the lower-case
 * one for http and other clients only the upper-case one; loopback goes direct, so that local listeners stay reachable. With `intercept.trust` also those by which
 * programs trust the interception CA.
 */
import { join } from 'node:path';
import { Fault } from '../../lib/base/fault.ts';
import type { AgentHome } from '../../lib/config/agents.ts';
import type { SidecarSpec } from '../../lib/config/compile.ts';
import { formatAuthority } from '../../lib/policy/authority.ts';
import { loadConfig } from '../../lib/config/load.ts';
import { trustVariables } from '../../lib/tls/trust.ts';
import { AGENT_API } from '../doors.ts';
import type { Io } from '../io.ts';
import { quoted } from './trust.ts';

export async function env(
  options: { readonly config: readonly string[]; readonly json?: boolean; readonly agent?: string },
  io: Io,
): Promise<void> {
  const { sidecar, policy } = await loadConfig(options.config, { generation: 1 });
  const home = homeOf(sidecar, options.agent);
  if (sidecar.forward === undefined && home?.forward !== true) {
    throw new Fault('usage', 'there is no forward proxy to point an agent at', {
      hint: 'set spec.forward.address in the Sidecar document',
    });
  }
  const trusted = sidecar.intercept?.trustFolder;
  const variables = {
    ...(sidecar.forward &&
      proxyVariables(`http://${formatAuthority(sidecar.forward.host, sidecar.forward.port, undefined)}`)),
    ...(trusted === undefined ? undefined : trustVariables(trusted)),
    ...(home && { [AGENT_API]: home.socket }),
  };
  if (options.json === true) {
    io.out(JSON.stringify(variables));
    return;
  }
  for (const [name, value] of Object.entries(variables)) io.out(`export ${name}=${quoted(value)}`);
  if (sidecar.intercept !== undefined && trusted === undefined)
    io.out('# programs that say https:// to intercepted hosts need the CA too: chaperone trust --dir FOLDER');
  if (home?.forward === true) io.out(`# the forward proxy of this agent alone: ${join(home.folder, 'forward.sock')}`);
  for (const { name, listen } of policy.destinations) {
    if (listen !== undefined)
      io.out(`# ${name} also listens on http://${formatAuthority(listen.host, listen.port, undefined)}`);
  }
}

/** Of the agent that is named, or the only one; undefined where none is meant. */
function homeOf({ agents }: SidecarSpec, name: string | undefined): AgentHome | undefined {
  if (name === undefined) return agents.length === 1 ? agents[0]?.home : undefined;
  const found = agents.find((agent) => agent.name === name);
  if (found !== undefined) return found.home;
  const hint = `there is ${agents.map((agent) => agent.name).join(', ')}`;
  throw new Fault('usage', `there is no agent ${name}`, { hint });
}

/** Name to value, for one proxy URL. */
export function proxyVariables(proxy: string): Record<string, string> {
  const none = 'localhost,127.0.0.1,::1';
  const pairs: Record<string, string> = {};
  for (const [name, value] of [
    ['HTTP_PROXY', proxy],
    ['HTTPS_PROXY', proxy],
    ['ALL_PROXY', proxy],
    ['NO_PROXY', none],
  ] as const) {
    pairs[name] = value;
    pairs[name.toLowerCase()] = value;
  }
  pairs['NODE_USE_ENV_PROXY'] = '1';
  return pairs;
}
