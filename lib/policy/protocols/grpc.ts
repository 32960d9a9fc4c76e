/** Protocol grpc: requests that are calls, judged one by one. */
import type { MatrixRow } from '../model/access-matrix.ts';
import { EVERY, type Permission, nameCovers, namesOverlap } from '../model/permission.ts';
import type { Question } from '../model/question.ts';
import type { Verdict } from '../model/verdict.ts';
import {
  OTHER_CALLS,
  judgeByRules,
  nothing,
  permittedByRules,
  reported,
  uninspectable,
} from './by-rules.ts';
import { OURS, TUNNELED, refusedAt } from './entries.ts';
import { GRPC_TERMS, type GrpcRule } from './grpc-rules.ts';
import { suggestGrpc } from './grpc-suggest.ts';
import { requestInWords } from './http-rules.ts';
import type { ProtocolRow } from './row.ts';

export interface GrpcService {
  readonly protocol: 'grpc';
  readonly rules: readonly GrpcRule[];
}

const ENTRIES: readonly MatrixRow[] = Object.freeze([
  refusedAt(
    'forward',
    OURS,
    'gRPC needs HTTP/2, and plain requests to the forward proxy are HTTP/1.1',
    'point the client at the local listener of the destination (listen), or use CONNECT ' +
      'with tls.intercept: true',
  ),
  Object.freeze({
    ...refusedAt(
      'connect',
      OURS,
      'its calls are judged one by one, which a tunnel would hide',
      'use the local listener of the destination, or set tls.intercept: true',
    ),
    intercept: false,
    port: 'https',
  } as const),
  ...TUNNELED,
]);

export class CallPermission implements Permission {
  readonly #service: string;
  readonly #method: string;

  constructor(service: string, method: string) {
    this.#service = service;
    this.#method = method;
  }

  get text(): string {
    return `call ${this.#service}/${this.#method}`;
  }

  covers(other: Permission): boolean {
    return (
      other instanceof CallPermission &&
      nameCovers(this.#service, other.#service) &&
      nameCovers(this.#method, other.#method)
    );
  }

  overlaps(other: Permission): boolean {
    return (
      other instanceof CallPermission &&
      namesOverlap(this.#service, other.#service) &&
      namesOverlap(this.#method, other.#method)
    );
  }
}

function permissionsOf({ grpc: { services, methods } }: GrpcRule): readonly Permission[] {
  const names = [...(methods ?? [EVERY])];
  return [...(services ?? [EVERY])].flatMap((service) =>
    names.map((method) => new CallPermission(service, method)),
  );
}

export const GRPC: ProtocolRow<GrpcService, GrpcRule> = Object.freeze({
  name: 'grpc',
  phase: 'grpc',
  http2: true,
  upstreamGreets: false,
  entries: ENTRIES,
  judge,
  rules: ({ rules }) => rules,
  condition: nothing,
  mayAllowContentOnGet: () => false,
  mismatch: (rule, { grpc }) =>
    grpc === undefined || GRPC_TERMS.isAbout(rule, grpc) ? undefined : OTHER_CALLS,
  permissionsOf,
  permitted: ({ mode, service }) => permittedByRules(mode, service.rules, permissionsOf),
  outflow: nothing,
  stopsOutflow: ({ grpc }) => grpc.services === undefined && grpc.methods === undefined,
  loosened: nothing,
  note: nothing,
  suggest: (_, seen) => suggestGrpc(seen),
} satisfies ProtocolRow<GrpcService, GrpcRule>);

function judge(question: Question<GrpcService>): Verdict {
  const { destination, facts } = question;
  const { http, grpc } = facts;
  if (http === undefined) return uninspectable(destination);
  if (grpc === undefined)
    return {
      code: 'not-grpc',
      reason: `${requestInWords(http)} is no gRPC call to destination ${destination.name}`,
      hint: 'calls go over HTTP/2 by POST to /package.Service/Method, without a query',
    };
  const { rules } = destination.service;
  return reported(destination, judgeByRules(question, grpc, rules, GRPC_TERMS));
}
