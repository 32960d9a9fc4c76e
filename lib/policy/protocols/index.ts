/**
 * The table of protocols. A protocol is known here, in its documents
 * (lib/config/documents/protocols.ts) and where its exchanges are forwarded (lib/forward), and
 * nowhere else: whoever wants to know something of it asks its row.
 */
import type { Asked, MatrixRow } from '../model/access-matrix.ts';
import { HTTPS_PORT } from '../model/access-matrix.ts';
import type { DestinationOf } from '../model/destination.ts';
import type { RuleBase } from '../model/rule.ts';
import { GRPC, type GrpcService } from './grpc.ts';
import { HTTP, type HttpService } from './http.ts';
import type { McpService } from './mcp-service.ts';
import { MCP } from './mcp.ts';
import type { ProtocolRow } from './row.ts';
import { TCP, type TcpService } from './tcp.ts';

export type Service = HttpService | McpService | GrpcService | TcpService;
export type Protocol = Service['protocol'];
export type Destination = DestinationOf<Service>;

export const PROTOCOLS: { readonly [P in Protocol]: ProtocolRow<Service & { protocol: P }> } =
  Object.freeze({ http: HTTP, mcp: MCP, grpc: GRPC, tcp: TCP });

/** The row of a service: methods of a row take what they are defined for and no less. */
export function protocolOf({ service }: DestinationOf<Service>): ProtocolRow<Service> {
  return PROTOCOLS[service.protocol];
}

export function rulesOf(destination: Destination): readonly RuleBase[] {
  return protocolOf(destination).rules(destination.service);
}

/** Requests are judged one by one; elsewhere a connection is judged once. */
export function isOfRequests(destination: Destination): boolean {
  return protocolOf(destination).phase !== 'connect';
}

/** The row of the access matrix for one entry and one destination. */
export function matrixRow({ entry, port }: Asked, destination: Destination): MatrixRow {
  const { tls, service } = destination;
  const row = protocolOf(destination).entries.find(
    (each) =>
      each.entry === entry &&
      each.modes.includes(tls.mode) &&
      (each.intercept === undefined || each.intercept === tls.intercept) &&
      (each.port === undefined || (each.port === 'https') === (port === HTTPS_PORT)),
  );
  if (row === undefined)
    throw new TypeError(
      `the access matrix has no row for ${entry}, ${service.protocol}, ${tls.mode}`,
    );
  return row;
}
