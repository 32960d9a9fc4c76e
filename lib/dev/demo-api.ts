/**
 * The demo's API, kept in memory: customers that may be read, notes that may be written, and an
 * export that no agent should get. It answers every caller that mTLS let through the same way; what
 * an agent may do with it is the sidecar's business.
 *
 *   GET /v1/customers · GET /v1/customers/{id} · GET /v1/notes
 *   POST /v1/notes {"customer","text"} · GET /v1/export/customers · GET /v1/whoami
 */
import type { Peer } from '../tls/peer.ts';

export interface ApiRequest {
  readonly method: string;
  /** Origin-form request target. */
  readonly target: string;
  readonly body: Buffer;
  readonly peer: Peer;
}

export interface ApiAnswer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  /** What was asked for, where the target does not say it. */
  readonly asked?: string;
}

interface Customer {
  readonly id: string;
  readonly name: string;
  readonly plan: string;
}

interface Note {
  readonly id: number;
  readonly customer: string;
  readonly text: string;
  /** SPIFFE ID of who wrote it. */
  readonly author: string;
}

const CUSTOMERS: readonly Customer[] = [
  { id: '1001', name: 'Ada Engines Ltd', plan: 'gold' },
  { id: '1002', name: 'Babbage & Sons', plan: 'silver' },
  { id: '1003', name: 'Hopper Marine', plan: 'gold' },
];

const MAX_NOTE = 1000;

/** One API with a memory of its own. */
export function demoApi(): (request: ApiRequest) => ApiAnswer {
  const notes: Note[] = [];
  return (request) => {
    const [path = ''] = request.target.split('?', 1);
    const customer = /^\/v1\/customers\/([^/]+)$/.exec(path)?.[1];
    if (customer !== undefined) return only('GET', request, () => oneCustomer(customer));
    switch (path) {
      case '/v1/customers':
        return only('GET', request, () => json(200, CUSTOMERS));
      case '/v1/notes':
        return request.method === 'POST'
          ? addNote(request, notes)
          : only('GET', request, () => json(200, notes));
      case '/v1/export/customers':
        return only('GET', request, exported);
      case '/v1/whoami':
        return only('GET', request, () =>
          json(200, { caller: request.peer.spiffeId, serial: request.peer.serial }),
        );
      default:
        return problem(404, `there is nothing at ${path}`);
    }
  };
}

function oneCustomer(id: string): ApiAnswer {
  const found = CUSTOMERS.find((customer) => customer.id === id);
  return found === undefined ? problem(404, `there is no customer ${id}`) : json(200, found);
}

function addNote({ body, peer }: ApiRequest, notes: Note[]): ApiAnswer {
  const wanted = noteOf(body);
  if (wanted === undefined)
    return problem(400, 'a note is {"customer": "<id>", "text": "<1 to 1000 characters>"}');
  if (!CUSTOMERS.some(({ id }) => id === wanted.customer)) {
    return problem(404, `there is no customer ${wanted.customer}`);
  }
  const note: Note = { id: notes.length + 1, ...wanted, author: peer.spiffeId ?? '' };
  notes.push(note);
  return json(201, note);
}

function noteOf(body: Buffer): Pick<Note, 'customer' | 'text'> | undefined {
  const value = parsed(body);
  if (typeof value !== 'object' || value === null || !('customer' in value) || !('text' in value))
    return undefined;
  const { customer, text } = value;
  if (typeof customer !== 'string' || typeof text !== 'string') return undefined;
  return text.length > 0 && text.length <= MAX_NOTE ? { customer, text } : undefined;
}

function parsed(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    return undefined;
  }
}

function exported(): ApiAnswer {
  const rows = CUSTOMERS.map(({ id, name, plan }) => `${id},${name},${plan}\r\n`);
  return { status: 200, type: 'text/csv', body: `id,name,plan\r\n${rows.join('')}` };
}

function only(method: string, request: ApiRequest, answer: () => ApiAnswer): ApiAnswer {
  return request.method === method ? answer() : problem(405, `only ${method} is served here`);
}

function problem(status: number, error: string): ApiAnswer {
  return json(status, { error });
}

function json(status: number, value: unknown): ApiAnswer {
  return { status, type: 'application/json', body: `${JSON.stringify(value)}\n` };
}
