/**
 * The tools of an MCP server, asked for by the sidecar: with the session and the credentials of the
 * agent, as an exchange of its own with its own records; it takes no call of a task, and a time and
 * a number of pages bound it.
 */
import { Fault } from '../base/fault.ts';
import { authorize } from '../exchange/authorize.ts';
import type { ExchangeContext } from '../exchange/context.ts';
import { type Authorization, Exchange } from '../exchange/exchange.ts';
import type { ClientConnection } from '../http/client.ts';
import type { OutgoingRequest } from '../http/message.ts';
import { MAX_ENTRIES } from '../mcp/lists.ts';
import { type Request, asJson } from '../mcp/message.ts';
import { META_CAPABILITIES, META_VERSION } from '../mcp/meta.ts';
import { outgoingFields } from '../mcp/outgoing.ts';
import type { Facts, McpFacts } from '../policy/model/facts.ts';
import { NAME, isStateless } from '../policy/model/mcp-methods.ts';
import { isListed } from '../policy/protocols/mcp-lists.ts';
import { writeJson } from '../schema/json-writer.ts';
import { EMPTY, type Json, type JsonObject, isObject } from '../schema/json.ts';
import type { Identity } from '../spiffe/identity.ts';
import { needsIdentity } from '../upstream/shown-identity.ts';
import type { DescribedMcp } from './described.ts';
import { listResult } from './mcp-list-result.ts';
import { type Outbound, withCredential } from './outbound.ts';
import { hostField } from './outgoing.ts';

/** Milliseconds for all pages together. */
const MAX_MS = 5000;
const MAX_PAGES = 32;

interface ListingParts {
  readonly context: ExchangeContext;
  readonly outbound: Outbound;
}

export class Listing {
  readonly #described: DescribedMcp;
  readonly #context: ExchangeContext;
  readonly #outbound: Outbound;
  readonly #own: Exchange;
  #connection: ClientConnection | undefined;

  /** @param exchange whose call is to be judged */
  constructor(described: DescribedMcp, exchange: Exchange, { context, outbound }: ListingParts) {
    this.#described = described;
    this.#context = context;
    this.#outbound = outbound;
    this.#own = new Exchange(
      exchange.entry,
      { bytesRead: 0, bytesWritten: 0 },
      context.clock.monotonic(),
    );
    this.#own.task = exchange.task;
    this.#own.agent = exchange.agent;
    this.#own.asker = exchange.id;
  }

  /** Never rejects: what fails stands in its record. */
  async run(): Promise<void> {
    const { live, evidence } = this.#context;
    const own = this.#own;
    let fault: Fault | undefined;
    let authorization: Authorization | undefined;
    live.enter(own);
    own.task?.enter(own);
    try {
      authorization = this.#authorize();
      if (authorization === undefined) return;
      own.authorization = authorization;
      await evidence.decided(own, authorization);
      own.onAbort({ abort: (reason) => this.#connection?.destroy(reason) });
      own.setTotalTimeout(MAX_MS);
      await this.#pages(authorization);
    } catch (failure) {
      fault = own.reason ?? Fault.from(failure, 'internal');
    } finally {
      live.leave(own);
      own.task?.exit(own);
      if (authorization !== undefined) evidence.ended(own, fault);
    }
  }

  /** Undefined where the list is denied. */
  #authorize(): Authorization | undefined {
    const { facts } = this.#described;
    const asked: Facts = { ...facts, mcp: { ...facts.mcp, ...LIST, params: EMPTY } };
    const authorization = authorize(this.#own, { facts: asked }, this.#context);
    return authorization.decision.effect === 'deny' ? undefined : authorization;
  }

  async #pages(authorization: Authorization): Promise<void> {
    let cursor: string | undefined;
    for (let page = 0; page < MAX_PAGES; page += 1) {
      const result = await this.#page(authorization, cursor);
      const { destination } = this.#described.endpoint;
      const tools = result.get('tools');
      if (!Array.isArray(tools) || tools.length > MAX_ENTRIES)
        throw new Fault('upstream-malformed', 'the server answered with no list of tools');
      for (const tool of tools as readonly Json[]) this.#see(tool, destination.mode === 'report');
      const next = result.get('nextCursor');
      if (typeof next !== 'string') return;
      cursor = next;
    }
  }

  #see(tool: Json, all: boolean): void {
    const { destination, tools } = this.#described.endpoint;
    const name = isObject(tool) ? tool.get('name') : undefined;
    if (!isObject(tool) || typeof name !== 'string' || !NAME.test(name)) return;
    if (all || isListed(destination, { tool: name })) tools.see(name, tool);
  }

  async #page({ facts, identity }: Authorization, cursor: string | undefined): Promise<JsonObject> {
    const own = this.#own;
    const { upstreams, now, reauthorize } = this.#outbound;
    const { destination } = this.#described.endpoint;
    const request = this.#request(cursor);
    const route = upstreams.route(destination, facts);
    const usable = this.#usable(identity);
    const { head, body } = await this.#message(request, usable);
    const use = { signal: own.signal, task: own.task?.id };
    const lease = await upstreams.acquire(route, usable, use);
    own.upstream = lease.info;
    try {
      own.throwIfAborted();
      reauthorize(own);
      own.enter('headers', MAX_MS, now());
      this.#connection = lease.connection;
      const response = await lease.connection.request(head, body, { onInform: () => {} });
      const result = await listResult(response, request, { described: this.#described, own });
      lease.release();
      return result;
    } catch (failure) {
      lease.discard(Fault.from(failure, 'internal'));
      throw failure;
    } finally {
      this.#connection = undefined;
    }
  }

  #usable(identity: Identity | undefined): Identity | undefined {
    if (!needsIdentity(this.#described.endpoint.destination)) return undefined;
    return identity ?? this.#context.identity.current(this.#own.agent);
  }

  #request(cursor: string | undefined): Request {
    const { facts, endpoint } = this.#described;
    const { version } = facts.mcp;
    const params = new Map<string, Json>(cursor === undefined ? [] : [['cursor', cursor]]);
    if (isStateless(version))
      params.set(
        '_meta',
        new Map<string, Json>([
          [META_VERSION, version],
          [META_CAPABILITIES, EMPTY],
        ]),
      );
    const id = `list-${endpoint.parts.ids.next().text}`;
    return { kind: 'request', id, method: 'tools/list', params };
  }

  async #message(
    request: Request,
    identity: Identity | undefined,
  ): Promise<{ head: OutgoingRequest; body: Buffer }> {
    const { endpoint, message, facts, kept } = this.#described;
    const { destination } = endpoint;
    const listed: McpFacts = { ...facts.mcp, ...LIST };
    const asked = { received: [], message: request, facts: listed, params: undefined };
    const judged = outgoingFields(kept, { ...message.outgoing, ...asked });
    const speaker = { destination, identity };
    const fields = await withCredential(judged, this.#own, speaker, this.#outbound);
    const body = Buffer.from(writeJson(asJson(request)));
    const { via } = this.#outbound.fields;
    const head: OutgoingRequest = {
      method: 'POST',
      target: facts.http.path,
      fields: ['host', hostField(facts, destination), ...fields, 'via', via],
      framing: { kind: 'length', length: body.length },
    };
    return { head, body };
  }
}

/** Facts of a list of tools, to be judged. */
const LIST = Object.freeze({
  kind: 'request',
  method: 'tools/list',
  tool: undefined,
  args: EMPTY,
  argsDigest: undefined,
  definition: undefined,
} as const);
