/**
 * What NO_PROXY may keep. Programs read it in several ways (suffixes with and without a dot, `*`,
 * ports, CIDR ranges), so an entry that any of them may take for a host of a destination is left
 * out: it would go around the sidecar.
 */
import { BlockList, isIP } from 'node:net';
import type { HostPattern } from '../lib/net/host.ts';

const LOOPBACK = ['localhost', '127.0.0.1', '::1'] as const;

export interface NoProxy {
  readonly kept: readonly string[];
  readonly dropped: readonly string[];
}

/** `hosts` of all destinations; undefined: unknown, and then nothing but loopback is kept. */
export function noProxy(
  before: readonly string[],
  hosts: readonly HostPattern[] | undefined,
): NoProxy {
  const [kept, dropped] = [new Set<string>(LOOPBACK), new Set<string>()];
  for (const entry of before
    .flatMap((text) => text.split(/[\s,|]+/))
    .filter((text) => text !== '')) {
    if (isLoopback(entry)) kept.add(entry);
    else if (hosts === undefined || hosts.some((host) => mayMatch(entry, host))) dropped.add(entry);
    else kept.add(entry);
  }
  return { kept: [...kept], dropped: [...dropped] };
}

function isLoopback(entry: string): boolean {
  const host = hostOf(entry);
  if (['localhost', '::1', '127.*'].includes(host)) return true;
  const [, address, bits] = /^(127(?:\.\d+){3})(?:\/(\d+))?$/.exec(host) ?? [];
  return address !== undefined && isIP(address) === 4 && Number(bits ?? 32) >= 8;
}

/** Lower case, without port, brackets and a dot at the end. */
function hostOf(entry: string): string {
  const text = entry.toLowerCase();
  const bare = text.startsWith('[')
    ? text.replace(/^\[([^\]]*)\].*$/, '$1')
    : text.replace(/^([^:]*):\d+$/, '$1');
  return bare.replace(/\.$/, '');
}

function mayMatch(entry: string, { kind, host }: HostPattern): boolean {
  const text = hostOf(entry);
  if (text === '<local>') return kind === 'exact' && !host.includes('.');
  if (text.includes('/')) return kind === 'address' && inRange(text, host);
  const suffix = text.replace(/^[*.]+/, '');
  if (kind === 'address') {
    const bits = { 0: undefined, 4: 32, 6: 128 }[isIP(text)];
    return bits === undefined ? globOf(`${text}*`).test(host) : inRange(`${text}/${bits}`, host);
  }
  if (globOf(text).test(host) || host.endsWith(suffix)) return true;
  return kind === 'wildcard' && (suffix.endsWith(`.${host}`) || /[a-z].*\*/.test(suffix));
}

function globOf(text: string): RegExp {
  const escaped = text.replace(/[\\^$+?.()[\]{}|]/g, String.raw`\$&`);
  return new RegExp(`^${escaped.replaceAll('*', '.*')}$`);
}

/** A range that cannot be read may be anything. */
function inRange(range: string, address: string): boolean {
  const [network = '', bits] = range.split('/');
  const family = (text: string): 'ipv4' | 'ipv6' => (isIP(text) === 6 ? 'ipv6' : 'ipv4');
  try {
    const list = new BlockList();
    list.addSubnet(network, Number(bits), family(network));
    return list.check(address, family(address));
  } catch {
    return true;
  }
}
