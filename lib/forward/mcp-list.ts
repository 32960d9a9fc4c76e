/**
 * The tools of an MCP server, asked for by the sidecar itself before a call of one that it does not
 * know is judged: what a server says of its tools bears on the decision, and an agent that never
 * lists must not escape it. With the session and the credentials of the agent, as an exchange of
 * its own with its own records, once for all who wait; it takes no use, and a time and a number of
 * pages bound it. Where it fails, the tool counts as one that writes (lib/mcp/definitions.ts).
 */
import { Fault } from '../base/fault.ts';
import { onAbort } from '../base/signal.ts';
import type { JwtSvids } from '../credentials/jwt-svid.ts';
import { Exchange, type Judgement } from '../exchange/exchange.ts';
import { type Standing, judged } from '../exchange/handle.ts';
import type { FieldRules } from '../exchange/headers.ts';
import type { ClientConnection, ClientResponse } from '../http/client.ts';
import { type Body, type OutgoingRequest, fieldOf } from '../http/message.ts';
import { MAX_ENTRIES } from '../mcp/lists.ts';
import { LONG, parseLong } from '../mcp/long-json.ts';
import { type Request, asJson, idKey, readServerMessage } from '../mcp/message.ts';
import { META_CAPABILITIES, META_VERSION } from '../mcp/meta.ts';
import { outgoingFields } from '../mcp/outgoing.ts';
import { EventReader } from '../mcp/sse.ts';
import type { Facts, McpFacts, ToolDefinition } from '../policy/model/facts.ts';
import { NAME, isStateless } from '../policy/model/mcp-methods.ts';
import { isListed } from '../policy/protocols/mcp-lists.ts';
import { parseJson } from '../schema/json-reader.ts';
import { writeJson } from '../schema/json-writer.ts';
import { EMPTY, type Json, JsonNumber, type JsonObject, isObject } from '../schema/json.ts';
import type { Identity } from '../spiffe/identity.ts';
import type { Upstreams } from '../upstream/pools.ts';
import { needsIdentity } from '../upstream/route.ts';
import { type McpExchange, wholeBody } from './mcp.ts';
import { hostField } from './outgoing.ts';

/** Milliseconds for all pages together. */
const MAX_MS = 5000;
const MAX_PAGES = 32;

const HARMLESS: ToolDefinition = Object.freeze({ state: 'pinned', hazardous: false });
const HAZARDOUS: ToolDefinition = Object.freeze({ state: 'pinned', hazardous: true });

interface Asking {
  /** The exchange whose call is to be judged. */
  readonly exchange: Exchange;
  readonly mcp: McpExchange;
  readonly facts: Facts;
}

export interface Listings {
  /**
   * The facts as they are when the server has been asked, or has not answered; undefined where
   * nothing has to be asked, because the tool is known, or the call is denied whatever the server
   * says.
   */
  before(asking: Asking, standing: Standing): Promise<Facts> | undefined;
}

/** What it goes out by. */
export interface Ways {
  readonly upstreams: Upstreams;
  readonly fields: FieldRules;
  readonly tokens: JwtSvids;
  readonly now: () => number;
  /** Throws the Fault for an exchange that what changed since it was judged forbids. */
  readonly recheck: (exchange: Exchange) => void;
}

export function listings(ways: Ways): Listings {
  const underWay = new Map<string, Promise<void>>();
  return {
    before(asking, standing) {
      const { mcp, facts, exchange } = asking;
      const { tool } = mcp.facts;
      if (tool === undefined || !mcp.tools.wanted(tool)) return undefined;
      // Where the call is denied whatever the server says of its tool, the server hears nothing.
      const mayPass = (definition: ToolDefinition): boolean => {
        const said = { ...facts, mcp: { ...mcp.facts, definition } };
        return judged(exchange, said, standing).decision.effect === 'allow';
      };
      if (!mayPass(HARMLESS) && !mayPass(HAZARDOUS)) return undefined;
      const key = mcp.place;
      let listing = underWay.get(key);
      if (listing === undefined) {
        mcp.tools.asking();
        listing = new Listing(asking, standing, ways).run().finally(() => underWay.delete(key));
        underWay.set(key, listing);
      }
      exchange.enter('deciding', Infinity, ways.now());
      return unlessAborted(listing, exchange).then(() => mcp.learned(facts));
    },
  };
}

