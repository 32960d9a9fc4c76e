/**
 * Addresses with a meaning of their own, as data: the IANA IPv4 and IPv6 Special-Purpose Address
 * Registries (RFC 6890, RFC 8190) row by row, then what those registries leave to others:
 * multicast, forms of IPv6 that carry an IPv4 address, metadata services. The narrowest row that
 * holds an address says what it is; an address in no row is public (IPv6: only inside 2000::/3, the
 * one block that is handed out, RFC 4291).
 */
import { parseRange, type IpRange } from './ip.ts';

/**
 * metadata    never dialled, whatever else the address is
 * link-local  never
 * loopback    only where the operator wrote the literal
 * private     RFC 1918, CGNAT, ULA: where the peer is proved or the range was written
 * embeds      an IPv4 address in IPv6 clothes: never; the IPv4 address itself can be written
 * reserved    never
 */
export type AddressClass =
  'metadata' | 'link-local' | 'loopback' | 'private' | 'embeds' | 'reserved';

export interface SpecialRow {
  readonly range: IpRange;
  readonly name: string;
  readonly class: AddressClass;
  /** Where the row comes from. */
  readonly source: 'IANA IPv4' | 'IANA IPv6' | 'other';
}

/** `range | class | name`, one row a line. */
const IANA_IPV4 = `
0.0.0.0/8 | reserved | "This network"
0.0.0.0/32 | reserved | "This host on this network"
10.0.0.0/8 | private | Private-Use
100.64.0.0/10 | private | Shared Address Space
127.0.0.0/8 | loopback | Loopback
169.254.0.0/16 | link-local | Link Local
172.16.0.0/12 | private | Private-Use
192.0.0.0/24 | reserved | IETF Protocol Assignments
192.0.0.0/29 | reserved | IPv4 Service Continuity Prefix
192.0.0.8/32 | reserved | IPv4 dummy address
192.0.0.9/32 | reserved | Port Control Protocol Anycast
192.0.0.10/32 | reserved | Traversal Using Relays around NAT Anycast
192.0.0.170/32 | reserved | NAT64/DNS64 Discovery
192.0.0.171/32 | reserved | NAT64/DNS64 Discovery
192.0.2.0/24 | reserved | Documentation (TEST-NET-1)
192.31.196.0/24 | reserved | AS112-v4
192.52.193.0/24 | reserved | AMT
192.88.99.0/24 | reserved | Deprecated (6to4 Relay Anycast)
192.168.0.0/16 | private | Private-Use
192.175.48.0/24 | reserved | Direct Delegation AS112 Service
198.18.0.0/15 | reserved | Benchmarking
198.51.100.0/24 | reserved | Documentation (TEST-NET-2)
203.0.113.0/24 | reserved | Documentation (TEST-NET-3)
240.0.0.0/4 | reserved | Reserved
255.255.255.255/32 | reserved | Limited Broadcast`;

const IANA_IPV6 = `
::1/128 | loopback | Loopback Address
::/128 | reserved | Unspecified Address
::ffff:0:0/96 | embeds | IPv4-mapped Address
64:ff9b::/96 | embeds | IPv4-IPv6 Translation (NAT64)
64:ff9b:1::/48 | embeds | IPv4-IPv6 Translation (local-use NAT64)
100::/64 | reserved | Discard-Only Address Block
100:0:0:1::/64 | reserved | Dummy IPv6 Prefix
2001::/23 | reserved | IETF Protocol Assignments
2001::/32 | embeds | TEREDO
2001:1::1/128 | reserved | Port Control Protocol Anycast
2001:1::2/128 | reserved | Traversal Using Relays around NAT Anycast
2001:1::3/128 | reserved | DNS-SD Service Registration Protocol Anycast
2001:2::/48 | reserved | Benchmarking
2001:3::/32 | reserved | AMT
2001:4:112::/48 | reserved | AS112-v6
2001:10::/28 | reserved | Deprecated (previously ORCHID)
2001:20::/28 | reserved | ORCHIDv2
2001:30::/28 | reserved | Drone Remote ID Protocol Entity Tags (DETs) Prefix
2001:db8::/32 | reserved | Documentation
2002::/16 | embeds | 6to4
2620:4f:8000::/48 | reserved | Direct Delegation AS112 Service
3fff::/20 | reserved | Documentation
5f00::/16 | reserved | Segment Routing (SRv6) SIDs
fc00::/7 | private | Unique-Local
fe80::/10 | link-local | Link-Local Unicast`;

const OTHER = `
224.0.0.0/4 | reserved | Multicast
168.63.129.16/32 | metadata | Azure platform metadata service
100.100.100.200/32 | metadata | Alibaba Cloud metadata service
169.254.169.254/32 | metadata | cloud metadata service
169.254.169.123/32 | metadata | cloud time service
169.254.170.2/32 | metadata | AWS container credentials
169.254.170.23/32 | metadata | AWS pod identity
169.254.0.23/32 | metadata | Tencent Cloud metadata service
169.254.42.42/32 | metadata | Scaleway metadata service
192.0.0.192/32 | metadata | Oracle Cloud metadata service
fd00:ec2::/32 | metadata | AWS metadata, time and pod identity services
fd20:ce::254/128 | metadata | Google Cloud metadata service
fd00:c1::a9fe:a9fe/128 | metadata | Oracle Cloud metadata service
fd00:42::42/128 | metadata | Scaleway metadata service
::/96 | embeds | Deprecated IPv4-compatible addresses
::ffff:0:0:0/96 | embeds | IPv4-translated addresses
fec0::/10 | reserved | Deprecated site-local addresses
ff00::/8 | reserved | Multicast`;

/**
 * IPv6 blocks that IANA has not handed out are nobody's: outside this one only the rows above have
 * a meaning.
 */
export const GLOBAL_UNICAST = rangeOf('2000::/3');

function rangeOf(text: string): IpRange {
  const range = parseRange(text);
  if (range === undefined) throw new TypeError(`the address table has the bad range ${text}`);
  return range;
}

function rowsOf(text: string, source: SpecialRow['source']): readonly SpecialRow[] {
  return text
    .trim()
    .split('\n')
    .map((line) => {
      const [range = '', kind = '', name = ''] = line.split(' | ');
      return Object.freeze({ range: rangeOf(range), class: classOf(kind), name, source });
    });
}

function classOf(text: string): AddressClass {
  switch (text) {
    case 'metadata':
    case 'link-local':
    case 'loopback':
    case 'private':
    case 'embeds':
    case 'reserved':
      return text;
    default:
      throw new TypeError(`the address table has the unknown class ${text}`);
  }
}

/** Every row, narrowest first, so that the first that holds an address is the one that speaks. */
export const SPECIAL_ROWS: readonly SpecialRow[] = Object.freeze(
  [
    ...rowsOf(IANA_IPV4, 'IANA IPv4'),
    ...rowsOf(IANA_IPV6, 'IANA IPv6'),
    ...rowsOf(OTHER, 'other'),
  ].sort((a, b) => b.range.length - a.range.length),
);
