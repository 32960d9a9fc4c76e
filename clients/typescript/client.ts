/**
 * Tasks of an agent, as one object that is disposed: `await using task = await openTask({...})`.
 * Nothing but Node is needed. A task is held by one connection of this process, so that it ends
 * with the process whatever happens to it; the connection does not keep the process alive.
 */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { ask, hold, type Asked, type Held } from './door.ts';
import { Refused, Unreachable } from './errors.ts';
import { through, type Through } from './through.ts';
import {
  type DerivedIntent,
  type Intent,
  type Opened,
  openedOf,
  type StepUp,
  stepUpOf,
} from './values.ts';

export { Refused, Unreachable } from './errors.ts';
export type { Refusal } from './errors.ts';
export type { DerivedIntent, Grant, Intent, RefusedPart, StepUp } from './values.ts';

export interface Where {
  /**
   * Path of the socket of the agent API, or of the agent's folder; default `$CHAPERONE_AGENT_API`.
   */
  readonly socket?: string;
}

export interface OpenOptions extends Where {
  /** false: the task outlives this process, until it is completed or its time is over. */
  readonly hold?: boolean;
}

export interface Asking {
  /** For whoever decides, who sees it apart from the call. */
  readonly reason?: string;
  /**
   * Milliseconds to wait for an answer; 0 asks and does not wait. Without it until somebody
   * answers, or the question lapses.
   */
  readonly wait?: number;
  readonly signal?: AbortSignal;
}

/** How often a step-up is looked at where no event says that something happened; milliseconds. */
const LOOK_EVERY = 500;

/** Between the attempts to complete a task; milliseconds. The last one has none behind it. */
const COMPLETE_PAUSES: readonly (number | undefined)[] = [100, 500, 1000, undefined];

interface Pending {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
}

/** `Promise.withResolvers`, which Node 20 has not. */
function pending(): Pending {
  let resolve = (): void => {};
  const promise = new Promise<void>((settle) => (resolve = settle));
  return { promise, resolve };
}

function unknownEnd(id: string, cause: Unreachable): Unreachable {
  const message =
    `it is not known that task ${id} has ended; its time ends it, or the operator: ` +
    `${cause.message}`;
  return new Unreachable(message, { cause });
}

/** @throws Refused when nothing of the intent is granted; Unreachable */
export async function openTask(intent: Intent, options: OpenOptions = {}): Promise<Task> {
  const socket = socketOf(options);
  return opened(
    socket,
    { method: 'POST', path: '/v1/tasks' },
    { ...intent, hold: options.hold ?? true },
  );
}

/**
 * The task that this process was started in by `chaperone task run`, which also ends it: here it is
 * used and let go of, and not extended, derived from or completed. @throws Refused, Unreachable
 */
export async function currentTask(options: Where = {}): Promise<Task> {
  const {
    CHAPERONE_TASK: id,
    CHAPERONE_TASK_CREDENTIALS: credentials,
    HTTP_PROXY: proxyUrl,
  } = process.env;
  if (id === undefined || credentials === undefined)
    throw new Unreachable('this process is in no task: it was not started by `chaperone task run`');
  const socket = socketOf(options);
  const view = await ask(socket, {
    method: 'GET',
    path: `/v1/tasks/${id}`,
    authorization: credentials,
  });
  const answer = { ...Object(view), credentials, proxyUrl, refused: [], sockets: {} };
  return new Task({ socket, opened: openedOf(answer), held: undefined, owned: false });
}

interface Made {
  readonly socket: string;
  readonly opened: Opened;
  readonly held: Held | undefined;
  /** Whether it ends when it is disposed. */
  readonly owned: boolean;
}

export class Task implements AsyncDisposable {
  readonly #made: Made;
  readonly #through: Through | undefined;
  readonly #ended = new AbortController();
  #happened = pending();

