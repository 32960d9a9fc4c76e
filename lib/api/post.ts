/**
 * One POST of JSON to somebody whose name is resolved by us, on a connection of its own; no
 * redirect is followed.
 */
import type { IncomingMessage } from 'node:http';
import { isIP, type LookupFunction } from 'node:net';
import { Fault } from '../base/fault.ts';
import type { Resolver } from '../upstream/resolver.ts';
import { connectNamed } from '../tls/named-server.ts';

export interface Posting {
  readonly headers: Readonly<Record<string, string>>;
  readonly resolver: Resolver;
  readonly signal: AbortSignal;
  /** Bytes of the answer; a longer one is a Fault `webhook`. */
  readonly most: number;
}

export interface Posted {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
}

export async function post(url: string, body: string, posting: Posting): Promise<Posted> {
  const { headers, resolver, signal, most } = posting;
  const secure = url.startsWith('https:');
  const { request } = process.getBuiltinModule(secure ? 'node:https' : 'node:http');
  const length = { 'content-length': String(Buffer.byteLength(body)) };
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const lookup = lookupBy(resolver, signal);
    const by = secure
      ? { createConnection: () => connectNamed(url, lookup) }
      : { agent: false, lookup };
    const asked = request(url, {
      method: 'POST',
      headers: { ...headers, ...length },
      signal,
      ...by,
    });
    asked.on('response', resolve).on('error', reject).end(body);
  });
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of response as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > most) throw new Fault('webhook', `the answer is longer than ${most} bytes`);
    parts.push(part);
  }
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    text: Buffer.concat(parts).toString('utf8'),
  };
}

/** The engine's own look-up blocks a thread that others need, and cannot be given up. */
function lookupBy(resolver: Resolver, signal: AbortSignal): LookupFunction {
  return (name, { all }, tell) => {
    resolver.resolve(name, { absolute: false, signal, of: 'webhook' }).then(
      (addresses) => {
        const found = addresses.map((address) => ({ address, family: isIP(address) }));
        if (all === true) tell(null, found);
        else tell(null, found[0]?.address ?? '', found[0]?.family);
      },
      (failure: Error) => tell(failure, ''),
    );
  };
}
