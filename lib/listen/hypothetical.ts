/**
 * The facts of a request that nobody sent: what would be judged if it came in, read by the very
 * functions that describe traffic. For `explain` and for tests of policy; nothing is dialled,
 * resolved or recorded.
 */
import { Fault } from '../base/fault.ts';
import {
  type DescribedHttp,
  type DescribedRequestHead,
  type Reading,
  describeConnect,
  describeForward,
  describeIntercepted,
  describeListener,
  describeRaw,
} from '../exchange/describe.ts';
import { fieldRules } from '../exchange/headers.ts';
import { type RequestReader, describeRequest } from '../forward/describe.ts';
import { httpLimits } from '../http/limits.ts';
import type { RequestHead } from '../http/message.ts';
import { parseRequestHead } from '../http1/head.ts';
import { formatAuthority, parseAuthority } from '../net/authority.ts';
import { decide } from '../policy/decision/decide.ts';
import type { Policy } from '../policy/decision/policy.ts';
import type { Facts } from '../policy/model/facts.ts';
import type { TaskFacts } from '../policy/model/grant.ts';
import { isOfRequests, matrixRow } from '../policy/protocols/index.ts';
import type { McpDestination } from '../policy/protocols/mcp-service.ts';
import type { SpiffeId } from '../spiffe/id.ts';
import { hypotheticalMessage } from './hypothetical-message.ts';

export interface HypotheticalRequest {
  readonly method: string;
  /**
   * `http://host/path`; `https://host/path`, for which a client sends CONNECT first; `host:port` of
   * CONNECT.
   */
  readonly target: string;
  /** As asked on the local listener of this destination. */
  readonly listener?: string | undefined;
  /** `name: value` */
  readonly fields?: readonly string[];
  /**
   * The JSON-RPC message in the body, at an MCP destination: `{"method": …, "params": …}` is
   * enough.
   */
  readonly message?: string | undefined;
  /** Milliseconds since the epoch. */
  readonly time: number;
  readonly peer?: SpiffeId | undefined;
  readonly task?: TaskFacts | undefined;
}

/** Fields that cross the proxy; nothing hypothetical has been through this one before. */
const FIELDS = fieldRules({ pseudonym: 'chaperone-hypothetical' });

/** Throws the Fault with which the sidecar would refuse it unread, or `usage`. */
export function simulate(request: HypotheticalRequest, policy: Policy): Facts {
  const { peer, task, message } = request;
  const facts = factsOf(request, policy);
  if (message !== undefined && facts.mcp === undefined) {
    throw new Fault(
      'usage',
      'there is a message, and this is no POST to the endpoint of an MCP destination',
      {
        hint: 'see mcp.endpoints of the destination',
      },
    );
  }
  return { ...facts, peer, task };
}

/** The request with all that its protocol makes of it, as over HTTP/2. */
class HypotheticalReader implements RequestReader<DescribedHttp> {
  readonly major = 2;
  readonly #message: string | undefined;

  constructor({ message }: HypotheticalRequest) {
    this.#message = message;
  }

  callTimeout(): undefined {}

  readMessage(head: DescribedHttp, destination: McpDestination): DescribedHttp {
    if (this.#message === undefined || head.method !== 'POST') return head;
    return hypotheticalMessage(head, destination, this.#message);
  }
}

function factsOf(request: HypotheticalRequest, policy: Policy): Facts {
  const head = headFacts(request, policy);
  if (!('kind' in head)) return head;
  return describeRequest(head, new HypotheticalReader(request)).facts;
}

/** The request by its head alone; the facts themselves of a tunnel or a raw connection. */
function headFacts(request: HypotheticalRequest, policy: Policy): DescribedRequestHead | Facts {
  const { method, target, listener, time } = request;
  if (method === 'CONNECT') return describeConnect(headOf(request, target), time);
  const [, scheme = '', authority = ''] = /^([a-z]+):\/\/([^/?#]*)/i.exec(target) ?? [];
  if (listener !== undefined) return atListener(request, { authority, listener, policy });
  const head = headOf(request, authority);
  const reading = { policy, fields: FIELDS, time };
  if (scheme.toLowerCase() !== 'https') return describeForward(head, reading);
  return throughTunnel(head, authority, { policy, reading });
}

/**
 * A request for an https:// URL: the CONNECT that a client sends for it, or the request inside
 * where the destination is intercepted.
 */
function throughTunnel(
  head: RequestHead,
  named: string,
  { policy, reading }: Pick<At, 'policy'> & { readonly reading: Reading },
): DescribedRequestHead | Facts {
  const authority = parseAuthority(named, 443);
  const target = formatAuthority(authority.host, authority.port);
  const connect = describeConnect(
    { ...head, method: 'CONNECT', target, fields: ['host', target] },
    reading.time,
  );
  const { effect, destination } = decide(policy, connect);
  const opened = effect === 'allow' && destination !== undefined;
  if (!opened || matrixRow(connect, destination).outcome !== 'intercepted') return connect;
  return describeIntercepted(head, authority, reading);
}

interface At {
  readonly authority: string;
  readonly listener: string;
  readonly policy: Policy;
}

function atListener(
  request: HypotheticalRequest,
  { authority, listener, policy }: At,
): DescribedRequestHead | Facts {
  const destination = policy.byName.get(listener);
  if (destination?.listen === undefined) {
    throw new Fault('usage', `no destination ${JSON.stringify(listener)} has a local listener`, {
      hint: 'see spec.listen',
    });
  }
  const { time } = request;
  if (!isOfRequests(destination)) return describeRaw(destination, time);
  const reading = { policy, fields: FIELDS, time };
  return describeListener(
    headOf(request, authority),
    { destination, local: destination.listen },
    reading,
  );
}

function headOf({ method, target, fields = [] }: HypotheticalRequest, host: string): RequestHead {
  const lines = [`${method} ${target} HTTP/1.1`, `host: ${host}`, ...fields];
  const single = lines.every((line) => !/[\r\n]/.test(line));
  const head = single ? parseRequestHead(`${lines.join('\r\n')}\r\n\r\n`, httpLimits()) : undefined;
  if (head === undefined)
    throw new Fault(
      'malformed',
      'the method, the target or a field is no single line of a request',
    );
  return head;
}