  /** Not for callers: see openTask. */
  constructor(made: Made) {
    this.#made = made;
    this.#through = made.opened.proxyUrl === undefined ? undefined : through(made.opened.proxyUrl);
    if (made.held !== undefined) void this.#follow(made.held.events);
  }

  get id(): string {
    return this.#made.opened.id;
  }

  /** What it may do: the intent, cut by policy. */
  get grant(): Opened['grant'] {
    return this.#made.opened.grant;
  }

  /** What policy did not give, and why. */
  get refused(): Opened['refused'] {
    return this.#made.opened.refused;
  }

  /** Holds the task's secret. undefined when the sidecar has no forward proxy. */
  get proxyUrl(): string | undefined {
    return this.#made.opened.proxyUrl;
  }

  /** Unix sockets of the task, by destination, for programs that know nothing of proxies. */
  get sockets(): Readonly<Record<string, string>> {
    return this.#made.opened.sockets;
  }

  /**
   * Aborts when the task ends; `reason` says how. That somebody else ended it is known of a task
   * that is held.
   */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  /**
   * fetch as this task. A redirect is an answer like any other. @throws Refused where the sidecar
   * answers in place of the upstream
   */
  fetch(input: string | URL | Request, init?: RequestInit): Promise<Response> {
    if (this.#through === undefined)
      throw new Unreachable('the sidecar has no forward proxy: set spec.forward.address');
    return this.#through.fetch(input, init);
  }

  /**
   * A dispatcher of undici for this task, from the ProxyAgent of your undici. It throws on a
   * refused tunnel without saying why.
   */
  dispatcher<Dispatcher>(
    ProxyAgent: new (options: { uri: string; proxyTunnel: boolean }) => Dispatcher,
  ): Dispatcher {
    if (this.proxyUrl === undefined)
      throw new Unreachable('the sidecar has no forward proxy: set spec.forward.address');
    return new ProxyAgent({ uri: this.proxyUrl, proxyTunnel: false });
  }

  /**
   * Asks for an approval of a call that was refused with `step-up-required`, and waits until
   * somebody answers; then make the very same call again. @param refused the refusal, or its
   * `decision`
   * @throws Refused when it may not be asked for, or the task ends meanwhile
   */
  async stepUp(refused: Refused | string, { reason, wait, signal }: Asking = {}): Promise<StepUp> {
    const decision = typeof refused === 'string' ? refused : refused.decision;
    if (decision === undefined)
      throw new TypeError('this refusal names no decision: it is of no call');
    const path = `/v1/tasks/${this.id}/step-ups`;
    let stepUp = stepUpOf(await this.#ask({ method: 'POST', path, body: { decision, reason } }));
    const until = performance.now() + (wait ?? Infinity);
    for (;;) {
      if (stepUp.state !== 'pending') return stepUp;
      const left = until - performance.now();
      if (left <= 0) return stepUp;
      await this.#something(Math.min(left, LOOK_EVERY), signal);
      stepUp = stepUpOf(await this.#ask({ method: 'GET', path: `${path}/${stepUp.id}` }));
    }
  }

  /**
   * A task for a sub-agent: never wider than this one, ended with it; purpose and who answers for
   * it are this one's unless they are said.
   */
  derive(intent: DerivedIntent, options: Pick<OpenOptions, 'hold'> = {}): Promise<Task> {
    const { purpose, owner, onBehalfOf } = this.#made.opened;
    const body = { purpose, ...(owner && { owner }), ...(onBehalfOf && { onBehalfOf }), ...intent };
    const asked = {
      method: 'POST',
      path: `/v1/tasks/${this.id}/tasks`,
      authorization: this.#authorization,
    } as const;
    return opened(this.#made.socket, asked, { ...body, hold: options.hold ?? true });
  }

  /**
   * Moves its end, counted from now, within the ceiling of its purpose; or that of a task derived
   * from it, which cannot do it itself. @param lifetime such as `10m` @returns the new end
   */
  async extend(lifetime: string, derived: Task = this): Promise<Date> {
    const view = await this.#ask({
      method: 'POST',
      path: `/v1/tasks/${derived.id}/extend`,
      body: { lifetime },
    });
    return openedOf({ ...Object(view), refused: [], sockets: {}, credentials: '' }).expiresAt;
  }

  /**
   * What a child process needs to use this task: not to extend it, derive from it or complete it.
   * It holds a secret.
   */
  environment(): Record<string, string> {
    const variables: Record<string, string> = {
      CHAPERONE_AGENT_API: this.#made.socket,
      CHAPERONE_TASK: this.id,
      CHAPERONE_TASK_CREDENTIALS: this.#made.opened.credentials,
    };
    if (this.proxyUrl === undefined) return variables;
    for (const name of ['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY'])
      variables[name] = variables[name.toLowerCase()] = this.proxyUrl;
    variables['NO_PROXY'] = variables['no_proxy'] = 'localhost,127.0.0.1,::1';
    variables['NODE_USE_ENV_PROXY'] = '1';
    return variables;
  }

  /**
   * Ends the task: what is under way for it is cut. Once is enough; a task that has ended stays so.
   * Here it is used no more in any case. @throws Unreachable when it is not known that it ended
   */
  async complete(): Promise<void> {
    try {
      await this.#completed();
    } finally {
      this.#letGo();
    }
  }

  async #completed(): Promise<void> {
    for (const pause of COMPLETE_PAUSES) {
      try {
        await this.#ask({ method: 'POST', path: `/v1/tasks/${this.id}/complete` });
        return this.#end('completed');
      } catch (failure) {
        if (failure instanceof Refused && failure.code === 'task-unknown') return;
        if (!(failure instanceof Unreachable)) throw failure;
        // No task outlives its sidecar.
        if (failure.nobodyListens) return;
        if (pause === undefined) throw unknownEnd(this.id, failure);
        await new Promise((resolve) => setTimeout(resolve, pause));
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#made.owned) await this.complete();
    else this.#letGo();
  }

  get #authorization(): string {
    return this.#made.opened.authorization ?? this.#made.opened.credentials;
  }

  #ask(asked: Asked): Promise<unknown> {
    return ask(this.#made.socket, { ...asked, authorization: this.#authorization });
  }

  #letGo(): void {
    this.#through?.close();
    this.#made.held?.close();
  }

  async #follow(events: AsyncIterable<unknown>): Promise<void> {
    let last = 'the connection to the sidecar closed';
    for await (const event of events) {
      last = String(Object(event).event);
      this.#happened.resolve();
      this.#happened = pending();
    }
    this.#happened.resolve();
    this.#end(last);
  }

