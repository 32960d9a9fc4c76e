/**
 * The demo's set-up: embedded identity, two upstreams and an impostor, a configuration in a folder
 * of its own, and the sidecar itself.
 */
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { systemClock } from '../../lib/base/clock.ts';
import { type Disposer, disposer } from '../../lib/base/dispose.ts';
import { createDevTrustDomain } from '../../lib/dev/domain.ts';
import { type DemoUpstream, startDemoUpstream } from '../../lib/dev/upstream.ts';
import { type DevWorkloadApi, startDevWorkloadApi } from '../../lib/dev/workload-api.ts';
import { trustVariables } from '../../lib/interception/trust.ts';
import { parseSpiffeId } from '../../lib/spiffe/id.ts';
import { type Level, type Logger, logger } from '../../lib/telemetry/logger.ts';
import { type Sidecar, compose } from '../compose.ts';
import { proxyVariables } from '../environment.ts';
import { type Places, SAAS_HOST, documents } from './documents.ts';
import { type Saas, startSaas } from './saas.ts';

/** Ways to break the demo on purpose, to see that its claims can fail. */
export type Breakage = 'allow-all' | 'no-rotation' | undefined;

export interface Stage extends AsyncDisposable {
  readonly workloadApi: DevWorkloadApi;
  readonly crm: DemoUpstream;
  readonly tickets: DemoUpstream;
  readonly impostor: DemoUpstream;
  readonly echo: DemoUpstream;
  readonly saas: Saas;
  readonly sidecar: Sidecar;
  readonly configFile: string;
  readonly auditFile: string;
  readonly proxyUrl: string;
  /** What the agent has in its environment. */
  readonly variables: Readonly<Record<string, string>>;
  /**
   * Rewrites the configuration, as an operator's editor would; `tunnels` says whether the echo
   * destination is there.
   */
  configure(tunnels: boolean): Promise<void>;
  readonly agentSocket: string;
  readonly adminSocket: string;
  /** Tasks that one part of the story opened for the next: opened once, ended at the end. */
  readonly held: { task?: Held; child?: Held };
  /** Runs the agent. */
  agent(args: readonly string[], options?: AgentOptions): Promise<readonly unknown[]>;
  audit(): Promise<string>;
}

interface AgentOptions {
  /** Besides those of the stage. */
  readonly variables?: Readonly<Record<string, string>>;
  /** Called with each line that it prints. */
  readonly seen?: (line: string) => void;
}

const SHORT_LIVED = 8_000;
const LONG_LIVED = 3_600_000;
const TRUST_DOMAIN = 'dev.local';

export async function setStage(breakage: Breakage, log: (line: string) => void): Promise<Stage> {
  const opened = disposer();
  try {
    return await build(opened, breakage, log);
  } catch (failure) {
    await opened[Symbol.asyncDispose]();
    throw failure;
  }
}

async function build(
  opened: Disposer,
  breakage: Breakage,
  log: (line: string) => void,
): Promise<Stage> {
  const folder = await mkdtemp(join(tmpdir(), 'chaperone-'));
  opened.defer(() => rm(folder, { recursive: true, force: true }));
  const workloadApi = opened.use(
    await identities(join(folder, 'identity', 'workload.sock'), breakage),
  );
  const crm = opened.use(await upstream(workloadApi, 'crm', 'api'));
  const tickets = opened.use(await upstream(workloadApi, 'tickets', 'mcp'));
  const impostor = opened.use(await upstream(workloadApi, 'impostor', 'api'));
  const echo = opened.use(await upstream(workloadApi, 'echo', 'echo'));
  const saas = opened.use(await startSaas(SAAS_HOST));
  const places: Places = {
    ...filesIn(folder),
    workloadApi: workloadApi.endpoint,
    crm: crm.address,
    tickets: tickets.address,
    impostor: impostor.address,
    echo: echo.address,
    saas: saas.address,
    allowAll: breakage === 'allow-all',
  };
  const configFile = join(folder, 'chaperone.yaml');
  const configure = (tunnels: boolean): Promise<void> =>
    writeFile(configFile, documents(places, tunnels));
  await writeFile(places.webRoots, saas.root);
  await configure(true);
  const lines = (level: Level): Logger => logger(level, { write: log });
  const sidecar = opened.use(
    await compose({ paths: [configFile], env: {}, clock: systemClock, logger: lines }),
  );
  const proxyUrl = `http://127.0.0.1:${sidecar.addresses.get('forward')?.port}`;
  const variables = { ...proxyVariables(proxyUrl), ...trustVariables(places.trust) };
  return {
    workloadApi,
    crm,
    tickets,
    impostor,
    echo,
    saas,
    sidecar,
    configFile,
    auditFile: places.auditFile,
    proxyUrl,
    agentSocket: places.agentSocket,
    adminSocket: places.adminSocket,
    held: {},
    configure,
    variables,
    agent: (args, options = {}) =>
      runAgent(args, { ...variables, ...options.variables }, options.seen),
    audit: () => readFile(places.auditFile, 'utf8'),
    [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
  };
}

type Files = Pick<Places, 'auditFile' | 'adminSocket' | 'agentSocket' | 'webRoots' | 'trust'>;

function filesIn(folder: string): Files {
  return {
    auditFile: join(folder, 'audit.jsonl'),
    adminSocket: join(folder, 'admin', 'api.sock'),
    agentSocket: join(folder, 'agent', 'api.sock'),
    webRoots: join(folder, 'web-roots.pem'),
    trust: join(folder, 'trust'),
  };
}

async function identities(socket: string, breakage: Breakage): Promise<DevWorkloadApi> {
  return startDevWorkloadApi({
    socket,
    domain: await createDevTrustDomain({ name: TRUST_DOMAIN, clock: systemClock }),
    identities: [
      { id: '/agent' },
      { id: '/crm' },
      { id: '/tickets' },
      { id: '/impostor' },
      { id: '/echo' },
    ],
    ttl: breakage === 'no-rotation' ? LONG_LIVED : SHORT_LIVED,
  });
}

function upstream(
  { endpoint }: DevWorkloadApi,
  name: string,
  service: 'api' | 'mcp' | 'echo',
): Promise<DemoUpstream> {
  return startDemoUpstream({
    endpoint,
    select: { spiffeId: parseSpiffeId(`spiffe://${TRUST_DOMAIN}/${name}`) },
    callers: [`spiffe://${TRUST_DOMAIN}/agent`],
    service,
    clock: systemClock,
  });
}

/** Settles with what the agent printed, a JSON value a line, once it has ended. */
async function runAgent(
  args: readonly string[],
  variables: Stage['variables'],
  seen: (line: string) => void = () => {},
): Promise<readonly unknown[]> {
  const program = join(import.meta.dirname, `agent${extname(import.meta.filename)}`);
  const child = spawn(process.execPath, [program, ...args], {
    env: { PATH: process.env['PATH'] ?? '', ...variables },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => {
    const before = text.split('\n').length - 1;
    text += chunk.toString();
    for (const line of text.split('\n').slice(before, -1)) seen(line);
  });
  await new Promise((resolve) => child.on('close', resolve));
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as unknown);
}

/** A task as the agent keeps it. */
export interface Held {
  readonly id: string;
  readonly opened: unknown;
  /** What a program in the task has in its environment. */
  readonly variables: Readonly<Record<string, string>>;
}
