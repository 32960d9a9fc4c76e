/**
 * `host:port` of a request target, a Host field or a document (RFC 3986 section 3.2 without user
 * information).
 */
import { Fault } from '../base/fault.ts';
import { parseHost } from './host.ts';

export interface Authority {
  /** Canonical (lib/net/host.ts). */
  readonly host: string;
  /** 1 to 65535. */
  readonly port: number;
}

const PORT = /^[1-9]\d{0,4}$/;

/**
 * Reads an authority. Without a port it has `defaultPort`; when that is undefined a port must be
 * written. User information, a path, white space, an empty port, leading zeros and ports outside 1
 * to 65535 are `malformed`, in words that do not quote them.
 */
export function parseAuthority(text: string, defaultPort: number | undefined): Authority {
  const close = text.startsWith('[') ? text.indexOf(']') : -1;
  const colon = text.indexOf(':', close + 1);
  const host = parseHost(colon < 0 ? text : text.slice(0, colon));
  if (colon >= 0) return { host, port: parsePort(text.slice(colon + 1)) };
  if (defaultPort !== undefined) return { host, port: defaultPort };
  throw new Fault('malformed', 'the host has no port', { hint: 'write host:port' });
}

function parsePort(digits: string): number {
  const port = PORT.test(digits) ? Number(digits) : 0;
  if (port > 0 && port <= 65535) return port;
  const userinfo = digits.includes('@');
  throw new Fault(
    'malformed',
    userinfo ? 'the host has user information before it' : 'the host has no valid port',
    {
      hint: userinfo
        ? 'leave user and password out of the URL'
        : 'write a decimal number from 1 to 65535 without leading zeros',
    },
  );
}

/**
 * The authority as it is sent: IPv6 in brackets, the default port left out. Reading it again gives
 * the same host and port.
 */
export function formatAuthority(host: string, port: number, defaultPort?: number): string {
  const name = host.includes(':') ? `[${host}]` : host;
  return port === defaultPort ? name : `${name}:${port}`;
}
