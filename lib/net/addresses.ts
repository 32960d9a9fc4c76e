/**
 * Which addresses may be dialled (the table is lib/net/special-purpose.ts):
 * - metadata services, link-local addresses and our own: never;
 * - loopback: only an address that the operator wrote as a literal;
 * - private, CGNAT and ULA: where the operator wrote the upstream and mTLS proves the peer, or
 *   inside `cidrs`;
 * - everything else with a special purpose, IPv6 forms that carry an IPv4 address, IPv6 outside
 *   2000::/3: never;
 * - the rest is public.
 */
import { inRange, parseIp, parseRange, rangeWithin, type Ip, type IpRange } from './ip.ts';
import {
  GLOBAL_UNICAST,
  SPECIAL_ROWS,
  type AddressClass,
  type SpecialRow,
} from './special-purpose.ts';

export interface AddressRule {
  /** The operator wrote this very address. */
  readonly loopback: boolean;
  /** The operator wrote the upstream and its peer is proved by mTLS. */
  readonly private: boolean;
  /** Ranges of the document; they lift the ban on private addresses and on nothing else. */
  readonly cidrs: readonly string[];
  /** Addresses that lead back to this sidecar, in canonical text. */
  readonly own: ReadonlySet<string>;
}

/**
 * Why the address is refused, as the end of a sentence; undefined when it may be dialled. Whatever
 * is not exactly one address is refused.
 */
export function judgeAddress(address: string, rule: AddressRule): string | undefined {
  const ip = parseIp(address);
  if (ip === undefined) return 'it is not an IP address';
  if (rule.own.has(ip.text)) return 'it is an address of this sidecar';
  const row = rowOf(ip);
  if (row === undefined) return unallocated(ip);
  if (row.class === 'loopback' && rule.loopback) return undefined;
  if (row.class === 'private' && (rule.private || rule.cidrs.some((text) => inside(ip, text))))
    return undefined;
  return `${WHY[row.class]} (${row.name}, ${row.range.text})`;
}

const WHY: Readonly<Record<AddressClass, string>> = Object.freeze({
  metadata: 'metadata services are never dialled',
  'link-local': 'link-local addresses are never dialled',
  loopback: 'loopback addresses are dialled only where the document writes the very address',
  private: 'private addresses need an upstream with mode mtls, or a range in upstream.cidrs',
  embeds: 'IPv6 addresses that carry an IPv4 address are never dialled',
  reserved: 'special-purpose addresses are never dialled',
});

/**
 * What kind of address it is: a class of the table, `public`, `unallocated`, or undefined when it
 * is no address.
 */
export function classOf(address: string): AddressClass | 'public' | 'unallocated' | undefined {
  const ip = parseIp(address);
  if (ip === undefined) return undefined;
  return rowOf(ip)?.class ?? (unallocated(ip) === undefined ? 'public' : 'unallocated');
}

function rowOf(ip: Ip): SpecialRow | undefined {
  const row = SPECIAL_ROWS.find(({ range }) => inRange(ip, range));
  return isIsatap(ip) && (row === undefined || row.class === 'private') ? ISATAP : row;
}

function unallocated(ip: Ip): string | undefined {
  if (ip.family === 4 || inRange(ip, GLOBAL_UNICAST)) return undefined;
  return 'it lies in no block of IPv6 addresses that is in use';
}

/**
 * An interface identifier of RFC 5214 section 6.1: `::0:5efe:a.b.c.d` or `::200:5efe:a.b.c.d`
 * behind any prefix.
 */
function isIsatap({ family, bytes }: Ip): boolean {
  return (
    family === 6 &&
    ((bytes[8] ?? 0) & 0xfd) === 0 &&
    bytes[9] === 0 &&
    bytes[10] === 0x5e &&
    bytes[11] === 0xfe
  );
}

const ISATAP_RANGE: IpRange = {
  base: { family: 6, bytes: [], text: '::5efe:0:0' },
  length: 0,
  text: '::0:5efe:a.b.c.d',
};
const ISATAP: SpecialRow = Object.freeze({
  range: ISATAP_RANGE,
  name: 'ISATAP',
  class: 'embeds',
  source: 'other',
});

function inside(ip: Ip, text: string): boolean {
  const range = parseRange(text);
  return range !== undefined && inRange(ip, range);
}

/**
 * Why a range cannot stand in `cidrs`, or undefined: it must lie in one private block, since
 * nothing else can be lifted.
 */
export function judgeRange(text: string): string | undefined {
  const range = parseRange(text);
  if (range === undefined) return 'is not address/length with all bits behind the length zero';
  // Narrowest first: a range inside a metadata row is that, even where the row lies in a private
  // block.
  const row = SPECIAL_ROWS.find((special) => rangeWithin(range, special.range));
  if (row?.class === 'private') return undefined;
  if (row !== undefined) return `lies in ${row.range.text} (${row.name}), which is never dialled`;
  return 'is not inside one private block; public addresses need no range';
}