async function unlessAborted(listing: Promise<void>, { signal }: Exchange): Promise<void> {
  let off = (): void => {};
  const aborted = new Promise<void>((resolve) => (off = onAbort(signal, () => resolve())));
  await Promise.race([listing, aborted]).finally(() => off());
}

class Listing {
  readonly #asking: Asking;
  readonly #standing: Standing;
  readonly #ways: Ways;
  readonly #own: Exchange;
  #connection: ClientConnection | undefined;

  constructor(asking: Asking, standing: Standing, ways: Ways) {
    const { exchange } = asking;
    this.#asking = asking;
    this.#standing = standing;
    this.#ways = ways;
    this.#own = new Exchange(
      exchange.entry,
      { bytesRead: 0, bytesWritten: 0 },
      standing.clock.monotonic(),
    );
    this.#own.task = exchange.task;
    this.#own.agent = exchange.agent;
    this.#own.asker = exchange.id;
  }

  /** Never rejects: what fails stands in its record. */
  async run(): Promise<void> {
    const { live, evidence } = this.#standing;
    const own = this.#own;
    let fault: Fault | undefined;
    let judgement: Judgement | undefined;
    live.enter(own);
    own.task?.enter(own);
    try {
      judgement = this.#judge();
      if (judgement === undefined) return;
      own.judgement = judgement;
      await evidence.decided(own, judgement);
      own.stops({ stop: (reason) => this.#connection?.destroy(reason) });
      own.lasts(MAX_MS);
      await this.#pages(judgement);
    } catch (failure) {
      fault = own.reason ?? Fault.from(failure, 'internal');
    } finally {
      live.leave(own);
      own.task?.leave(own);
      if (judgement !== undefined) evidence.ended(own, fault);
    }
  }

  /** Undefined where the list is denied. */
  #judge(): Judgement | undefined {
    const { facts, mcp } = this.#asking;
    const asked: Facts = { ...facts, mcp: { ...mcp.facts, ...LIST, params: EMPTY } };
    const judgement = judged(this.#own, asked, this.#standing);
    return judgement.decision.effect === 'deny' ? undefined : judgement;
  }

  async #pages(judgement: Judgement): Promise<void> {
    let cursor: string | undefined;
    for (let page = 0; page < MAX_PAGES; page += 1) {
      const result = await this.#page(judgement, cursor);
      const { destination } = this.#asking.mcp;
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
    const { destination, tools } = this.#asking.mcp;
    const name = isObject(tool) ? tool.get('name') : undefined;
    if (!isObject(tool) || typeof name !== 'string' || !NAME.test(name)) return;
    if (all || isListed(destination, { tool: name })) tools.see(name, tool);
  }

  async #page({ facts, identity }: Judgement, cursor: string | undefined): Promise<JsonObject> {
    const own = this.#own;
    const { upstreams, now, recheck } = this.#ways;
    const { destination } = this.#asking.mcp;
    const request = this.#request(cursor);
    const route = upstreams.route(destination, facts);
    const usable = this.#usable(identity);
    const head = await this.#head(request, usable);
    const loan = await upstreams.borrow(route, usable, { signal: own.signal, task: own.task?.id });
    own.upstream = loan.lease.info;
    try {
      own.throwIfAborted();
      recheck(own);
      own.enter('headers', MAX_MS, now());
      this.#connection = loan.lease.connection;
      const response = await this.#connection.request(head.head, head.body, { onInform: () => {} });
      const result = await this.#result(response, request);
      loan.giveBack();
      return result;
    } catch (failure) {
      loan.lease.discard(Fault.from(failure, 'internal'));
      throw failure;
    } finally {
      this.#connection = undefined;
    }
  }

  #usable(identity: Identity | undefined): Identity | undefined {
    if (!needsIdentity(this.#asking.mcp.destination)) return undefined;
    return identity ?? this.#standing.identity.current(this.#own.agent);
  }

  #request(cursor: string | undefined): Request {
    const { facts, parts } = this.#asking.mcp;
    const params = new Map<string, Json>(cursor === undefined ? [] : [['cursor', cursor]]);
    if (isStateless(facts.version))
      params.set(
        '_meta',
        new Map<string, Json>([
          [META_VERSION, facts.version],
          [META_CAPABILITIES, EMPTY],
        ]),
      );
    const id = `list-${parts.ids.next().text}`;
    return { kind: 'request', id, method: 'tools/list', params };
  }

  async #head(
    request: Request,
    identity: Identity | undefined,
  ): Promise<{ head: OutgoingRequest; body: Buffer }> {
    const { mcp, facts } = this.#asking;
    const { fields: rules, tokens } = this.#ways;
    const { destination } = mcp;
    const listed: McpFacts = { ...mcp.facts, ...LIST };
    const outgoing = {
      ...mcp.outgoing,
      received: [],
      message: request,
      facts: listed,
      params: undefined,
    };
    let fields = outgoingFields(mcp.kept, outgoing);
    if (destination.credential !== undefined && identity !== undefined) {
      const { signal } = this.#own;
      const asker = { signal, task: this.#own.task?.id };
      fields = rules.authorized(
        fields,
        await tokens.obtain(destination.credential.audience, identity, asker),
      );
      this.#own.credential = destination.credential.kind;
    }
    const body = Buffer.from(writeJson(asJson(request)));
    const head: OutgoingRequest = {
      method: 'POST',
      target: facts.http?.path ?? '/',
      fields: ['host', hostField(facts, destination), ...fields, 'via', rules.via],
      framing: { kind: 'length', length: body.length },
    };
    return { head, body };
  }

  /** The result, in JSON or in a stream of events. */
  async #result({ head, body, upgraded }: ClientResponse, request: Request): Promise<JsonObject> {
    const { policy, held } = this.#asking.mcp;
    const own = this.#own;
    own.status = head.status;
    if (head.status !== 200 || upgraded !== undefined)
      throw new Fault('upstream-malformed', `the server answered ${head.status}`);
    const type = fieldOf(head.fields, 'content-type') ?? '';
    if (/^text\/event-stream/i.test(type)) return this.#fromEvents(body, request);
    const counted = (bytes: number): void => void (own.received += bytes);
    const tooLarge = (): Fault =>
      new Fault('upstream-malformed', 'the server sent a list that is too long');
    const bytes = await wholeBody(body, { most: policy.message, counted, tooLarge, held });
    return (await this.#resultIn(bytes, request)) ?? silent();
  }

  /** Up to the answer: a server may leave its stream open. */
  async #fromEvents(body: Body, request: Request): Promise<JsonObject> {
    const reader = new EventReader(this.#asking.mcp.policy.message);
    for (;;) {
      const piece = body.poll();
      if (piece === 'end') return silent();
      if (piece === 'later') {
        await body.ready();
        continue;
      }
      this.#own.received += piece.length;
      for (const { data = '' } of reader.read(piece)) {
        const result = data === '' ? undefined : await this.#resultIn(Buffer.from(data), request);
        if (result === undefined) continue;
        body.cancel(new Fault('aborted', 'what follows the answer is for nobody'));
        return result;
      }
    }
  }
  /** The result of the request; undefined where the message is about something else. */
  async #resultIn(bytes: Buffer, { id }: Request): Promise<JsonObject | undefined> {
    const { turns } = this.#asking.mcp.parts;
    const options = { data: true, onBroken: () => {} };
    const value =
      bytes.length > LONG ? await parseLong(bytes, turns, options) : parseJson(bytes, options);
    const message = readServerMessage(value);
    if (message.kind !== 'response' || message.id === undefined || idKey(message.id) !== idKey(id))
      return undefined;
    const { result } = message;
    if (result !== undefined) {
      const list = bytes.length > LONG ? result.get('tools') : undefined;
      if (list !== undefined) await this.#asking.mcp.tools.digestAll(list, turns);
      return result;
    }
    const code = message.error?.get('code');
    throw new Fault(
      'upstream-malformed',
      `the server answered error ${code instanceof JsonNumber ? code.text : ''}`,
    );
  }
}

function silent(): never {
  throw new Fault('upstream-malformed', 'the server did not answer');
}

/** What a list of tools is, to be judged. */
const LIST = Object.freeze({
  kind: 'request',
  method: 'tools/list',
  tool: undefined,
  args: EMPTY,
  argsDigest: undefined,
  definition: undefined,
} as const);
