/**
 * The sidecar put together in phases, each from what the ones before it opened. Health binds first,
 * so that whoever asks is told what is awaited; then evidence, identity, listeners; everything is
 * closed in reverse. Nothing is decided here.
 */
import type { AddressInfo } from 'node:net';
import { type Disposer, disposer } from '../lib/base/dispose.ts';
import type { Fault } from '../lib/base/fault.ts';
import type { IdentitySource } from '../lib/identity/source.ts';
import { openApis } from './compose/apis.ts';
import { openFoundation } from './compose/foundation.ts';
import { closeRest } from './compose/hand-over.ts';
import { announce } from './compose/lifecycle.ts';
import { drain } from './compose/pages.ts';
import type { ComposeOptions } from './compose/parts.ts';
import { openServices } from './compose/services.ts';
import { supervisor } from './compose/supervisor.ts';

export interface Sidecar extends AsyncDisposable {
  /** `forward`, `health` and the names of destinations with a local listener. */
  readonly addresses: ReadonlyMap<string, AddressInfo>;
  readonly identity: IdentitySource;
  readonly ready: () => boolean;
  /**
   * Loads the configuration again and reopens audit files. Never throws: what was wrong is logged
   * and shows as degraded.
   */
  readonly reload: () => Promise<void>;
  /** Settles when the operator asked for an end over the admin socket. */
  readonly quit: Promise<void>;
  /**
   * Settles with the reason to end for: `identity.onFinal: exit`, and the Workload API is not asked
   * again.
   */
  readonly failed: Promise<Fault>;
  /** Milliseconds, `drain` of the configuration. */
  readonly drainTime: number;
  /**
   * Turns not ready, serves what is under way until it ends or `drain` of the configuration is
   * over.
   */
  drain(): Promise<void>;
}

/** Starts everything. Throws the Fault of whatever cannot be started, with nothing left running. */
export async function compose(options: ComposeOptions): Promise<Sidecar> {
  const opened = disposer();
  try {
    return await assemble(options, opened);
  } catch (failure) {
    await opened[Symbol.asyncDispose]();
    throw failure;
  }
}

async function assemble(options: ComposeOptions, opened: Disposer): Promise<Sidecar> {
  const foundation = await openFoundation(options, opened);
  const { parts, health, inherited, addresses } = foundation;
  const { sidecar } = parts.config;
  const services = await openServices(options, foundation, opened);
  const { proxy, identity, reload } = services;
  const apis = await openApis({ foundation, services, opened });
  closeRest(inherited, parts);
  foundation.listening();
  if (health.shared) await health.open({ opened, addresses });
  const notified = supervisor(options.env, parts, opened);
  announce(parts, addresses);
  return {
    addresses,
    identity,
    ready: () => parts.readiness.report().ready,
    reload: () => reload.now(),
    quit: apis.quit,
    failed: sidecar.identity.onFinal === 'exit' ? identity.final : new Promise<never>(() => {}),
    drainTime: sidecar.drain,
    drain: () => drain({ proxy, health, pages: apis.pages, supervisor: notified }, parts),
    [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
  };
}
