/**
 * A real SPIRE server and agent for one test: one trust domain, driven by the scripts and configs
 * of deploy/spire-dev. Rules:
 * - it lives in a folder of its own under the system's temporary folder, on free loopback ports, so
 *   that several run side by side;
 * - nothing outlives the test process, even one that is killed: a guard then runs `down`;
 * - nothing here waits by sleeping; what SPIRE does by itself is awaited by what it writes.
 *
 * Who is who: the agent knows a process by `unix:uid`, `unix:gid` and `unix:path`, the path of its
 * program as the kernel has it. All processes of a test have one uid, so a second identity is a
 * second path: `program()` hard-links the running Node under a name of its own, and what is spawned
 * from there has that path. The test process itself has the path `process.execPath`. A symbolic
 * link or a `#!` line does not help: the kernel has the interpreter's path. `unix:sha256` is off.
 * Or use two of these: two trust domains.
 *
 * Timing: an X509-SVID is valid from ten seconds before it was made and renewed at half of that
 * whole span (a tenth more or less): a TTL of 60 s renews about every 24 s, of 20 s about every 5
 * s. A new or deleted entry reaches the agent in about a second.
 */
import { copyFile, link, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from '../support/until.ts';
import { createdId, entryArguments, lastWord, type Entry } from './entry.ts';
import { freePorts, guard, run, type Ran } from './run.ts';

const SCRIPTS = join(import.meta.dirname, '../../deploy/spire-dev');
const BUILD_MS = 30 * 60_000;
const SYNC_MS = 30_000;
const PORT_TRIES = 3;

export type StopSignal = 'SIGTERM' | 'SIGKILL';

export interface SpireOptions {
  readonly trustDomain: string;
  /**
   * Where to keep everything; must be a short path, for sockets are in it. Default: a new temporary
   * folder, removed at the end.
   */
  readonly dir?: string;
}

export interface Program {
  readonly path: string;
  /** What an entry asks for that only processes of this program shall have. */
  readonly selector: string;
}

export interface Spire extends AsyncDisposable {
  readonly trustDomain: string;
  readonly dir: string;
  /** Path of the Workload API's socket. */
  readonly agentSocket: string;
  /** The same as SPIFFE_ENDPOINT_SOCKET wants it: `unix:///...`. */
  readonly workloadApi: string;
  /** Path of the server's own API socket. */
  readonly serverSocket: string;
  /** The server's `https_spiffe` bundle endpoint, on loopback. */
  readonly bundleEndpoint: { readonly url: string; readonly spiffeId: string };
  /** Path of the program spire-agent: the `unix:path` of what `agent()` runs. */
  readonly agentProgram: string;
  /**
   * Registers an entry under this agent and returns its ID; the agent has it after `waitForSync`.
   */
  createEntry(entry: Entry): Promise<string>;
  /** Removes an entry; the agent has dropped it after `waitForSync`. */
  deleteEntry(id: string): Promise<void>;
  /** Until the agent holds an SVID for every entry created here and none for those deleted here. */
  waitForSync(): Promise<void>;
  stopAgent(signal?: StopSignal): Promise<void>;
  /** Starts a new agent process, attested anew, on the same socket. The server must run. */
  startAgent(): Promise<void>;
  stopServer(signal?: StopSignal): Promise<void>;
  /** Starts the server again with the same authority and entries. */
  startServer(): Promise<void>;
  /** Process ID of the running agent or server. */
  pid(which: 'agent' | 'server'): Promise<number>;
  /** The trust bundle as a SPIFFE bundle document (JSON). */
  bundle(): Promise<string>;
  /** Sets the bundle of another trust domain from a SPIFFE bundle document; nobody refreshes it. */
  setFederatedBundle(trustDomain: string, bundle: string): Promise<void>;
  /** Takes the other's bundle and from then on reads it from the other's bundle endpoint. */
  federateWith(other: Spire): Promise<void>;
  /** Makes a program that is Node under a path of its own. */
  program(name: string): Promise<Program>;
  /** Runs `spire-server COMMAND` on this server; rejects with its words when it fails. */
  server(command: readonly string[], input?: string): Promise<Ran>;
  /**
   * Runs `spire-agent COMMAND` (as `api fetch x509`) on this agent; rejects with its words when it
   * fails.
   */
  agent(command: readonly string[]): Promise<Ran>;
}

/**
 * Starts server and agent and waits until they are healthy. Builds SPIRE if that was never done,
 * which takes minutes.
 */
export async function startSpire(options: SpireOptions): Promise<Spire> {
  const bin = (await run(join(SCRIPTS, 'build'), ['--pinned'], { within: BUILD_MS })).stdout.trim();
  const dir = options.dir ?? (await mkdtemp(join(tmpdir(), 'spire-')));
  const base = {
    ...process.env,
    SPIRE_DEV_DIR: dir,
    SPIRE_DEV_TRUST_DOMAIN: options.trustDomain,
    SPIRE_DEV_BIN: bin,
  };
  const clean = options.dir === undefined ? '; rm -rf -- "$SPIRE_DEV_DIR"' : '';
  const watch = guard(`"$SPIRE_DEV_DOWN"${clean}`, {
    ...base,
    SPIRE_DEV_DOWN: join(SCRIPTS, 'down'),
  });
  let closing: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    await run(join(SCRIPTS, 'down'), [], { env: base });
    await watch.release();
    if (options.dir === undefined) await rm(dir, { recursive: true, force: true });
  };
  const parts = { trustDomain: options.trustDomain, dir, bin, close: () => (closing ??= close()) };
  try {
    return spire({ ...parts, ...(await up(base)) });
  } catch (failure) {
    await parts.close();
    throw failure;
  }
}

