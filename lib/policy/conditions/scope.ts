/**
 * The facts as conditions see them: one object per decision, each part made when a condition first
 * asks for it and kept for the next one. A part that is not known is undefined, which CEL makes an
 * error. Only what the tables of condition-env.ts declare can be reached.
 */
import type { Fields } from '../../http/message.ts';
import { type Json, JsonNumber, isObject } from '../../schema/json.ts';
import { type SpiffeId, trustDomainOf } from '../../spiffe/id.ts';
import type { AnyService, DestinationOf } from '../model/destination.ts';
import type { Facts, HttpFacts, McpFacts } from '../model/facts.ts';
import type { TaskFacts } from '../model/grant.ts';
import { fieldValues, visibleFields } from '../model/judged-fields.ts';
import { type Plain, plainJson } from './plain.ts';
import { CONDITION_LIMITS } from './variables.ts';

/**
 * An answer that cannot be given. Not the library's own error: what has no conditions does not load
 * it.
 */
export class Unanswerable extends Error {
  /** What lib/policy/conditions/compile.ts has words for. */
  readonly code: string;
  constructor(code: string) {
    super(code);
    this.code = code;
  }
}

export function noAnswer(code: string): Unanswerable {
  return new Unanswerable(code);
}

/** Everything that one decision's conditions may be asked about. */
export class ConditionContext {
  /** What is left of the work of its conditions (lib/policy/conditions/cel-meter.ts). */
  work: number = CONDITION_LIMITS.work;
  readonly #facts: Facts;
  readonly #asked: DestinationOf<AnyService>;
  readonly #self: SpiffeId | undefined;
  #request: RequestView | ConnectionView | undefined;
  #destination: DestinationView | undefined;
  #identity: IdentityView | undefined;
  #peer: IdentityView | undefined;
  #task: TaskView | undefined;
  #mcp: McpView | undefined;
  #args: Plain | undefined;

  /** `self`: our own SPIFFE ID, when there is one. */
  constructor(facts: Facts, asked: DestinationOf<AnyService>, self: SpiffeId | undefined) {
    this.#facts = facts;
    this.#asked = asked;
    this.#self = self;
  }

