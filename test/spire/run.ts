/**
 * What the SPIRE tests need of the machine: a program run to its end, free ports, and a guard that
 * outlives the test process.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { buffer } from 'node:stream/consumers';

export interface RunOptions {
  readonly env?: NodeJS.ProcessEnv;
  /** What the program reads on its standard input. */
  readonly input?: string;
  /** Milliseconds after which it is killed; default a minute. */
  readonly within?: number;
}

export interface Ran {
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs a program to its end; rejects with what it wrote on standard error when it ends with
 * anything but 0.
 */
export async function run(
  program: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Ran> {
  const within = options.within ?? 60_000;
  const child = spawn(program, args, {
    env: options.env ?? process.env,
    signal: AbortSignal.timeout(within),
  });
  const ended = once(child, 'close');
  child.stdin.on('error', () => 'it may end without reading all of it');
  child.stdin.end(options.input ?? '');
  const [stdout, stderr, [code, signal]] = await Promise.all([
    buffer(child.stdout),
    buffer(child.stderr),
    ended,
  ]);
  if (code !== 0) {
    const how = code === null ? `was ended by ${signal}` : `ended with ${code}`;
    throw new Error(`${program} ${args.join(' ')} ${how}: ${stderr.toString().trim()}`);
  }
  return { stdout: stdout.toString(), stderr: stderr.toString() };
}

/** Loopback ports that were free a moment ago, all different. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const servers: Server[] = [];
  const ports: number[] = [];
  for (let i = 0; i < count; i += 1) {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    if (address === null || typeof address === 'string')
      throw new Error('a TCP server has no port');
    servers.push(server);
    ports.push(address.port);
  }
  for (const server of servers) {
    server.close();
    await once(server, 'close');
  }
  return ports;
}

export interface Guard {
  /** Sends it home: there is nothing left to clean up. */
  release(): Promise<void>;
}

/**
 * Runs the shell `commands` when this process ends without having released the guard, by SIGKILL
 * too: the guard's standard input is then closed by the kernel. It is in a session of its own, so
 * that Ctrl-C does not reach it, and keeps this process from nothing.
 */
export function guard(commands: string, env: NodeJS.ProcessEnv): Guard {
  const child = spawn('sh', ['-c', `read -r word || { ${commands}; }`], {
    env,
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  child.unref();
  const input = child.stdin;
  if ('unref' in input && typeof input.unref === 'function') input.unref();
  return {
    release: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.ref();
      const ended = once(child, 'exit');
      input.end('done\n');
      await ended;
    },
  };
}