  #end(how: string): void {
    this.#ended.abort(new Error(`task ${this.id}: ${how}`));
  }

  /** An event of the task, or the time, whichever is first. Keeps the process alive. */
  #something(within: number, signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    return new Promise((resolve, reject) => {
      const done = (act: () => void) => (): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', aborted);
        act();
      };
      const aborted = done(() => reject(signal?.reason as Error));
      const timer = setTimeout(done(resolve), within);
      signal?.addEventListener('abort', aborted);
      void this.#happened.promise.then(done(resolve));
    });
  }
}

async function opened(
  socket: string,
  asked: Asked,
  body: { readonly hold: boolean },
): Promise<Task> {
  if (!body.hold)
    return new Task({
      socket,
      opened: openedOf(await ask(socket, { ...asked, body })),
      held: undefined,
      owned: true,
    });
  const held = await hold(socket, { ...asked, body });
  return new Task({ socket, opened: openedOf(held.first), held, owned: true });
}

function socketOf({ socket = process.env['CHAPERONE_AGENT_API'] }: Where): string {
  if (socket !== undefined && socket !== '')
    return statSync(socket, { throwIfNoEntry: false })?.isDirectory() === true
      ? join(socket, 'api.sock')
      : socket;
  throw new Unreachable(
    'no socket of an agent API is named: set CHAPERONE_AGENT_API, or give `socket`',
  );
}