interface Up {
  readonly env: NodeJS.ProcessEnv;
  readonly bundlePort: number;
}

/** A free port can be taken by another before SPIRE has it, so that alone is tried again. */
async function up(base: NodeJS.ProcessEnv): Promise<Up> {
  for (let attempt = 1; ; attempt += 1) {
    const [port = 0, bundlePort = 0] = await freePorts(2);
    const env = {
      ...base,
      SPIRE_DEV_PORT: String(port),
      SPIRE_DEV_BUNDLE_PORT: String(bundlePort),
    };
    try {
      await run(join(SCRIPTS, 'up'), [], { env });
      return { env, bundlePort };
    } catch (failure) {
      if (attempt === PORT_TRIES || !String(failure).includes('address already in use'))
        throw failure;
    }
  }
}

interface Parts extends Up {
  readonly trustDomain: string;
  readonly dir: string;
  readonly bin: string;
  close(): Promise<void>;
}

function spire(parts: Parts): Spire {
  const { trustDomain, dir, bin, env } = parts;
  const agentSocket = join(dir, 'agent/api.sock');
  const serverSocket = join(dir, 'server/api.sock');
  const agentProgram = join(bin, 'spire-agent');
  const wanted = new Map<string, 'present' | 'absent'>();

  const server: Spire['server'] = (command, input) =>
    run(
      join(bin, 'spire-server'),
      [...command, '-socketPath', serverSocket],
      input === undefined ? {} : { input },
    );
  const start = async (which: 'server' | 'agent'): Promise<void> => {
    await run(join(SCRIPTS, 'up'), [which], { env });
  };
  const stop = async (which: 'server' | 'agent', signal: StopSignal = 'SIGTERM'): Promise<void> => {
    await run(join(SCRIPTS, 'down'), signal === 'SIGKILL' ? ['--kill', which] : [which], { env });
  };
  const setFederatedBundle = async (other: string, bundle: string): Promise<void> => {
    await server(['bundle', 'set', '-id', `spiffe://${other}`, '-format', 'spiffe'], bundle);
  };

  return {
    trustDomain,
    dir,
    agentSocket,
    workloadApi: `unix://${agentSocket}`,
    serverSocket,
    bundleEndpoint: {
      url: `https://127.0.0.1:${parts.bundlePort}`,
      spiffeId: `spiffe://${trustDomain}/spire/server`,
    },
    agentProgram,
    createEntry: async (entry) => {
      const made = await server([
        'entry',
        'create',
        '-output',
        'json',
        ...entryArguments(entry, trustDomain),
      ]);
      const id = createdId(made.stdout);
      wanted.set(id, 'present');
      return id;
    },
    deleteEntry: async (id) => {
      await server(['entry', 'delete', '-entryID', id]);
      wanted.set(id, 'absent');
    },
    waitForSync: async () => {
      const synced = async (): Promise<boolean> => {
        const log = await readFile(join(dir, 'agent/agent.log'), 'utf8');
        return [...wanted].every(([id, state]) => lastWord(log, id) === state);
      };
      await until(`the agent of ${trustDomain} has synced its entries`, synced, SYNC_MS);
    },
    stopAgent: (signal) => stop('agent', signal),
    startAgent: () => start('agent'),
    stopServer: (signal) => stop('server', signal),
    startServer: () => start('server'),
    pid: async (which) => Number(await readFile(join(dir, which, 'pid'), 'utf8')),
    bundle: async () => (await server(['bundle', 'show', '-format', 'spiffe'])).stdout,
    setFederatedBundle,
    federateWith: async (other) => {
      await setFederatedBundle(other.trustDomain, await other.bundle());
      await server(['federation', 'create', ...relationship(other)]);
      await server(['federation', 'refresh', '-id', `spiffe://${other.trustDomain}`]);
    },
    program: (name) => linkNode(join(dir, 'programs'), name),
    server,
    agent: (command) => run(agentProgram, [...command, '-socketPath', agentSocket]),
    [Symbol.asyncDispose]: () => parts.close(),
  };
}

function relationship(other: Spire): readonly string[] {
  const { url, spiffeId } = other.bundleEndpoint;
  const profile = ['-bundleEndpointProfile', 'https_spiffe', '-endpointSpiffeID', spiffeId];
  return ['-trustDomain', other.trustDomain, '-bundleEndpointURL', url, ...profile];
}

async function linkNode(folder: string, name: string): Promise<Program> {
  const path = join(folder, name);
  await mkdir(folder, { recursive: true });
  try {
    await link(process.execPath, path);
  } catch (failure) {
    // Another file system, or a user who may not link what is not theirs.
    if (!(
      failure instanceof Error &&
      'code' in failure &&
      (failure.code === 'EXDEV' || failure.code === 'EPERM')
    ))
      throw failure;
    await copyFile(process.execPath, path);
  }
  return { path, selector: `unix:path:${path}` };
}
