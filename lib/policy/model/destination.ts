/**
 * A destination as a frozen value, compiled once per load: what every destination has. What is
 * asked there, and the rules about it, is its service: the value of one protocol
 * (lib/policy/protocols), which no destination can mix with that of another.
 */
import type { HostPattern } from '../../net/host.ts';
import type { PathPolicy } from '../../net/path.ts';
import type { PeerPattern } from '../../spiffe/pattern.ts';
import type { Spellings } from './condition.ts';
import type { HeaderPolicy } from './field-table.ts';
import type { Rate } from './rule.ts';

/** How the upstream leg is protected: each is spelled out in the document, none is silent. */
export type TlsMode = 'mtls' | 'web-mtls' | 'web' | 'passthrough' | 'plaintext';
export interface TlsPolicy {
  readonly mode: TlsMode;
  /** Who the peer may be; never empty for mtls. */
  readonly peers: readonly PeerPattern[];
  /** Name verified in web modes and sent as SNI; undefined: the matched host. */
  readonly serverName: string | undefined;
  /** PEM roots that replace the system's in web modes. */
  readonly roots: readonly string[] | undefined;
  /** plaintext to an address that is not loopback was spelled out. */
  readonly insecure: boolean;
  /** TLS inside a CONNECT tunnel ends here, so that its requests can be judged. */
  readonly intercept: boolean;
  /** Mode passthrough: what becomes of a ClientHello that may hide another name (RFC 9849). */
  readonly ech?: 'pass' | 'deny' | undefined;
}

/** Where the upstream really is, as the operator wrote it. */
interface UpstreamAddress {
  /** A name (resolved with the search list) or an IP literal. */
  readonly host: string;
  readonly port: number;
}

/** A JWT-SVID as bearer token (JWT-SVID section 5.2). */
export interface CredentialPolicy {
  readonly kind: 'jwt-svid';
  readonly audience: string;
}

/** Milliseconds. */
export interface Timeouts {
  readonly connect: number;
  readonly headers: number;
  /** Of an MCP destination: until a message of the agent's is whole. */
  readonly message: number;
  readonly idle: number;
  readonly total: number;
  /** Between comments in a silent stream of events; undefined: there are none. */
  readonly keepAlive?: number | undefined;
}

export interface Limits {
  /** Exchanges at one time. */
  readonly concurrent: number;
  /** Bytes of a request body; undefined: no limit. */
  readonly body: number | undefined;
  /** Bytes of an answer's body; undefined: no limit. */
  readonly response: number | undefined;
  /** How often; undefined: no limit. */
  readonly rate: Rate | undefined;
}

/** Somebody else's HTTP proxy, through which a destination is reached. */
export interface Via {
  /** TLS to the proxy itself. */
  readonly secure: boolean;
  readonly host: string;
  readonly port: number;
  /** PEM roots that replace the system's for that TLS. */
  readonly roots: readonly string[] | undefined;
  /** Path of the file with `user:password`. */
  readonly basic: string | undefined;
  /** As it was written. */
  readonly text: string;
}

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** What every service has. */
export interface AnyService {
  readonly protocol: string;
}

export interface DestinationOf<Service extends AnyService> {
  readonly name: string;
  readonly hosts: readonly HostPattern[];
  readonly ports: readonly number[];
  /** What is asked there, and what the rules say of it. */
  readonly service: Service;
  /** Local listener for this destination alone. */
  readonly listen: ListenAddress | undefined;
  /** undefined: the matched host and port. */
  readonly upstream: UpstreamAddress | undefined;
  /** Host that the upstream is sent; undefined: that of the request. */
  readonly sentHost?: string | undefined;
  /**
   * Ranges (CIDR text, canonical) in which the upstream's addresses may lie besides public ones.
   */
  readonly cidrs: readonly string[];
  /** The upstream is spoken to in HTTP/2. */
  readonly http2?: boolean;
  readonly tls: TlsPolicy;
  /**
   * The proxy on the way; it resolves the upstream's name, and no address of the upstream is judged
   * then.
   */
  readonly via: Via | undefined;
  readonly dataClass: string;
  /** `required`: nothing without a live task that was granted it. */
  readonly task: 'required' | 'optional';
  /** What a connection in which no request is seen counts as. */
  readonly action: string;
  /** What we add to each request in the agent's stead; its own Authorization is then taken off. */
  readonly credential: CredentialPolicy | undefined;
  readonly timeouts: Timeouts;
  readonly limits: Limits;
  /**
   * Which fields of a request pass; undefined: what the table says
   * (lib/policy/model/field-table.ts).
   */
  readonly headers?: HeaderPolicy | undefined;
  /** What is kept in a path; undefined: nothing that servers read in different ways. */
  readonly paths?: PathPolicy | undefined;
  /** Of the names that its conditions read; undefined: they read none. */
  readonly spellings?: Spellings | undefined;
  readonly mode: 'enforce' | 'report';
  /** `file:line:column` of the document, for explain and messages. */
  readonly at: string;
}
