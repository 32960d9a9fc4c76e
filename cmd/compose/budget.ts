/**
 * What each agent may have at one time, from what the process may have: open files and memory are
 * divided into equal shares, one for each agent and one for what is nobody's, and a part is kept
 * for the health pages, the operator and the sidecar itself.
 */
import { readFileSync } from 'node:fs';
import { Fault } from '../../lib/base/fault.ts';
import { SHARE, type ShareLimits } from '../../lib/exchange/shares.ts';
import { MAX_CONNECTIONS } from '../../lib/api/pages.ts';

export interface Budget {
  readonly share: ShareLimits;
  /** Connections at the API of one agent. */
  readonly api: number;
  /** Connections to upstreams at rest, of all agents together. */
  readonly idle: number;
  /** Words where less is allowed than was asked for. */
  readonly reduced: string | undefined;
}

/** Open files kept for health pages, the operator, sinks, documents and the Workload API. */
const RESERVED = 96;
/** Connections to upstreams at rest, where there are open files for them. */
const MAX_IDLE = 4096;
/** Part of the memory that half-read messages may take together. */
const MEMORY_PART = 8;

export interface Means {
  /** Agents. */
  readonly agents: number;
  /** `listeners.maxConnections`. */
  readonly connections: number;
  /** Open files that the process may have; undefined: not known. */
  readonly files: number | undefined;
  /** Bytes that the container may have; undefined: as many as there are. */
  readonly memory: number | undefined;
}

/** @throws Fault `usage` where the files do not suffice for anything */
export function budgetOf({ agents, connections: wanted, files, memory }: Means): Budget {
  const shares = agents + 1;
  const held = Math.floor(Math.min(SHARE.held, (memory ?? Infinity) / MEMORY_PART) / shares);
  if (files === undefined)
    return {
      share: shareOf(wanted, held, SHARE.sockets),
      api: MAX_CONNECTIONS,
      idle: MAX_IDLE,
      reduced: undefined,
    };
  // Of one share a quarter is for the sockets of tasks and the API, the rest for connections of the
  // agent, of which each may have two exchanges with a connection to an upstream, and leave one at
  // rest.
  const each = Math.max(0, Math.floor((files - RESERVED) / shares));
  const beside = Math.floor(each / 8);
  const connections = Math.min(wanted, Math.floor((each - 2 * beside) / 4));
  if (connections < 1) {
    const hint = `raise it to ${RESERVED + 16 * shares} or more (ulimit -n, LimitNOFILE)`;
    throw new Fault(
      'usage',
      `the limit of open files (${files}) leaves none for connections of agents`,
      { hint },
    );
  }
  const reduced =
    connections < wanted
      ? `the limit of open files (${files}) allows ${connections} connections of each agent, ` +
        `not ${wanted}`
      : undefined;
  const share = shareOf(connections, held, Math.min(SHARE.sockets, beside));
  return {
    share,
    api: Math.min(MAX_CONNECTIONS, beside),
    idle: Math.min(MAX_IDLE, connections * shares),
    reduced,
  };
}

function shareOf(connections: number, held: number, sockets: number): ShareLimits {
  return { connections, exchanges: 2 * connections, held, sockets };
}

/** As Linux has it: the engine has raised the soft limit to the hard one already. */
export function openFiles(): number | undefined {
  try {
    const [, soft] =
      /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? [];
    return soft === undefined ? undefined : Number(soft);
  } catch {
    return undefined;
  }
}

/** The limit of the container; undefined where there is none. */
export function memoryLimit(): number | undefined {
  const bytes = process.constrainedMemory();
  return bytes > 0 && bytes < Number.MAX_SAFE_INTEGER ? bytes : undefined;
}
