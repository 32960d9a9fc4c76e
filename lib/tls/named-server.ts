/** TLS to a server of the web that the operator names by a URL, for calls of the sidecar's own. */
import { isIP, type LookupFunction } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import { rawPeerOnly } from '../identity/raw-peer.ts';
import { checkName } from './server-name.ts';

/**
 * By our rule for names, and without the engine describing certificates to itself, which ends the
 * process at some keys.
 */
export function connectNamed(url: string, lookup: LookupFunction): TLSSocket {
  const { hostname, port } = new URL(url);
  const host = hostname.replace(/^\[|\]$/g, '');
  const named = isIP(host) === 0 ? { servername: host } : {};
  const checkServerIdentity = (_: string, { raw }: { readonly raw: Buffer }): Error | undefined =>
    checkName(host, raw);
  return rawPeerOnly(
    connect({
      host,
      port: port === '' ? 443 : Number(port),
      lookup,
      checkServerIdentity,
      ...named,
    }),
  );
}
