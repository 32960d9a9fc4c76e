/**
 * A sidecar with two agents that are told apart, `a` and `b`, and what each of them does in its own
 * folder.
 */
import { connect } from 'node:net';
import { join } from 'node:path';
import { apiClient } from '../../cmd/api-client.ts';
import { type TestConnection, statusOf, testConnectionOver } from '../support/agent.ts';
import { crm } from '../support/sidecar.ts';

export interface AgentRoom {
  readonly name: string;
  readonly folder: string;
  /** Opens a task for the crm. */
  open(more?: Readonly<Record<string, unknown>>): Promise<OpenedTask>;
  /** A request of the agent API. */
  ask(
    method: 'GET' | 'POST',
    path: string,
    authorization?: string,
  ): Promise<Record<string, unknown>>;
  /** GET http://crm.internal PATH at the forward socket; gives the answer. */
  get(path: string, credentials?: string): Promise<string>;
}

export interface OpenedTask {
  readonly id: string;
  /** To use it, and to control it. */
  readonly credentials: string;
  readonly authorization: string;
  readonly proxyUrl: string;
  readonly forwardSocket: string;
  readonly sockets: Readonly<Record<string, string>>;
}

export const INTENT = { purpose: 'support', owner: 'alice', targets: ['crm'], actions: ['read'] };

export function agentIn(root: string, name: string): AgentRoom {
  const folder = join(root, name);
  const ask: AgentRoom['ask'] = async (method, path, authorization) =>
    Object(
      await apiClient(join(folder, 'api.sock')).ask({
        method,
        path,
        ...(authorization && { authorization }),
      }),
    );
  return {
    name,
    folder,
    ask,
    async open(more = {}) {
      const body = { ...INTENT, ...more };
      return Object(
        await apiClient(join(folder, 'api.sock')).ask({ method: 'POST', path: '/v1/tasks', body }),
      );
    },
    get: (path, credentials) => at(join(folder, 'forward.sock'), getOf(path, credentials)),
  };
}

export function getOf(path: string, credentials?: string): string {
  const proof = credentials === undefined ? '' : `Proxy-Authorization: ${credentials}\r\n`;
  return (
    `GET http://crm.internal${path} HTTP/1.1\r\nHost: crm.internal\r\n${proof}Connection: ` +
    `close\r\n\r\n`
  );
}

/** A raw connection to a Unix socket. */
export async function wireAt(path: string): Promise<TestConnection> {
  const socket = connect(path);
  const line = testConnectionOver(socket);
  await new Promise((resolve) => socket.once('connect', resolve).once('close', resolve));
  return line;
}

/** One exchange on a Unix socket. */
export async function at(path: string, request: string): Promise<string> {
  const line = await wireAt(path);
  line.write(request);
  return line.ended();
}

export async function statusAt(path: string, request: string): Promise<number> {
  return statusOf(await at(path, request));
}

/** Lines of the Sidecar's spec, for agents below `root`; `more` stands in each of them. */
export function agentsSpec(root: string, names: readonly string[] = ['a', 'b'], more = ''): string {
  const agents = names.map(
    (name) => `    - { name: ${name}, folder: '${join(root, name)}'${more} }\n`,
  );
  return `  agents:\n${agents.join('')}`;
}

export function taskedCrm(api: string): string {
  return `${crm(api)}  listen: '127.0.0.1:0'
  task: required
---
apiVersion: chaperone.dev/v1alpha1
kind: TaskPolicy
metadata: { name: support }
spec:
  purposes: [support]
  destinations: [crm]
  actions: [read]
  dataClasses: [internal]
`;
}
