/**
 * Names by the system's own resolver (nsswitch: files, mDNS, LDAP and whatever else is set up), in
 * a child process: getaddrinfo blocks a thread and cannot be given up, and a thread that is blocked
 * keeps its process from ending. The child can be killed, and is, when too many of its answers are
 * overdue.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import type { Clock } from '../lib/base/clock.ts';
import { onAbort } from '../lib/base/signal.ts';
import { dnsResolver, type Resolver, sharing } from '../lib/upstream/resolver.ts';

/**
 * One line of JSON for each name, one for each answer; it ends with its parent, whatever hangs in
 * it.
 */
const PROGRAM = `
const { lookup } = require('node:dns');
const lines = require('node:readline').createInterface({ input: process.stdin });
lines.on('line', (line) => {
  const { id, name } = JSON.parse(line);
  lookup(name, { all: true, order: 'verbatim' }, (error, found = []) =>
    console.log(JSON.stringify({
      id, code: error?.code, addresses: found.map(({ address }) => address) })));
});
lines.on('close', () => process.kill(process.pid, 'SIGKILL'));
`;

/** Milliseconds after which an answer is overdue. */
const DEADLINE_MS = 10_000;
/** Answers that are overdue before the child is replaced: it has threads for 32. */
const MAX_OVERDUE = 8;

interface Pending {
  readonly name: string;
  readonly resolve: (addresses: readonly string[]) => void;
  readonly reject: (reason: Error) => void;
  readonly cancel: () => void;
}

interface Said {
  readonly id: number;
  readonly code?: string;
  readonly addresses: readonly string[];
}

/** The one that the Sidecar document names. */
export function resolverOf(kind: 'dns' | 'system', clock: Clock): Resolver {
  return kind === 'system' ? systemResolver(clock) : dnsResolver({ clock });
}

export function systemResolver(
  clock: Clock,
  command: readonly string[] = [process.execPath, '-e', PROGRAM],
): Resolver {
  const child = new Child(clock, command);
  const resolver = sharing((name, absolute, signal) =>
    child.ask(absolute ? `${name}.` : name, signal),
  );
  return {
    resolve: resolver.resolve,
    close() {
      resolver.close?.();
      child.end();
    },
  };
}

class Child {
  readonly #clock: Clock;
  readonly #command: readonly string[];
  readonly #pending = new Map<number, Pending>();
  #process: ChildProcess | undefined;
  #last = 0;
  #overdue = 0;
  #closed = false;

  constructor(clock: Clock, command: readonly string[]) {
    this.#clock = clock;
    this.#command = command;
  }

  ask(name: string, signal: AbortSignal): Promise<readonly string[]> {
    if (this.#closed) return Promise.reject(coded('ECANCELLED'));
    return new Promise((resolve, reject) => {
      const id = (this.#last += 1);
      const late = this.#clock.after(DEADLINE_MS, () => this.#late(id), true);
      const off = onAbort(signal, () => this.#take(id)?.reject(coded('ECANCELLED')));
      this.#pending.set(id, { name, resolve, reject, cancel: () => (late(), off()) });
      this.#write(id, name);
    });
  }

  end(): void {
    this.#closed = true;
    this.#process?.kill('SIGKILL');
    this.#process = undefined;
    for (const id of this.#pending.keys()) this.#take(id)?.reject(coded('ECANCELLED'));
  }

  #take(id: number): Pending | undefined {
    const one = this.#pending.get(id);
    this.#pending.delete(id);
    one?.cancel();
    return one;
  }

  #late(id: number): void {
    this.#take(id)?.reject(coded('ETIMEOUT'));
    this.#overdue += 1;
    if (this.#overdue < MAX_OVERDUE) return;
    this.#process?.kill('SIGKILL');
    this.#process = undefined;
    this.#overdue = 0;
    for (const [again, { name }] of this.#pending) this.#write(again, name);
  }

  #write(id: number, name: string): void {
    this.#process ??= this.#start();
    this.#process.stdin?.write(`${JSON.stringify({ id, name })}\n`);
  }

  #start(): ChildProcess {
    const [file = '', ...args] = this.#command;
    const env = { ...process.env, UV_THREADPOOL_SIZE: '64', NODE_OPTIONS: '' };
    const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'ignore'], env });
    child.unref();
    child.stdin.on('error', () => {});
    // Whoever waits has a time; nothing else keeps this process from ending.
    for (const pipe of [child.stdin, child.stdout]) if (pipe instanceof Socket) pipe.unref();
    if (child.stdout !== null) {
      createInterface({ input: child.stdout }).on('line', (line) => this.#heard(line));
    }
    const gone = (): void => {
      if (this.#process !== child) return;
      this.#process = undefined;
      for (const id of this.#pending.keys()) this.#take(id)?.reject(coded('ECHILD'));
    };
    child.on('error', gone).on('exit', gone);
    return child;
  }

  #heard(line: string): void {
    const { id, code, addresses } = JSON.parse(line) as Said;
    const one = this.#take(id);
    if (code === undefined) one?.resolve(addresses);
    else one?.reject(coded(code));
  }
}

function coded(code: string): Error {
  return Object.assign(new Error(code), { code });
}
