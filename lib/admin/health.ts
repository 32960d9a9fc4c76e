/** The health listener: `/livez`, `/readyz`, `/metrics`, read-only and nothing else, so that kubelet and Prometheus may reach it. */
import type { AddressInfo } from 'node:net';
import { closePages, json, type Route, servePages, text } from './pages.ts';
import type { Readiness } from './ready.ts';

export interface HealthOptions {
  readonly address: { readonly host: string; readonly port: number };
  readonly readiness: Readiness;
  /** Prometheus text. */
  readonly metrics: () => Promise<string>;
}

export interface Health extends AsyncDisposable {
  readonly address: AddressInfo;
}

/** Throws a Fault `listen`. */
export async function startHealth({ address, readiness, metrics }: HealthOptions): Promise<Health> {
  const routes = new Map<string, Route>([
    ['/livez', { method: 'GET', page: () => text(200, 'live') }],
    ['/readyz', { method: 'GET', page: () => readyPage(readiness) }],
    [
      '/metrics',
      {
        method: 'GET',
        page: async () => ({ status: 200, type: 'text/plain; version=0.0.4; charset=utf-8', body: await metrics() }),
      },
    ],
  ]);
  const server = await servePages({ host: address.host, port: address.port }, routes);
  const bound = server.address();
  if (bound === null || typeof bound === 'string') throw new TypeError('a TCP server has an address');
  return { address: bound, [Symbol.asyncDispose]: () => closePages(server) };
}

function readyPage(readiness: Readiness): ReturnType<typeof json> {
  const { ready, waiting } = readiness.report();
  return json(ready ? 200 : 503, {
    ready,
    waiting: waiting.map(({ name, detail, seconds }) => `${name}: ${detail}, ${seconds} s`),
  });
}
