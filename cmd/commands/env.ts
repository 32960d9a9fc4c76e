/**
 * `chaperone env`: the variables that send an agent through the sidecar, joined with those of the
 * environment that it is called in. With `intercept.trust` also those by which programs trust the
 * interception CA.
 */
import { join } from 'node:path';
import { Fault } from '../../lib/base/fault.ts';
import type { AgentHome } from '../../lib/config/load/agents.ts';
import type { SidecarSpec } from '../../lib/config/load/compile-sidecar.ts';
import { loadConfig } from '../../lib/config/load/load.ts';
import { formatAuthority } from '../../lib/net/authority.ts';
import { isOfRequests } from '../../lib/policy/protocols/index.ts';
import { AGENT_API } from '../api-socket.ts';
import { environmentOf } from '../environment.ts';
import type { Io } from '../io.ts';
import { quoted } from './trust.ts';

const NODE_NOTE =
  '# Node reads these from 22.21 and 24.5 on (24.0 to 24.4: fetch alone); on 20 a program ' +
  'needs a proxy agent in its code';

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
  const { host, port } = sidecar.forward ?? { host: '', port: 0 };
  const { variables, notes } = await environmentOf(
    {
      proxy: sidecar.forward && `http://${formatAuthority(host, port, undefined)}`,
      trust: sidecar.intercept?.trustFolder,
      hosts: policy.destinations.flatMap(({ hosts }) => hosts),
    },
    io,
  );
  for (const note of notes) io.err(note);
  if (home !== undefined) variables[AGENT_API] = home.socket;
  if (options.json === true) {
    io.out(JSON.stringify(variables));
    return;
  }
  for (const [name, value] of Object.entries(variables)) io.out(`export ${name}=${quoted(value)}`);
  if (sidecar.forward !== undefined) io.out(NODE_NOTE);
  if (sidecar.intercept !== undefined && sidecar.intercept.trustFolder === undefined)
    io.out(
      '# programs that say https:// to intercepted hosts need the CA too: chaperone trust ' +
        '--dir FOLDER',
    );
  if (home?.forward === true)
    io.out(`# the forward proxy of this agent alone: ${join(home.folder, 'forward.sock')}`);
  for (const destination of policy.destinations) {
    const { name, listen } = destination;
    if (listen === undefined) continue;
    const address = formatAuthority(listen.host, listen.port, undefined);
    io.out(
      `# ${name} also listens on ` +
        `${isOfRequests(destination) ? `http://${address}` : `${address} (tcp)`}`,
    );
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
