/**
 * What is known about one exchange before it is decided: canonical values only, parsed once.
 * `decide()` sees this and nothing else.
 */
import type { Fields } from '../../http/message.ts';
import type { JsonObject } from '../../schema/json.ts';
import type { SpiffeId } from '../../spiffe/id.ts';
import type { TaskFacts } from './grant.ts';
import type { McpVersion } from './mcp-methods.ts';

/** How the agent came in; the rows of the access matrix (lib/policy/model/access-matrix.ts). */
export type EntryPoint = 'forward' | 'connect' | 'intercept' | 'cleartext' | 'listener';

export interface Content {
  readonly bytes: Buffer;
  /** Hex SHA-256. */
  readonly digest: string;
}

export interface HttpFacts {
  /** As sent; methods are case-sensitive (RFC 9110 section 9.1). */
  readonly method: string;
  /** Canonical path (lib/net/path.ts): the very text that is sent. */
  readonly path: string;
  /** Query with its leading `?`, or ''. Sent as judged. */
  readonly query: string;
  readonly websocket: boolean;
  /** There is no content; undefined where that is not known. */
  readonly empty?: boolean | undefined;
  /**
   * Where it was read whole before the decision, because it is part of what is approved; `long`: it
   * was too long for that; `streams`: it is more than one message of gRPC.
   */
  readonly content?: Content | 'long' | 'streams' | undefined;
  /**
   * As sent, but for Host, our Via and credentials of ours; secrets among them: conditions see what
   * lib/policy/model/judged-fields.ts lets through, and nothing else may show a value.
   */
  readonly fields: Fields;
}

/** What a gRPC call asks for: the two segments of its path. */
export interface GrpcFacts {
  /** `package.Service` */
  readonly service: string;
  readonly method: string;
}

/**
 * One message of MCP, parsed strictly: what is sent is written anew from what these facts were
 * taken from.
 */
export interface McpFacts {
  readonly version: McpVersion;
  /** `stream` is the agent's GET, `end` its DELETE of a session. */
  readonly kind: 'request' | 'notification' | 'response' | 'stream' | 'end';
  /**
   * The JSON-RPC method; of a response that of the server's request which it answers; '' where
   * there is none.
   */
  readonly method: string;
  /** Of a response: it says that the agent does not do what the server asked for. */
  readonly failed?: boolean | undefined;
  /** Of a response: the action of the call in which the server asked. */
  readonly answersIn?: string | undefined;
  /** Name of the rule that allowed that call. */
  readonly answersBy?: string | undefined;
  /** `params.name` of tools/call. */
  readonly tool: string | undefined;
  /** `params.name` of prompts/get, or what completion/complete refers to. */
  readonly prompt: string | undefined;
  /** `params.uri` of the resources/ methods, or what completion/complete refers to. */
  readonly resource: string | undefined;
  /**
   * `params.arguments` of tools/call and prompts/get; empty where there are none. `plainJson` makes
   * them plain data.
   */
  readonly args: JsonObject;
  /** Hex SHA-256 of the canonical JSON of `args`; undefined where the method has no arguments. */
  readonly argsDigest: string | undefined;
  /**
   * Hex SHA-256 of the canonical JSON of `params` without `_meta`, where that is too long to be
   * written in one go.
   */
  readonly paramsDigest?: string | undefined;
  /** All of `params` of a request or a notification. */
  readonly params?: JsonObject | undefined;
  /** What the server has said about the tool so far; undefined for everything but tools/call. */
  readonly definition: ToolDefinition | undefined;
}

export interface ToolDefinition {
  /**
   * unlisted: not seen in a list yet. unverified: that too, and the policy pins it. changed: not
   * what was seen first, or not what the policy pins.
   */
  readonly state: 'unlisted' | 'unverified' | 'pinned' | 'changed';
  /**
   * Its annotations say that it destroys, or that it reaches beyond the server (destructiveHint,
   * openWorldHint).
   */
  readonly hazardous: boolean;
}

export interface Facts {
  readonly entry: EntryPoint;
  /**
   * Canonical host that is asked for: lower-case A-labels without a trailing dot, dotted quad, or
   * IPv6 in RFC 5952 form without brackets. On a local listener that is asked for by its own
   * address, and for raw TCP, the first of the destination's hosts that is no wildcard.
   */
  readonly host: string;
  readonly port: number;
  /** The destination a local listener belongs to; undefined on the forward proxy. */
  readonly listener: string | undefined;
  /** undefined for a tunnel or a raw TCP connection. */
  readonly http: HttpFacts | undefined;
  /** The message in the request, at an MCP destination. */
  readonly mcp?: McpFacts | undefined;
  /** At a gRPC destination. */
  readonly grpc?: GrpcFacts | undefined;
  /** Verified SPIFFE ID of the caller, on an inbound listener. */
  readonly peer?: SpiffeId | undefined;
  /** The task it belongs to; undefined without one. */
  readonly task?: TaskFacts | undefined;
  /** Wall clock, milliseconds since the epoch. */
  readonly time: number;
}

/** Facts of an exchange in which requests are seen. */
export type RequestFacts = Facts & { readonly http: HttpFacts };

export function isRequest(facts: Facts): facts is RequestFacts {
  return facts.http !== undefined;
}

// it does, and this call cannot be approved, because it is not read whole
