/**
 * What servers have said about their tools, in memory: the digest of each definition at first use, and the one that was seen last. A tool whose definition
 * changed since is not what was approved (a rug pull) and stays denied until somebody approves the new one, or the policy pins it.
 */
import { createHash } from 'node:crypto';
import { Fault } from '../base/fault.ts';
import type { ToolDefinition } from '../policy/facts.ts';
import { isObject, type JsonObject } from '../policy/json.ts';
import { canonicalJson } from '../policy/json-writer.ts';
import type { Destination } from '../policy/model.ts';
import { headerPaths, type HeaderPaths } from './header-values.ts';

interface Entry {
  pinned: string;
  current: string;
  hazardous: boolean;
  headers: HeaderPaths;
}

export interface Pin {
  readonly destination: string;
  readonly tool: string;
  /** Hex SHA-256. */
  readonly pinned: string;
  readonly current: string;
}

export interface Definitions {
  /** What is known about a tool, for the decision. */
  of(destination: Destination, tool: string): ToolDefinition;
  /** Notes a definition of a list. False: it is not what was pinned, or there are too many. */
  see(destination: Destination, tool: string, definition: JsonObject): boolean;
  /** Arguments that are mirrored into Mcp-Param fields; undefined while the tool was not listed. */
  headersOf(destination: string, tool: string): HeaderPaths | undefined;
  pins(): readonly Pin[];
  /** Pins what was seen last, if that is `digest`; a Fault `usage` otherwise. */
  approve(destination: string, tool: string, digest: string): void;
}

/** Tools of one destination that are remembered; more are not listed. */
const MOST_TOOLS = 4096;

const UNLISTED: ToolDefinition = Object.freeze({ state: 'unlisted', hazardous: false });

/** Hex SHA-256 over the canonical JSON of a definition, all of it. */
export function definitionDigest(definition: JsonObject): string {
  return createHash('sha256').update(canonicalJson(definition)).digest('hex');
}

export function definitions(): Definitions {
  const known = new Map<string, Map<string, Entry>>();
  return {
    of({ name, mcp }, tool) {
      const entry = known.get(name)?.get(tool);
      const written = mcp?.pins.get(tool);
      if (entry === undefined) return written === undefined ? UNLISTED : { state: 'unverified', hazardous: false };
      const { current, hazardous } = entry;
      return { state: current === (written ?? entry.pinned) ? 'pinned' : 'changed', hazardous };
    },
    see({ name, mcp }, tool, definition) {
      let tools = known.get(name);
      if (tools === undefined) known.set(name, (tools = new Map()));
      const before = tools.get(tool);
      if (before === undefined && tools.size >= MOST_TOOLS) return false;
      const current = definitionDigest(definition);
      const pinned = before?.pinned ?? current;
      tools.set(tool, { pinned, current, hazardous: isHazardous(definition), headers: headerPaths(definition) });
      return current === (mcp?.pins.get(tool) ?? pinned);
    },
    headersOf: (destination, tool) => known.get(destination)?.get(tool)?.headers,
    pins: () =>
      [...known].flatMap(([destination, tools]) =>
        [...tools].map(([tool, { pinned, current }]) => ({ destination, tool, pinned, current })),
      ),
    approve(destination, tool, digest) {
      const entry = known.get(destination)?.get(tool);
      if (entry?.current === digest) entry.pinned = digest;
      else
        throw new Fault('usage', 'no tool of that destination was last seen with that definition', {
          hint: 'take destination, tool and the current digest from the list of pins',
        });
    },
  };
}

/** Annotations are hints of the server (MCP 2025-11-25, tools): what they say against a tool is believed, what they say for it is not. */
export function isHazardous(definition: JsonObject): boolean {
  const annotations = definition.get('annotations');
  if (!isObject(annotations)) return false;
  return annotations.get('destructiveHint') === true || annotations.get('openWorldHint') === true;
}