  get request(): RequestView | ConnectionView {
    const { http } = this.#facts;
    return (this.#request ??=
      http === undefined ? new ConnectionView(this.#facts) : new RequestView(this.#facts, http));
  }

  get destination(): DestinationView {
    return (this.#destination ??= new DestinationView(this.#asked));
  }

  get identity(): IdentityView | undefined {
    return (this.#identity ??= this.#self === undefined ? undefined : new IdentityView(this.#self));
  }

  get peer(): IdentityView | undefined {
    const { peer } = this.#facts;
    return (this.#peer ??= peer === undefined ? undefined : new IdentityView(peer));
  }

  get task(): TaskView | undefined {
    const { task } = this.#facts;
    return (this.#task ??= task === undefined ? undefined : new TaskView(task));
  }

  get mcp(): McpView | undefined {
    const { mcp } = this.#facts;
    return (this.#mcp ??= mcp === undefined ? undefined : new McpView(mcp));
  }

  get args(): Plain | undefined {
    const args = this.#facts.mcp?.args;
    if (this.#args !== undefined || args === undefined) return this.#args;
    const census = new Census();
    census.count(args);
    if (census.values > CONDITION_LIMITS.values) throw noAnswer('too_many_values');
    this.work -= census.work;
    if (this.work < 0) throw noAnswer('too_much_work');
    return (this.#args = plainJson(args));
  }

  get grpc(): GrpcView | undefined {
    const { grpc } = this.#facts;
    return grpc === undefined ? undefined : new GrpcView(grpc.service, grpc.method);
  }
}

export class ConnectionView {
  readonly #facts: Facts;
  constructor(facts: Facts) {
    this.#facts = facts;
  }
  get host(): string {
    return this.#facts.host;
  }
  get port(): bigint {
    return BigInt(this.#facts.port);
  }
  get time(): Date {
    return new Date(this.#facts.time);
  }
}

export class RequestView {
  readonly #facts: Facts;
  readonly #http: HttpFacts;
  #query: readonly ParamView[] | undefined;
  #headers: readonly HeaderView[] | undefined;
  constructor(facts: Facts, http: HttpFacts) {
    this.#facts = facts;
    this.#http = http;
  }
  get method(): string {
    return this.#http.method;
  }
  get path(): string {
    return this.#http.path;
  }
  get websocket(): boolean {
    return this.#http.websocket;
  }
  get query(): readonly ParamView[] {
    return (this.#query ??= paramsOf(this.#http.query));
  }
  get headers(): readonly HeaderView[] {
    return (this.#headers ??= headersOf(this.#http.fields));
  }
  get host(): string {
    return this.#facts.host;
  }
  get port(): bigint {
    return BigInt(this.#facts.port);
  }
  get time(): Date {
    return new Date(this.#facts.time);
  }
  header(name: string): readonly string[] {
    return fieldValues(this.#http.fields, name.toLowerCase());
  }
  param(wanted: string): readonly string[] {
    return this.query.filter(({ name }) => name === wanted).map(({ value }) => value);
  }
}

export class ParamView {
  readonly name: string;
  readonly value: string;
  constructor(name: string, value: string) {
    this.name = name;
    this.value = value;
  }
}

export class HeaderView {
  readonly name: string;
  readonly values: readonly string[];
  constructor(name: string, values: readonly string[]) {
    this.name = name;
    this.values = values;
  }
}

export class DestinationView {
  readonly name: string;
  readonly dataClass: string;
  readonly protocol: string;
  constructor({ name, dataClass, service }: DestinationOf<AnyService>) {
    this.name = name;
    this.dataClass = dataClass;
    this.protocol = service.protocol;
  }
}

export class IdentityView {
  readonly spiffeId: string;
  readonly #id: SpiffeId;
  constructor(id: SpiffeId) {
    this.spiffeId = id;
    this.#id = id;
  }
  get trustDomain(): string {
    return trustDomainOf(this.#id);
  }
}

export class TaskView {
  readonly id: string;
  readonly purpose: string;
  readonly owner: string;
  readonly onBehalfOf: string | undefined;
  readonly depth: bigint;
  readonly read: string;
  readonly wrote: string;
  readonly actions: readonly string[];
  readonly destinations: readonly string[];
  readonly uses: bigint;
  constructor(task: TaskFacts) {
    this.id = task.id;
    this.purpose = task.purpose;
    this.owner = task.owner;
    this.onBehalfOf = task.onBehalfOf;
    this.depth = BigInt(task.depth);
    this.read = task.read;
    this.wrote = task.wrote;
    this.actions = task.actions;
    this.destinations = task.destinations;
    this.uses = BigInt(task.uses);
  }
}

export class McpView {
  readonly method: string;
  readonly tool: string | undefined;
  readonly resource: string | undefined;
  readonly prompt: string | undefined;
  constructor({ method, tool, resource, prompt }: McpFacts) {
    this.method = method;
    this.tool = tool;
    this.resource = resource;
    this.prompt = prompt;
  }
}

export class GrpcView {
  readonly service: string;
  readonly method: string;
  constructor(service: string, method: string) {
    this.service = service;
    this.method = method;
  }
}

/** `query` with its leading `?`, or ''. */
function paramsOf(query: string): readonly ParamView[] {
  if (query.length < 2) return [];
  if (query.includes(';')) throw noAnswer('ambiguous_query');
  const parts = query.slice(1).split('&', CONDITION_LIMITS.members + 1);
  if (parts.length > CONDITION_LIMITS.members) throw noAnswer('too_many_params');
  return parts.filter((part) => part !== '').map(paramOf);
}

function paramOf(part: string): ParamView {
  const equals = part.indexOf('=');
  const [name, value] = equals < 0 ? [part, ''] : [part.slice(0, equals), part.slice(equals + 1)];
  return new ParamView(decoded(name), decoded(value));
}

function decoded(text: string): string {
  if (!/[%+]/.test(text)) return text;
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    throw noAnswer('ambiguous_query');
  }
}

function headersOf(fields: Fields): readonly HeaderView[] {
  const visible = visibleFields(fields);
  if (visible.size > CONDITION_LIMITS.members) throw noAnswer('too_many_headers');
  return Array.from(visible, ([name, values]) => new HeaderView(name, values));
}

/** What it takes to make plain data of arguments; stops counting past the limit. */
class Census {
  /** At every depth. */
  values = 0;
  work = 0;

  count(value: Json): void {
    this.values += 1;
    this.work += 2;
    if (value instanceof JsonNumber) this.work += value.text.length / 8;
    if (typeof value !== 'object' || value === null || value instanceof JsonNumber) return;
    if (isObject(value)) for (const name of value.keys()) this.work += name.length / 32;
    for (const one of value.values()) {
      if (this.values > CONDITION_LIMITS.values) return;
      this.count(one);
    }
  }
}
