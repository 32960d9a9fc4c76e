/** The grammars of addresses and names: listeners, upstreams, peers and who vouches for them. */
import { Fault } from '../../base/fault.ts';
import { judgeRange } from '../../net/addresses.ts';
import { formatAuthority, parseAuthority } from '../../net/authority.ts';
import { parseHostPattern, quote } from '../../net/host.ts';
import { parseIp, parseRange } from '../../net/ip.ts';
import type { ListenAddress } from '../../policy/model/destination.ts';
import { text } from '../../schema/decode.ts';
import type { Schema } from '../../schema/schema.ts';
import { parseSpiffeId } from '../../spiffe/id.ts';
import { parsePeerPattern } from '../../spiffe/pattern.ts';
import { bad, named } from './scalars.ts';

export const workloadApi = named(
  'a Workload API address',
  'unix:///run/spire/agent-sockets/api.sock',
  /^(?:unix:(?:\/\/)?\/[^/\s?#][^\s?#]*|tcp:\/\/[^\s/?#]+:\d+)$/,
  'write unix:///absolute/path or tcp://ip:port',
);

export const webhookUrl = text({
  is: 'a URL',
  example: 'https://approvals.example.org/chaperone',
  parse(value) {
    const url = URL.canParse(value) ? new URL(value) : undefined;
    const loopback = url !== undefined && /^(?:127\.\d+\.\d+\.\d+|\[::1\])$/.test(url.hostname);
    const safe = url?.protocol === 'https:' || (url?.protocol === 'http:' && loopback);
    if (url !== undefined && safe && url.username === '' && url.password === '' && url.hash === '')
      return url.href;
    throw bad(
      `${quote(value)} is not a URL that may be asked`,
      'write https://host/path, without user and password; http:// to 127.0.0.1 or [::1] alone',
    );
  },
});

/** An IP address and a port to listen on; port 0 takes a free one. */
export const listenAddress: Schema<ListenAddress> = text({
  is: 'an address to listen on',
  example: '127.0.0.1:15001',
  grammar: /^[^/]+:\d{1,5}$/,
  parse(value) {
    const free = value.endsWith(':0');
    const { host, port } = withHint(value, () =>
      parseAuthority(free ? `${value.slice(0, -1)}1` : value, undefined),
    );
    if (parseIp(host) === undefined)
      throw bad(`${quote(host)} is a name`, 'write an IP address, such as 127.0.0.1 or [::1]');
    return Object.freeze({ host, port: free ? 0 : port });
  },
});

/** Name or IP address, and port, of an upstream. */
export const upstreamAddress: Schema<ListenAddress> = text({
  is: 'a host and a port',
  example: 'crm.prod.svc:8443',
  grammar: /^[^/]+:\d{1,5}$/,
  parse: (value) => Object.freeze(withHint(value, () => parseAuthority(value, undefined))),
});

/** A Host as it is sent: a host, and a port where it is written. */
export const upstreamHost = text({
  is: 'a host, with or without a port',
  example: 'localhost:3000',
  grammar: /^[^/]+$/,
  parse(value) {
    const { host, port } = withHint(value, () => parseAuthority(value, NO_PORT));
    return formatAuthority(host, port, NO_PORT);
  },
});

/** No port can be 0: it stands for one that is not written. */
const NO_PORT = 0;

function withHint<T>(value: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    const { message } = Fault.from(error, 'config');
    const written = message.includes(quote(value)) ? message : `${quote(value)}: ${message}`;
    throw bad(written, 'write host:port, without scheme or path; IPv6 in brackets');
  }
}

/** A range in canonical text. */
export const cidr = text({
  is: 'a range of private addresses',
  example: '10.96.0.0/12',
  grammar: /\/\d{1,3}$/,
  parse(value) {
    const problem = judgeRange(value);
    const range = parseRange(value);
    if (problem === undefined && range !== undefined) return range.text;
    throw bad(
      `${quote(value)} ${problem}`,
      'write part of 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10 or fc00::/7',
    );
  },
});

/**
 * A DNS name that stands for itself and all below it; wide ones are refused for the reason that
 * wildcards over them are.
 */
export const dnsDomain = text({
  is: 'a DNS name',
  example: 'example.com',
  parse(value) {
    if (value.startsWith('*'))
      throw bad(`${quote(value)} has a wildcard`, 'leave `*.` out: a domain covers all below it');
    return parseHostPattern(`*.${value}`).host;
  },
});

export const hostPattern = text({
  is: 'a host pattern',
  example: 'crm.internal or *.example.com',
  parse: parseHostPattern,
});

export const peer = text({
  is: 'a SPIFFE ID or a pattern of them',
  example: 'spiffe://example.org/ns/crm/sa/api',
  grammar: /^spiffe:\/\/[^/]/,
  parse: parsePeerPattern,
});

export const spiffeId = text({
  is: 'a SPIFFE ID',
  example: 'spiffe://example.org/ns/agents/sa/research',
  grammar: /^spiffe:\/\/[^/]/,
  parse: parseSpiffeId,
});

/** A DNS name that a certificate is verified against. */
export const serverName = text({
  is: 'a DNS name',
  example: 'api.example.com',
  parse(value) {
    const { kind, host } = withHint(value, () => parseHostPattern(value));
    if (kind === 'exact') return host;
    throw bad(
      `${quote(value)} is not a DNS name`,
      'write the name that the certificate of the upstream holds',
    );
  },
});
