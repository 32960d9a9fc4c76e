/** What rules about messages permit, as permissions that can be compared. */
import { type Permission, nameCovers, namesOverlap } from '../model/permission.ts';
import type { McpRule } from './mcp-service.ts';

type Kind = 'tool' | 'prompt' | 'resource' | 'method';

/** The method of MCP by which a thing is used: a rule about the method is about all of them. */
const BY_METHOD: Readonly<Partial<Record<Kind, string>>> = Object.freeze({
  tool: 'tools/call',
  prompt: 'prompts/get',
});

export class MessagePermission implements Permission {
  readonly #kind: Kind;
  readonly #name: string;

  constructor(kind: Kind, name: string) {
    this.#kind = kind;
    this.#name = name;
  }

  get text(): string {
    return `${this.#kind} ${this.#name}`;
  }

  covers(other: Permission): boolean {
    if (!(other instanceof MessagePermission)) return false;
    if (this.#kind === other.#kind)
      return this.#kind === 'resource'
        ? resourceCovers(this.#name, other.#name)
        : nameCovers(this.#name, other.#name);
    // Resources are used by several methods: no one of them covers a resource.
    return this.#kind === 'method' && BY_METHOD[other.#kind] === this.#name;
  }

  overlaps(other: Permission): boolean {
    if (!(other instanceof MessagePermission)) return false;
    const [a, b] = [this.#name, other.#name];
    if (this.#kind !== other.#kind) return this.#kind === 'method' || other.#kind === 'method';
    if (this.#kind === 'resource') return resourceCovers(a, b) || resourceCovers(b, a);
    return namesOverlap(a, b);
  }
}

export function messagePermissions({ mcp }: McpRule): readonly Permission[] {
  return [
    ...Array.from(mcp.tools, (name) => new MessagePermission('tool', name)),
    ...Array.from(mcp.prompts, (name) => new MessagePermission('prompt', name)),
    ...mcp.resources.map(({ text }) => new MessagePermission('resource', text)),
    ...Array.from(mcp.methods, (name) => new MessagePermission('method', name)),
  ];
}

/** Deny rules see through letter case in resources, so what they cover is held against that. */
function resourceCovers(wide: string, narrow: string): boolean {
  const below = wide.endsWith('/**');
  return below ? narrow.startsWith(wide.slice(0, -2)) : wide === narrow;
}
