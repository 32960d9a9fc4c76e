/**
 * The table of protocols as documents say them: keys of a rule, keys of a spec, what comes of both.
 */
import type { Phase } from '../../policy/model/condition.ts';
import { PROTOCOLS, type Protocol, type Service } from '../../policy/protocols/index.ts';
import { optional } from '../../schema/decode.ts';
import { GRPC_DOCUMENT, grpcMatch } from './grpc.ts';
import { HTTP_DOCUMENT, httpMatch } from './http.ts';
import { mcpMatch, mcpSettings } from './mcp-schema.ts';
import { MCP_DOCUMENT } from './mcp.ts';
import type { ProtocolDocument } from './protocol-document.ts';
import { TCP_DOCUMENT } from './tcp.ts';

/** What a rule is about, by protocol. */
export const RULE_KEYS = {
  http: optional(
    httpMatch,
    'Which requests the rule is about; `{}` is all of them. Needed with protocol http. ' +
      'With protocol mcp: requests beside the endpoints, never to one of them or below.',
  ),
  mcp: optional(
    mcpMatch,
    'Which messages the rule is about. Needed with protocol mcp, with one key at least, ' +
      'in each rule that has no http.',
  ),
  grpc: optional(
    grpcMatch,
    'Which calls the rule is about; `{}` is all of them. Needed with protocol grpc.',
  ),
};

/** How an upstream is spoken to, by protocol. */
export const SETTINGS = {
  mcp: optional(mcpSettings, 'Protocol mcp alone, and needed there: how the server is spoken to.'),
};

/** What is foreign to other protocols, in words. */
export const FOREIGN = Object.freeze({ mcp: 'messages of MCP' } satisfies Record<
  keyof typeof SETTINGS,
  string
>);

export const PROTOCOL_DOCUMENTS = Object.freeze({
  http: HTTP_DOCUMENT,
  grpc: GRPC_DOCUMENT,
  mcp: MCP_DOCUMENT,
  tcp: TCP_DOCUMENT,
} satisfies Record<Protocol, ProtocolDocument<never, Service>>);

/** Words for `protocol`. */
export const NAMES = Object.keys(PROTOCOL_DOCUMENTS) as readonly Protocol[];

type RuleKey = keyof typeof RULE_KEYS;

/**
 * When conditions of a rule are asked: by the protocol of its destination, or of what it is about.
 */
export function phaseIn(
  { protocol }: Pick<Judged, 'protocol'>,
  rule: Readonly<Partial<Record<RuleKey, unknown>>>,
): Phase {
  const keys = Object.keys(RULE_KEYS) as RuleKey[];
  const about = keys.filter((key) => rule[key] !== undefined);
  return PROTOCOLS[about.find((key) => key === protocol) ?? about[0] ?? protocol].phase;
}

interface Judged {
  readonly protocol: Protocol;
  readonly tls: { readonly mode: string };
}

/** Inside the TLS of the agent nothing is seen, whatever protocol it is: a connection is judged. */
export function protocolIn({ protocol, tls }: Judged): Protocol {
  return tls.mode === 'passthrough' ? 'tcp' : protocol;
}

/** Requests are judged one by one; elsewhere a connection is judged once. */
export function isOfRequests(spec: Judged): boolean {
  return PROTOCOLS[protocolIn(spec)].phase !== 'connect';
}
