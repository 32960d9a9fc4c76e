/**
 * nginx as a reader of requests: it reads them from a Unix socket and passes them on to node:http,
 * which tells what it was given. Every message is followed by a sentinel on the same connection:
 * nginx must read both, so both end the message at the same byte. Connections are kept for as long
 * as messages allow.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { until } from '../support/until.ts';
import { seenIn } from '../http1/node-reader.ts';
import type { Fields } from '../../lib/http/message.ts';
import { asMap, type Meant, type Seen } from '../http1/reading.ts';
import type { Peer, PeerReading } from './peer.ts';

export function nginxMissing(): string | false {
  try {
    execFileSync('nginx', ['-v'], { stdio: 'ignore' });
    return false;
  } catch {
    return 'there is no nginx command on this machine';
  }
}

const LANES = 16;
const PATIENCE_MS = 5000;
/** Not passed on by a proxy, or written anew. */
const OWN: ReadonlySet<string> = new Set(
  'host connection content-length transfer-encoding te keep-alive expect upgrade trailer proxy-connection'.split(
    ' ',
  ),
);
const SENTINEL = 'GET /sentinel HTTP/1.1\r\nHost: sentinel\r\n\r\n';

const configuration = (
  folder: string,
): string => `daemon off; master_process off; pid ${folder}/pid; error_log ${folder}/error.log crit;
events { worker_connections 512; }
http {
  access_log off; client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/f; uwsgi_temp_path ${folder}/u; scgi_temp_path ${folder}/s;
  underscores_in_headers on; ignore_invalid_headers off; merge_slashes off;
  keepalive_requests 100000000; keepalive_timeout 1h; client_max_body_size 0; large_client_header_buffers 8 64k;
  upstream reader { server unix:${folder}/reader.sock; keepalive ${LANES}; keepalive_requests 100000000; }
  map $http_host $meant_host { "" $host; default $http_host; }
  server {
    listen unix:${folder}/front.sock;
    location / {
      proxy_pass http://reader; proxy_http_version 1.1;
      proxy_set_header Connection ""; proxy_set_header Host $meant_host;
    }
  }
}
`;

