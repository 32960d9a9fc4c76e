/**
 * What servers have said about their tools, in memory, for each agent by itself: the digest of each
 * definition at first use, and the one that was seen last. A tool whose definition changed since is
 * not what was approved (a rug pull) and stays denied until somebody approves the new one, or the
 * policy pins it.
 */
import type { McpDestination } from '../policy/protocols/mcp-service.ts';
import { createHash } from 'node:crypto';
import { Fault } from '../base/fault.ts';
import type { Turns } from '../base/turns.ts';
import type { ToolDefinition } from '../policy/model/facts.ts';
import { isObject, type Json, type JsonObject } from '../schema/json.ts';
import { canonicalJson } from '../schema/json-writer.ts';
import { digestLong } from './long-json.ts';
import { headerPaths, type HeaderPaths } from './header-values.ts';

interface Entry {
  pinned: string;
  current: string;
  hazardous: boolean;
  headers: HeaderPaths;
  /** Monotonic milliseconds at which it was seen last. */
  at: number;
}

interface Pin {
  readonly destination: string;
  readonly tool: string;
  /** Hex SHA-256. */
  readonly pinned: string;
  readonly current: string;
}

/** The tools of one server, as one agent sees them. */
export interface AgentTools {
  /** What is known about a tool, for the decision. */
  of(tool: string): ToolDefinition;
  /** Digests the definitions of a long list in turns, for `see`. */
  digestAll(list: Json, turns: Turns): Promise<void>;
  /** Notes a definition of a list. False: it is not what was pinned, or there are too many. */
  see(tool: string, definition: JsonObject): boolean;
  /** Arguments that are mirrored into Mcp-Param fields; undefined while the tool was not listed. */
  headersOf(tool: string): HeaderPaths | undefined;
  /** Whether the server must be asked for its list before a call of the tool is judged. */
  wanted(tool: string): boolean;
  /** It is being asked now. */
  asking(): void;
  /** The server says that its tools have changed. */
  outdated(): void;
}

export interface Definitions {
  /**
   * @param of the destination's name is what counts, and its pins @param to who sees them: endpoint
   *        and agent
   */
  of(destination: McpDestination, to: string): AgentTools;
  pins(): readonly Pin[];
  /** Pins what was seen last, if that is `digest`; a Fault `usage` otherwise. */
  approve(destination: string, tool: string, digest: string): void;
}

/** Tools of one destination that are remembered; more are not listed. */
const MAX_TOOLS = 4096;
/**
 * Milliseconds after which a definition is asked for again, and between two times of asking in
 * vain.
 */
const LASTS_MS = 600_000;
const AGAIN_MS = 10_000;

const UNLISTED: ToolDefinition = Object.freeze({ state: 'unlisted', hazardous: true });

/** Hex SHA-256 over the canonical JSON of a definition, all of it. */
export function definitionDigest(definition: JsonObject): string {
  return createHash('sha256').update(canonicalJson(definition)).digest('hex');
}

interface Known {
  readonly destination: string;
  readonly tools: Map<string, Entry>;
  asked: number;
  outdated: number;
}

/** @param now monotonic milliseconds */
export function definitions(now: () => number): Definitions {
  const all = new Map<string, Known>();
  const entries = (destination: string, tool: string): readonly Entry[] =>
    [...all.values()].flatMap((known) => {
      const entry = known.destination === destination ? known.tools.get(tool) : undefined;
      return entry === undefined ? [] : [entry];
    });
  return {
    of(destination, to) {
      const key = `${destination.name} ${to}`;
      let known = all.get(key);
      if (known === undefined) {
        known = {
          destination: destination.name,
          tools: new Map(),
          asked: -Infinity,
          outdated: -Infinity,
        };
        all.set(key, known);
      }
      return new SeenTools(known, destination, now);
    },
    pins() {
      const pins = new Map<string, Pin>();
      for (const { destination, tools } of all.values())
        for (const [tool, { pinned, current }] of tools)
          pins.set([destination, tool, pinned, current].join(' '), {
            destination,
            tool,
            pinned,
            current,
          });
      return [...pins.values()];
    },
    approve(destination, tool, digest) {
      const seen = entries(destination, tool).filter(({ current }) => current === digest);
      for (const entry of seen) entry.pinned = digest;
      if (seen.length > 0) return;
      throw new Fault('usage', 'no tool of that destination was last seen with that definition', {
        hint: 'take destination, tool and the current digest from the list of pins',
      });
    },
  };
}

class SeenTools implements AgentTools {
  readonly #known: Known;
  /** Of definitions that are about to be seen. */
  readonly #digests = new WeakMap<JsonObject, string>();
  readonly #destination: McpDestination;
  readonly #now: () => number;

  constructor(known: Known, destination: McpDestination, now: () => number) {
    this.#known = known;
    this.#destination = destination;
    this.#now = now;
  }

  of(tool: string): ToolDefinition {
    const entry = this.#known.tools.get(tool);
    const written = this.#destination.service.pins.get(tool);
    if (entry === undefined)
      return written === undefined ? UNLISTED : { state: 'unverified', hazardous: true };
    const { current, hazardous } = entry;
    return { state: current === (written ?? entry.pinned) ? 'pinned' : 'changed', hazardous };
  }

  async digestAll(list: Json, turns: Turns): Promise<void> {
    if (!Array.isArray(list)) return;
    for (const one of list) if (isObject(one)) this.#digests.set(one, await digestLong(one, turns));
  }

  see(tool: string, definition: JsonObject): boolean {
    const { tools } = this.#known;
    const before = tools.get(tool);
    if (before === undefined && tools.size >= MAX_TOOLS) return false;
    const current = this.#digests.get(definition) ?? definitionDigest(definition);
    const pinned = before?.pinned ?? current;
    const headers = headerPaths(definition);
    tools.set(tool, {
      pinned,
      current,
      hazardous: isHazardous(definition),
      headers,
      at: this.#now(),
    });
    return current === (this.#destination.service.pins.get(tool) ?? pinned);
  }

  headersOf(tool: string): HeaderPaths | undefined {
    return this.#known.tools.get(tool)?.headers;
  }

  wanted(tool: string): boolean {
    const { tools, asked, outdated } = this.#known;
    const at = tools.get(tool)?.at ?? -Infinity;
    const now = this.#now();
    if (at > outdated && now - at < LASTS_MS) return false;
    return now - asked >= AGAIN_MS;
  }

  asking(): void {
    this.#known.asked = this.#now();
  }

  outdated(): void {
    this.#known.outdated = this.#now();
    this.#known.asked = -Infinity;
  }
}

/**
 * Annotations are hints of the server (MCP 2025-11-25, tools): what they say against a tool is
 * believed, what they say for it is not.
 */
export function isHazardous(definition: JsonObject): boolean {
  const annotations = definition.get('annotations');
  if (!isObject(annotations)) return false;
  return annotations.get('destructiveHint') === true || annotations.get('openWorldHint') === true;
}
