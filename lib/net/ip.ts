/**
 * IP addresses and ranges as bytes. Only canonical text gets in: what the operating system would
 * also read as an address in some other way (`127.1`, `0177.0.0.1`, `2130706433`, zone identifiers)
 * is not an address here.
 */
import { isIPv4, isIPv6 } from 'node:net';
import ipaddr from 'ipaddr.js';

export interface Ip {
  readonly family: 4 | 6;
  readonly bytes: readonly number[];
  /** Dotted quad, or RFC 5952 without brackets. */
  readonly text: string;
}

/** A block of addresses: those whose first `length` bits are those of `base`. */
export interface IpRange {
  readonly base: Ip;
  readonly length: number;
  readonly text: string;
}

/**
 * The address, or undefined when the text is not exactly one address (a zone identifier makes it
 * none).
 */
export function parseIp(text: string): Ip | undefined {
  if (isIPv4(text)) return { family: 4, bytes: ipaddr.IPv4.parse(text).toByteArray(), text };
  if (!isIPv6(text) || text.includes('%')) return undefined;
  const parsed = ipaddr.IPv6.parse(text);
  return { family: 6, bytes: parsed.toByteArray(), text: parsed.toRFC5952String() };
}

/** `address/length` with no bit set behind the length, or undefined. */
export function parseRange(text: string): IpRange | undefined {
  const slash = text.indexOf('/');
  const base = parseIp(text.slice(0, Math.max(slash, 0)));
  const digits = text.slice(slash + 1);
  if (base === undefined || !/^(0|[1-9]\d{0,2})$/.test(digits)) return undefined;
  const length = Number(digits);
  if (length > base.bytes.length * 8) return undefined;
  const clean = base.bytes.every((byte, i) => (byte & ~mask(length - i * 8) & 0xff) === 0);
  return clean ? { base, length, text: `${base.text}/${length}` } : undefined;
}

/** The bits of one byte that `left` more bits of prefix cover. */
function mask(left: number): number {
  if (left >= 8) return 0xff;
  return left <= 0 ? 0 : (0xff << (8 - left)) & 0xff;
}

export function inRange(ip: Ip, range: IpRange): boolean {
  if (ip.family !== range.base.family) return false;
  for (let i = 0; i * 8 < range.length; i += 1) {
    const bits = mask(range.length - i * 8);
    if (((ip.bytes[i] ?? 0) & bits) !== ((range.base.bytes[i] ?? 0) & bits)) return false;
  }
  return true;
}

/** Whether every address of `inner` is in `outer`. */
export function rangeWithin(inner: IpRange, outer: IpRange): boolean {
  return inner.length >= outer.length && inRange(inner.base, outer);
}

/** 127.0.0.0/8 and ::1; false for any other text. */
export function isLoopback(text: string): boolean {
  return text === '::1' || (isIPv4(text) && text.startsWith('127.'));
}
