/**
 * The health listener: `/livez`, `/readyz`, `/metrics`, and where TLS is intercepted the CA's
 * certificate, read-only and nothing else, so that kubelet, Prometheus and the agent may reach it.
 */
import type { AddressInfo } from 'node:net';
import { json, type Page, type Pages, type Route, servePages, text } from '../api/pages.ts';
import type { Readiness } from './readiness.ts';

export interface HealthOptions {
  readonly address: { readonly host: string; readonly port: number };
  /** The socket, where the process was started with it. */
  readonly fd?: number | undefined;
  readonly readiness: Readiness;
  /** Prometheus text. */
  readonly metrics: () => Promise<string>;
  /**
   * PEM of the interception CA, undefined while there is none; without it there is no such page.
   */
  readonly interceptionCa?: (() => string | undefined) | undefined;
  /** Told of each connection that is cut because there are too many. */
  readonly onDropped?: () => void;
}

/**
 * Connections at one time, whose descriptors are kept for them: of more the oldest idle one is cut.
 */
export const MAX_HEALTH = 64;

/** Of the certificate, which is public; its key is nowhere. */
export const INTERCEPTION_CA_PAGE = '/interception-ca.pem';

export interface Health extends Pages {
  readonly address: AddressInfo;
}

/** Throws a Fault `listen`. */
export async function startHealth(options: HealthOptions): Promise<Health> {
  const { address, fd, readiness, metrics, interceptionCa, onDropped } = options;
  const routes = new Map<string, Route>([
    ['/livez', { method: 'GET', page: () => text(200, 'live') }],
    ['/readyz', { method: 'GET', page: () => readyPage(readiness) }],
    [
      '/metrics',
      {
        method: 'GET',
        page: async () => ({
          status: 200,
          type: 'text/plain; version=0.0.4; charset=utf-8',
          body: await metrics(),
        }),
      },
    ],
  ]);
  if (interceptionCa !== undefined)
    routes.set(INTERCEPTION_CA_PAGE, { method: 'GET', page: () => caPage(interceptionCa()) });
  const limits = { connections: MAX_HEALTH, full: 'evict', onDropped } as const;
  const pages = await servePages({ name: 'health', ...address, fd }, routes, limits);
  const { address: bound } = pages;
  if (bound === undefined) throw new TypeError('a TCP server has an address');
  return { ...pages, address: bound };
}

function caPage(pem: string | undefined): Page {
  return pem === undefined
    ? text(503, 'the interception CA is not there yet')
    : { status: 200, type: 'application/x-pem-file', body: pem };
}

function readyPage(readiness: Readiness): ReturnType<typeof json> {
  const { ready, waiting } = readiness.report();
  return json(ready ? 200 : 503, {
    ready,
    waiting: waiting.map(({ name, detail, seconds }) => `${name}: ${detail}, ${seconds} s`),
  });
}
