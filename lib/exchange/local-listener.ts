/** A request as the local listener of a destination takes it. */
import { Fault } from '../base/fault.ts';
import { type Fields, fieldOf, fieldsOf } from '../http/message.ts';
import type { Authority } from '../net/authority.ts';
import type { Destination } from '../policy/protocols/index.ts';
import { HTTP_PORT } from './target.ts';

/** A local listener as a request sees it. */
export interface ListenerView {
  readonly destination: Destination;
  /** Address and port the agent connected to. */
  readonly local: Authority;
}

/** No port can be 0: it stands for one that was not written. */
export const UNSAID = 0;

/**
 * The authority of origin-form at a listener: its address stands for the destination, a name for
 * itself.
 */
export function namedAt(
  { destination, local }: ListenerView,
  { host, port }: Authority,
): Authority {
  if (isLocal({ host, port: port === UNSAID ? HTTP_PORT : port }, local))
    return ownAuthority(destination);
  // Clients put the port they connected to behind the name they were given.
  if (port === UNSAID || port === local.port)
    return { host, port: destination.ports[0] ?? HTTP_PORT };
  return { host, port };
}

export function isLocal({ host, port }: Authority, local: Authority): boolean {
  if (port !== local.port) return false;
  return (
    host === local.host ||
    (host === 'localhost' && (local.host === '::1' || local.host.startsWith('127.')))
  );
}

/** The host that a destination's listener stands for. */
export function ownAuthority({ name, hosts, ports }: Destination): Authority {
  const host = hosts.find(({ kind }) => kind !== 'wildcard')?.host;
  if (host === undefined) throw misdirected(`destination ${name} has wildcard hosts only`);
  return { host, port: ports[0] ?? HTTP_PORT };
}

export function misdirected(why: string): Fault {
  return new Fault('misdirected', `${why}: it does not say which host is meant`, {
    hint: 'send the Host of the upstream',
  });
}

const OWN_SITES: ReadonlySet<string> = new Set(['same-origin', 'none']);

/**
 * A page of another origin that found this port through a browser (DNS rebinding, cross-site
 * requests) is turned away.
 */
export function refuseForeignOrigin(fields: Fields, host: string): void {
  const origin = fieldOf(fields, 'origin');
  const own = origin === undefined || origin === `http://${host}`;
  // Images and links send no Origin; browsers say themselves where they come from (Fetch Metadata).
  if (own && fieldsOf(fields, 'sec-fetch-site').every((site) => OWN_SITES.has(site))) return;
  throw new Fault('denied', 'a browser sent this from another origin', {
    hint: 'local listeners serve programs: send no Origin and no Sec-Fetch-Site',
    at: 'origin',
  });
}
