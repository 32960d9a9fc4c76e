/**
 * The demo's service on the public web: HTTPS with a certificate for its name from a CA of its own,
 * which asks nobody for a certificate. It remembers what it was asked.
 */
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import {
  certificatesPem,
  KEY_USAGE,
  newKeys,
  pkcs8,
  privateKeyPem,
  PURPOSE,
  signCertificate,
} from '../../lib/interception/issue.ts';

export interface Saas extends AsyncDisposable {
  /** `127.0.0.1:port` */
  readonly address: string;
  /** PEM of the CA that vouches for it. */
  readonly root: string;
  /** `METHOD /path`, in order. */
  requests(): readonly string[];
}

const HOUR = 3_600_000;

export async function startSaas(host: string): Promise<Saas> {
  const { root, cert, key } = await credentials(host);
  const asked: string[] = [];
  const server = createServer({ cert, key }, (request, response) => {
    asked.push(`${request.method} ${request.url}`);
    request.resume();
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ service: host, path: request.url }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    root,
    requests: () => asked,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function credentials(
  host: string,
): Promise<{ readonly root: string; readonly cert: string; readonly key: string }> {
  const [rootKeys, keys] = [await newKeys(), await newKeys()];
  const signer = { subject: 'O=Demo web CA', keys: rootKeys };
  const time = { notBefore: Date.now() - HOUR, notAfter: Date.now() + 24 * HOUR };
  const root = await signCertificate({
    ...time,
    subject: signer.subject,
    publicKey: rootKeys.publicKey,
    signer,
    basicConstraints: { ca: true },
    keyUsage: { bits: KEY_USAGE.keyCertSign, critical: true },
  });
  const leaf = await signCertificate({
    ...time,
    subject: 'O=Demo web service',
    publicKey: keys.publicKey,
    signer,
    names: { values: [{ type: 'dns', value: host }], critical: false },
    basicConstraints: { ca: false },
    keyUsage: { bits: KEY_USAGE.digitalSignature, critical: true },
    extendedKeyUsage: [PURPOSE.serverAuth],
  });
  return {
    root: certificatesPem([root]),
    cert: certificatesPem([leaf]),
    key: privateKeyPem(await pkcs8(keys)),
  };
}
