/** Go's net/http: server and client, their connections in memory (gohttp/main.go). */
import { NOT_IN_TRAILERS } from '../../lib/http/field-lines.ts';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import { asMap, type Meant, type Role } from '../http1/reading.ts';
import type { Peer, PeerReading } from './peer.ts';

/** Why it cannot run here. */
export function goMissing(): string | false {
  try {
    execFileSync('go', ['version'], { stdio: 'ignore' });
    return false;
  } catch {
    return 'there is no go command on this machine';
  }
}

interface GoSeen {
  readonly start: string;
  readonly host: string;
  readonly fields: Readonly<Record<string, string[]>>;
  readonly body: string;
  readonly trailers: Readonly<Record<string, string[]>> | null;
}

interface GoReading {
  readonly seen: readonly GoSeen[] | null;
  readonly refused?: string;
}

/** net/http takes these out of the header and keeps them elsewhere, or drops them. */
const REQUEST_OWN: ReadonlySet<string> = new Set([
  'host',
  'transfer-encoding',
  'trailer',
  'content-length',
]);
const RESPONSE_OWN: ReadonlySet<string> = new Set([
  'transfer-encoding',
  'trailer',
  'content-length',
  'connection',
]);

export async function goPeer(): Promise<Peer> {
  const folder = mkdtempSync(join(tmpdir(), 'chaperone-go-'));
  const program = join(folder, 'gohttp');
  execFileSync('go', ['build', '-o', program, '.'], {
    cwd: join(import.meta.dirname, 'gohttp'),
    stdio: 'inherit',
  });
  const child = spawn(program, { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    name: 'Go net/http',
    roles: ['request', 'response'],
    acceptedOnly: false,
    async read(role, messages) {
      child.stdin.write(Buffer.concat(messages.map((text) => framed(role, text))));
      const readings: PeerReading[] = [];
      for (let left = messages.length; left > 0; left--) {
        const { value, done } = await lines.next();
        if (done === true) throw new Error('the Go program ended');
        readings.push(shownBy(role, JSON.parse(value) as GoReading));
      }
      return readings;
    },
    shows: (role, meant) => goShows(role, meant),
    excuse: () => undefined,
    async [Symbol.asyncDispose]() {
      const exited = once(child, 'exit');
      child.stdin.end();
      await exited;
      rmSync(folder, { recursive: true });
    },
  };
}

function framed(role: Role, text: string): Buffer {
  const head = Buffer.alloc(5);
  head.write(role === 'request' ? 'q' : 'p');
  head.writeUInt32BE(text.length, 1);
  return Buffer.concat([head, Buffer.from(text, 'latin1')]);
}

function shownBy(role: Role, { seen, refused }: GoReading): PeerReading {
  if (seen === null || seen.length === 0) return { shown: undefined, refused };
  const shown = seen.map(({ start, host, fields, body, trailers }) => ({
    start,
    ...(role === 'request' && { host }),
    fields: sorted(fields, role === 'request' ? REQUEST_OWN : RESPONSE_OWN),
    body,
    trailers: sorted(trailers ?? {}, role === 'response' ? NOT_IN_TRAILERS : undefined),
  }));
  return { shown, refused };
}

function sorted(
  fields: Readonly<Record<string, string[]>>,
  without?: ReadonlySet<string>,
): Record<string, string[]> {
  return asMap(
    Object.entries(fields).flatMap(([name, values]) =>
      values.flatMap((value) => [name.toLowerCase(), value]),
    ),
    without,
  );
}

function goShows(role: Role, { start, fields, body, trailers, target }: Meant): unknown {
  const at = fields.indexOf('host');
  const absolute = /^[a-z][a-z0-9+.-]*:\/\/(?:[^/?#]*@)?([^/?#]*)/i.exec(target)?.[1];
  return [
    {
      start,
      ...(role === 'request' && { host: absolute || (at < 0 ? '' : fields[at + 1]) }),
      fields: asMap(fields, role === 'request' ? REQUEST_OWN : RESPONSE_OWN),
      body,
      trailers: asMap(trailers),
    },
  ];
}
