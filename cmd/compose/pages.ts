/**
 * Pages and APIs of the sidecar put together, and its end. What was inherited another process
 * serves too: health is answered once everything else is, and ended first.
 */
import type { AddressInfo } from 'node:net';
import { type AdminOptions, startAdmin } from '../../lib/api/admin.ts';
import type { Pages } from '../../lib/api/pages.ts';
import type { Cell } from '../../lib/base/cell.ts';
import type { Disposer } from '../../lib/base/dispose.ts';
import { Fault } from '../../lib/base/fault.ts';
import type { SidecarSpec } from '../../lib/config/load/compile-sidecar.ts';
import type { Interception } from '../../lib/interception/authority.ts';
import type { Inherited } from '../../lib/listen/inherited.ts';
import type { Proxy } from '../../lib/listen/proxy.ts';
import { formatAuthority } from '../../lib/net/authority.ts';
import { type Health, type HealthOptions, startHealth } from '../../lib/telemetry/health.ts';
import type { Parts } from './parts.ts';
import type { Supervisor } from './supervisor.ts';

interface AroundHealth {
  readonly shown: Pick<HealthOptions, 'readiness' | 'metrics' | 'onDropped'>;
  readonly interception: Cell<Interception>;
  readonly inherited: Inherited;
}

export interface HealthPages {
  /** The process was started with the socket: until it can serve, another answers there. */
  readonly shared: boolean;
  open(around: {
    readonly opened: Disposer;
    readonly addresses: Map<string, AddressInfo>;
  }): Promise<void>;
  /** Takes no more connections, and ends those that are at rest. */
  exit(): void;
}

export function healthOf(
  { health, intercept }: SidecarSpec,
  { shown, interception, inherited }: AroundHealth,
): HealthPages {
  if (health === undefined) return { shared: false, open: () => Promise.resolve(), exit: () => {} };
  const interceptionCa = intercept && (() => interception.get()?.authority().toString());
  const fd = inherited.take({ name: 'health', ...health });
  let pages: Health | undefined;
  return {
    shared: fd !== undefined,
    async open({ opened, addresses }) {
      pages = opened.use(await startHealth({ ...shown, address: health, fd, interceptionCa }));
      addresses.set('health', pages.address);
    },
    exit: () => pages?.exit(),
  };
}

/** The operator's socket, where there is one. */
export async function openAdmin(
  { adminApi }: SidecarSpec,
  {
    inherited,
    opened,
    ...options
  }: Omit<AdminOptions, 'socket' | 'fd'> &
    Pick<AroundHealth, 'inherited'> & { readonly opened: Disposer },
): Promise<readonly Pages[]> {
  if (adminApi === undefined) return [];
  const { socket } = adminApi;
  const fd = inherited.take({ name: 'adminApi', path: socket });
  return [opened.use(await startAdmin({ ...options, socket, fd }))];
}

/** Every place where somebody may connect, sockets too. */
export function placesOf(
  addresses: ReadonlyMap<string, AddressInfo>,
  { agents, adminApi }: SidecarSpec,
): readonly string[] {
  const ports = [...addresses].map(
    ([name, { address, port }]) => `${name} ${formatAuthority(address, port)}`,
  );
  const sockets = agents.flatMap(({ name, home }) =>
    home === undefined ? [] : [`agent ${name} ${home.socket}`],
  );
  return [...ports, ...sockets, ...(adminApi === undefined ? [] : [`adminApi ${adminApi.socket}`])];
}

interface Draining {
  readonly proxy: Proxy;
  readonly health: HealthPages;
  readonly pages: readonly Pages[];
  readonly supervisor: Supervisor;
}

/**
 * Turns not ready, and serves what is under way until it ends or `drain` of the configuration is
 * over.
 */
export async function drain(
  { proxy, health, pages, supervisor }: Draining,
  { config, clock, readiness: ready, recordEvent }: Parts,
): Promise<void> {
  supervisor.stopping();
  health.exit();
  for (const page of pages) page.exit();
  // Where health is shared it speaks for whoever serves on.
  if (!health.shared) ready.pending('drain', 'the sidecar is stopping');
  recordEvent('draining', { live: proxy.live() });
  const late = new AbortController();
  const cancel = clock.after(
    config.sidecar.drain,
    () => late.abort(new Fault('shutting-down', 'the time to drain is over')),
    true,
  );
  await proxy.drain(late.signal);
  cancel();
  recordEvent('stopped');
}
