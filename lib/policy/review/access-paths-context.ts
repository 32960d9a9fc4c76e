/**
 * Whether what surrounds the rules of a destination has been loosened: where it leads, who must
 * answer, what is sent along. Keys that nobody thought of count.
 */
import { byText } from '../../base/sorted.ts';
import { type Destination, protocolOf } from '../protocols/index.ts';

/** Looked at by lib/policy/review/access-paths-diff.ts, or without a say in what is permitted. */
const ELSEWHERE: ReadonlySet<string> = new Set([
  'name',
  'at',
  'hosts',
  'ports',
  'timeouts',
  'limits',
  'mode',
  'task',
  'action',
  'listen',
  'tls',
  'cidrs',
  'service',
  'spellings',
]);

/** In words what it was before; undefined: nothing is looser. */
export function loosened(before: Destination, after: Destination): string | undefined {
  const tls = tlsLoosened(before, after);
  if (tls !== undefined) return tls;
  if (before.mode === 'enforce' && after.mode === 'report') return 'its rules were enforced';
  if (after.cidrs.some((range) => !before.cidrs.includes(range)))
    return 'its upstream.cidrs were fewer';
  const service = serviceLoosened(before, after);
  if (service !== undefined) return service;
  for (const [key, value] of Object.entries(after)) {
    if (ELSEWHERE.has(key)) continue;
    const old: unknown = Reflect.get(before, key);
    if (written(old) !== written(value)) return `its ${key} was ${shown(old)}`;
  }
  return undefined;
}

function tlsLoosened({ tls: old }: Destination, { tls }: Destination): string | undefined {
  if (old.mode !== tls.mode) return `its tls.mode was ${old.mode}`;
  const added = tls.peers.find(({ text }) => !old.peers.some((one) => one.text === text));
  if (added !== undefined) return `${added.text} was not among its peers`;
  if (old.serverName !== tls.serverName)
    return `its tls.serverName was ${old.serverName ?? 'that of the host'}`;
  if (written(old.roots) !== written(tls.roots)) return 'its tls.roots were others';
  if (tls.insecure && !old.insecure) return 'it was not insecure';
  return old.intercept && !tls.intercept ? 'it was intercepted' : undefined;
}

function serviceLoosened(before: Destination, after: Destination): string | undefined {
  if (before.service.protocol !== after.service.protocol)
    return `its protocol was ${before.service.protocol}`;
  return protocolOf(after).loosened(before.service, after.service);
}

function shown(value: unknown): string {
  if (value === undefined) return 'not set';
  const text = typeof value === 'string' ? value : written(value);
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}

/** Equal values, equal text; sets and maps by their members. */
function written(value: unknown): string {
  return (
    JSON.stringify(value, (_, one: unknown) => {
      return one instanceof Set || one instanceof Map
        ? Array.from(one, written).toSorted(byText)
        : one;
    }) ?? 'undefined'
  );
}
