/** What a change of how an MCP server is spoken to loosens. */
import { sorted } from '../../base/sorted.ts';
import type { McpService } from './mcp-service.ts';

/** In words what it was before; undefined: nothing is looser. */
export function mcpLoosened(old: McpService, now: McpService): string | undefined {
  const endpoints = sorted(old.endpoints).join(', ');
  if (sorted(now.endpoints).join(', ') !== endpoints) return `its mcp.endpoints were ${endpoints}`;
  const asks = [...now.serverRequests].find((method) => !old.serverRequests.has(method));
  if (asks !== undefined) return `its server could not ask for ${asks}`;
  const host = now.elicitationHosts.find(
    ({ text }) => !old.elicitationHosts.some((pattern) => pattern.text === text),
  );
  if (host !== undefined) return `its server could not send users to ${host.text}`;
  if (now.clientInfo === 'pass' && old.clientInfo !== 'pass')
    return 'its server was not told who the client is';
  const meta = [...now.meta].find((name) => !old.meta.has(name));
  if (meta !== undefined) return `${meta} of _meta did not pass`;
  const pin = [...old.pins].find(([tool, digest]) => now.pins.get(tool) !== digest);
  return pin === undefined ? undefined : `the definition of tool ${pin[0]} was pinned`;
}
