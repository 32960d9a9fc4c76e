/**
 * The demo's MCP server, in memory: tickets that may be read, and refunds that should be small.
 * Streamable HTTP without sessions, versions 2025-06-18 to 2026-07-28, enough of it for any client
 * to call tools. Like the demo's API it does what it is asked; what an agent may ask for is the
 * sidecar's business.
 *
 *   POST /mcp   search_tickets {query} · get_ticket {id} · refund {id, amount} · delete_ticket {id}
 */
import type { ApiAnswer, ApiRequest } from './demo-api.ts';

type Values = Readonly<Record<string, unknown>>;

interface Ticket {
  readonly id: string;
  readonly text: string;
  refunded: number;
}

interface Tool {
  readonly description: string;
  readonly properties: Readonly<Record<string, 'string' | 'number'>>;
  readonly annotations: Values;
  readonly run: (args: Values, tickets: Ticket[]) => string;
}

const READS = { readOnlyHint: true };

const TOOLS: Readonly<Record<string, Tool>> = {
  search_tickets: {
    description: 'Tickets whose text holds a word.',
    properties: { query: 'string' },
    annotations: READS,
    run: ({ query }, tickets) =>
      JSON.stringify(tickets.filter(({ text }) => text.includes(String(query)))),
  },
  get_ticket: {
    description: 'One ticket.',
    properties: { id: 'string' },
    annotations: READS,
    run: ({ id }, tickets) => JSON.stringify(ticketOf(tickets, id)),
  },
  refund: {
    description: 'Pays an amount back to the customer of a ticket.',
    properties: { id: 'string', amount: 'number' },
    annotations: { destructiveHint: true },
    run({ id, amount }, tickets) {
      const ticket = ticketOf(tickets, id);
      if (typeof amount !== 'number') throw new TypeError('amount is not a number');
      ticket.refunded += amount;
      return `${amount} refunded for ${ticket.id}, ${ticket.refunded} in all`;
    },
  },
  delete_ticket: {
    description: 'Deletes a ticket for good.',
    properties: { id: 'string' },
    annotations: { destructiveHint: true },
    run({ id }, tickets) {
      tickets.splice(tickets.indexOf(ticketOf(tickets, id)), 1);
      return 'deleted';
    },
  },
};

function ticketOf(tickets: readonly Ticket[], id: unknown): Ticket {
  const found = tickets.find((ticket) => ticket.id === id);
  if (found === undefined) throw new TypeError('there is no such ticket');
  return found;
}

const OLDER = ['2025-11-25', '2025-06-18'];
const NEWEST = '2026-07-28';
const SERVER = { name: 'demo-tickets', version: '1.0.0' };
const PLACE = '/mcp';

/** One server with a memory of its own. */
export function demoMcp(): (request: ApiRequest) => ApiAnswer {
  const tickets: Ticket[] = [
    { id: 'T-1', text: 'the parcel came late', refunded: 0 },
    { id: 'T-2', text: 'the parcel came twice', refunded: 0 },
  ];
  return ({ method, target, body }) => {
    if (target !== PLACE)
      return { status: 404, type: 'text/plain', body: `there is nothing at ${target}` };
    if (method !== 'POST')
      return { status: 405, type: 'text/plain', body: 'only POST is served here' };
    const message = parsed(body);
    if (message === undefined)
      return answer(400, null, { error: { code: -32700, message: 'not a message' } });
    if (message['id'] === undefined)
      return { status: 202, type: 'text/plain', body: '', asked: String(message['method']) };
    const params = values(message['params']);
    return { ...reply(message, params, tickets), asked: askedFor(message, params) };
  };
}

function askedFor({ method }: Values, { name }: Values): string {
  return typeof name === 'string' ? `${String(method)} ${name}` : String(method);
}

function reply({ id, method }: Values, params: Values, tickets: Ticket[]): ApiAnswer {
  const newest = values(params['_meta'])['io.modelcontextprotocol/protocolVersion'] === NEWEST;
  const result = (value: Values): ApiAnswer =>
    answer(200, id, { result: newest ? { resultType: 'complete', ...value } : value });
  switch (method) {
    case 'initialize': {
      const protocolVersion =
        OLDER.find((version) => version === params['protocolVersion']) ?? OLDER[0];
      return result({ protocolVersion, capabilities: { tools: {} }, serverInfo: SERVER });
    }
    case 'server/discover':
      return result({
        supportedVersions: [NEWEST],
        capabilities: { tools: {} },
        serverInfo: SERVER,
        ttlMs: 0,
        cacheScope: 'private',
      });
    case 'ping':
      return result({});
    case 'tools/list':
      return result({
        tools: Object.entries(TOOLS).map(asDefinition),
        ...(newest ? { ttlMs: 0, cacheScope: 'private' } : {}),
      });
    case 'tools/call':
      return (
        called(params, tickets, (value) => result(value)) ??
        answer(200, id, { error: { code: -32602, message: 'there is no such tool' } })
      );
    default:
      return answer(newest ? 404 : 200, id, {
        error: { code: -32601, message: 'there is no such method' },
      });
  }
}

function asDefinition([name, { description, properties, annotations }]: readonly [
  string,
  Tool,
]): Values {
  const schema = Object.entries(properties).map(
    ([property, type]) => [property, { type }] as const,
  );
  const inputSchema = {
    type: 'object',
    properties: Object.fromEntries(schema),
    required: Object.keys(properties),
  };
  return { name, description, inputSchema, annotations };
}

function called(
  { name, arguments: args }: Values,
  tickets: Ticket[],
  result: (value: Values) => ApiAnswer,
): ApiAnswer | undefined {
  const tool = Object.hasOwn(TOOLS, String(name)) ? TOOLS[String(name)] : undefined;
  if (tool === undefined) return undefined;
  try {
    return result({ content: [{ type: 'text', text: tool.run(values(args), tickets) }] });
  } catch (failure) {
    const text = failure instanceof Error ? failure.message : String(failure);
    return result({ content: [{ type: 'text', text }], isError: true });
  }
}

function answer(status: number, id: unknown, rest: Values): ApiAnswer {
  return {
    status,
    type: 'application/json',
    body: JSON.stringify({ jsonrpc: '2.0', id, ...rest }),
  };
}

function parsed(body: Buffer): Values | undefined {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'));
    return typeof value === 'object' && value !== null && 'method' in value
      ? values(value)
      : undefined;
  } catch {
    return undefined;
  }
}

function values(value: unknown): Values {
  return typeof value === 'object' && value !== null ? (value as Values) : {};
}