export async function nginxPeer(): Promise<Peer> {
  const folder = mkdtempSync(join(tmpdir(), 'chaperone-nginx-'));
  const seen: Seen[] = [];
  const reader = http.createServer({ keepAliveTimeout: 0 }, (message, response) => {
    seenIn(`${message.method} ${message.url}`, message).then(
      (whole) => {
        seen.push(whole);
        response.writeHead(200, { 'x-read': seen.length - 1, 'content-length': 0 }).end();
      },
      () => response.destroy(),
    );
  });
  reader.listen(join(folder, 'reader.sock'));
  await once(reader, 'listening');
  writeFileSync(join(folder, 'nginx.conf'), configuration(folder));
  const child = spawn('nginx', ['-p', folder, '-c', join(folder, 'nginx.conf')], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const lanes = Array.from({ length: LANES }, () => new Lane(join(folder, 'front.sock'), seen));
  await until('nginx listens', () => lanes[0]?.ready());
  return {
    name: 'nginx',
    roles: ['request'],
    acceptedOnly: true,
    async read(_role, messages) {
      const readings: PeerReading[] = [];
      let next = 0;
      const work = async (lane: Lane): Promise<void> => {
        while (next < messages.length) {
          const at = next++;
          readings[at] = await lane.read(messages[at] ?? '');
        }
      };
      await Promise.all(lanes.map(work));
      seen.length = 0;
      return readings;
    },
    shows: (_role, meant) => nginxShows(meant),
    excuse: (_role, meant) => nginxExcuse(meant),
    async [Symbol.asyncDispose]() {
      for (const lane of lanes) lane.close();
      const exited = once(child, 'exit');
      child.kill();
      await exited;
      reader.closeAllConnections();
      await new Promise((resolve) => reader.close(resolve));
      rmSync(folder, { recursive: true });
    },
  };
}

/** One connection to nginx at a time, made anew when nginx has closed it. */
class Lane {
  readonly #path: string;
  readonly #seen: readonly Seen[];
  #socket: net.Socket | undefined;
  #text = '';
  #wake = (): void => {};

  constructor(path: string, seen: readonly Seen[]) {
    this.#path = path;
    this.#seen = seen;
  }

  /** Whether nginx answers. */
  async ready(): Promise<boolean> {
    const { shown } = await this.read('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    return shown !== undefined;
  }

  /** Sends a message and a sentinel, and reads the answers to both. */
  async read(message: string): Promise<PeerReading> {
    const socket = (this.#socket ??= this.#connect());
    this.#text = '';
    socket.write(message + SENTINEL, 'latin1');
    const shown: unknown[] = [];
    for (;;) {
      const answer = this.#take();
      if (answer === 'more') {
        if (socket.destroyed) return this.#over(shown, undefined);
        if (await this.#waited()) continue;
        this.close();
        return this.#over(shown, 'it waits for more');
      }
      if (answer.status >= 100 && answer.status < 200) continue;
      if (answer.status !== 200 || answer.read === undefined) {
        this.close();
        return this.#over(shown, `status ${answer.status}`);
      }
      const seen = this.#seen[answer.read];
      if (seen?.start === 'GET /sentinel')
        return { shown: shown[0], refused: shown.length === 1 ? undefined : 'not one' };
      shown.push({
        start: seen?.start,
        fields: asMap(seen?.fields ?? [], OWN),
        body: seen?.body,
        host: hostOf(seen?.fields ?? []),
      });
    }
  }

  close(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
  }

  /** Closed by nginx after what was shown: in order where one message was. */
  #over(shown: readonly unknown[], refused: string | undefined): PeerReading {
    this.#socket = undefined;
    return {
      shown: shown[0],
      refused: shown.length === 1 ? undefined : (refused ?? 'closed without an answer'),
    };
  }

  /** False when nothing came for long. */
  #waited(): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), PATIENCE_MS);
      this.#wake = () => {
        clearTimeout(timer);
        resolve(true);
      };
    });
  }

  #connect(): net.Socket {
    const socket = net.connect(this.#path);
    socket.on('data', (chunk: Buffer) => {
      this.#text += chunk.toString('latin1');
      this.#wake();
    });
    socket.on('error', () => {}).on('close', () => this.#wake());
    return socket;
  }

  #take(): { readonly status: number; readonly read: number | undefined } | 'more' {
    const end = this.#text.indexOf('\r\n\r\n');
    if (end < 0) return 'more';
    const head = this.#text.slice(0, end);
    this.#text = this.#text.slice(end + 4);
    const read = /\r\nx-read: (\d+)/i.exec(head)?.[1];
    return {
      status: Number(head.slice(9, 12)),
      read: read === undefined ? undefined : Number(read),
    };
  }
}

function hostOf(fields: Fields): string | undefined {
  const at = fields.indexOf('host');
  return at < 0 ? undefined : fields[at + 1];
}

/** An absolute-form target is passed on in origin-form. */
function nginxShows({ method, target, fields, body }: Meant): unknown {
  const absolute = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)/i.exec(target);
  const path = target.slice(absolute?.[0].length ?? 0);
  return {
    start: `${method} ${path.startsWith('/') ? path : `/${path}`}`,
    fields: asMap(fields, OWN),
    body,
    host: hostOf(fields) ?? absolute?.[1]?.toLowerCase() ?? '',
  };
}

/**
 * nginx takes methods of upper-case letters alone, serves neither TRACE nor CONNECT, and no target
 * `*`; the reader behind it knows only the methods it lists.
 */
function nginxExcuse({ method, target }: Meant): string | undefined {
  if (
    !http.METHODS.includes(method) ||
    !/^[A-Z_-]+$/.test(method) ||
    method === 'TRACE' ||
    method === 'CONNECT'
  )
    return 'method';
  if (target === '*') return 'target';
  return undefined;
}
