/**
 * What of a destination a task may reach, where its intent named hosts: one host, or all names
 * below one, at one port or at every port of the destination. Pure sets, so that a grant is never
 * wider than the intent.
 */
import { formatAuthority } from '../../net/authority.ts';
import { parseHost } from '../../net/host.ts';

export interface HostTarget {
  /** Canonical (lib/net/host.ts). */
  readonly host: string;
  /** It is the names below `host`, and not that name itself. */
  readonly below: boolean;
  /** undefined: every port. */
  readonly port: number | undefined;
}

/**
 * `host`, `*.host`, each with `:port` or without, IPv6 in brackets where a port follows; undefined
 * for any other text.
 */
export function parseTarget(text: string): HostTarget | undefined {
  const [, below, name = '', port] = /^(\*\.)?(\[[^\]]*\]|[^:]*)(?::(\d{1,5}))?$/.exec(text) ?? [];
  try {
    return {
      host: parseHost(name),
      below: below !== undefined,
      port: port === undefined ? undefined : Number(port),
    };
  } catch {
    return undefined;
  }
}

/** What a policy is asked for to find the destinations of a target. */
export function asked({ host, below }: HostTarget): string {
  return below ? `*.${host}` : host;
}

export function reaches(target: HostTarget, host: string, port: number): boolean {
  if (target.port !== undefined && target.port !== port) return false;
  return target.below ? host.endsWith(`.${target.host}`) : host === target.host;
}

/** What both reach; undefined where that is nothing. */
function meet(a: HostTarget, b: HostTarget): HostTarget | undefined {
  if (a.port !== undefined && b.port !== undefined && a.port !== b.port) return undefined;
  const port = a.port ?? b.port;
  if (a.host === b.host && a.below === b.below) return { ...a, port };
  if (holds(a, b)) return { ...b, port };
  return holds(b, a) ? { ...a, port } : undefined;
}

function holds(outer: HostTarget, inner: HostTarget): boolean {
  return outer.below && inner.host.endsWith(`.${outer.host}`);
}

export function targetText({ host, below, port }: HostTarget): string {
  const name = below ? `*.${host}` : host;
  return port === undefined ? name : formatAuthority(name, port);
}

/** By destination; one that is not in it is reached whole. */
export type HostTargets = ReadonlyMap<string, readonly HostTarget[]>;

/** What both reach of a destination; undefined: all of it. */
export function meetAll(
  a: readonly HostTarget[] | undefined,
  b: readonly HostTarget[] | undefined,
): readonly HostTarget[] | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return a.flatMap((one) => b.flatMap((other) => meet(one, other) ?? []));
}
