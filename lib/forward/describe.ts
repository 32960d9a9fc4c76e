/**
 * From the head of a request to what the protocol of its destination makes of it. Traffic and
 * `explain` describe by this one table; they differ in where a message comes from.
 */
import { Fault } from '../base/fault.ts';
import type { DescribedHttp, DescribedRequestHead } from '../exchange/describe.ts';
import { callOf } from '../policy/protocols/grpc-rules.ts';
import { hasContentOnGet } from '../policy/protocols/http-rules.ts';
import { type Protocol, protocolOf } from '../policy/protocols/index.ts';
import type { DescribedGrpc } from './described.ts';
import { type McpDestination, isMcp } from '../policy/protocols/mcp-service.ts';
import { isMessage } from './mcp-endpoint.ts';

/** The rest of a request, besides its head. */
export interface RequestReader<M> {
  /** Version of HTTP. */
  readonly major: 1 | 2;
  /** Milliseconds that a call gives itself. @throws Fault for what is no call */
  callTimeout(): number | undefined;
  /** Reads the message of a request to an endpoint of this MCP destination. */
  readMessage(head: DescribedHttp, destination: McpDestination): M;
}

type Describe = <M>(
  head: DescribedRequestHead,
  reader: RequestReader<M>,
) => DescribedRequestHead | DescribedGrpc | M;

const PROTOCOLS: Readonly<Record<Protocol, Describe>> = {
  http: describeHttp,
  tcp: describeHttp,
  grpc(head, reader) {
    if (reader.major !== 2) return describeHttp(head);
    const facts = { ...head.facts, grpc: callOf(head.facts.http) };
    return { ...head, kind: 'grpc', facts, timeout: reader.callTimeout() };
  },
  mcp(head, reader) {
    const { destination } = head;
    if (head.kind !== 'http' || destination === undefined) return describeHttp(head);
    if (!isMcp(destination) || !isMessage(head, destination)) return describeHttp(head);
    if (hasContentOnGet(head.facts.http)) throw contentOnGet();
    return reader.readMessage(head, destination);
  },
};

/** @throws Fault for what its protocol cannot be */
export function describeRequest<M>(
  head: DescribedRequestHead,
  reader: RequestReader<M>,
): DescribedRequestHead | DescribedGrpc | M {
  const { destination } = head;
  return destination === undefined
    ? describeHttp(head)
    : PROTOCOLS[destination.service.protocol](head, reader);
}

/** @throws Fault `malformed` for a GET with content that no rule of its destination may allow */
function describeHttp(head: DescribedRequestHead): DescribedRequestHead {
  const { facts, destination } = head;
  if (!hasContentOnGet(facts.http)) return head;
  if (destination && protocolOf(destination).mayAllowContentOnGet(destination.service)) return head;
  throw contentOnGet();
}

/**
 * Content on a GET, for which HTTP has no meaning (RFC 9110 section 9.3.1): some servers take it
 * for the begin of the next request on its connection.
 */
function contentOnGet(): Fault {
  return new Fault('malformed', 'the request head is malformed: GET with a body', {
    hint: 'send it as POST, or write contentOnGet: allow in the http of a rule',
  });
}
