/**
 * The Workload API's methods over one snapshot of state, with SPIRE's codes and texts. A stream
 * sends its first message at once and another whenever the state changed what it would say, never
 * the same one twice; it ends with PermissionDenied as soon as no identity is left. What a client
 * may not have is refused, never left out in silence.
 */
import { create, type JsonObject, toBinary } from '@bufbuild/protobuf';
import {
  type sendUnaryData,
  type ServerUnaryCall,
  type ServerWritableStream,
  status,
} from '@grpc/grpc-js';
import type { Cell } from '../base/cell.ts';
import type { Clock } from '../base/clock.ts';
import {
  type JWTSVIDRequest,
  JWTSVIDResponseSchema,
  type ValidateJWTSVIDRequest,
  ValidateJWTSVIDResponseSchema,
} from '../identity/gen/workload_pb.ts';
import { parseJwtBundle } from '../spiffe/bundle.ts';
import { parseSpiffeId, type SpiffeId, trustDomainOf } from '../spiffe/id.ts';
import { validateJwtSvid } from '../spiffe/jwt-svid.ts';
import type { DevTrustDomain } from './domain.ts';
import { jwtBundleBytes } from './domain.ts';
import { type CallStatus, type FaultInjector, NO_IDENTITY } from './fault-injection.ts';
import {
  composeResponse,
  type DevIdentity,
  type DevState,
  type StreamMethod,
  uniqueByHint,
} from './state.ts';

export interface HandlerParts {
  readonly injector: FaultInjector;
  readonly state: Cell<DevState>;
  /** Signs JWT-SVIDs. */
  readonly domain: DevTrustDomain;
  /** Lifetime of a JWT-SVID, ms. */
  readonly jwtTtl: () => number;
  readonly clock: Clock;
  /** Claims of foreign JWT-SVIDs that ValidateJWTSVID passes on beside sub, aud and exp. */
  readonly allowedForeignClaims: readonly string[];
}

/**
 * Responses are handed to gRPC as bytes, so that a fault switch can send what no message could
 * hold.
 */
type Bytes = Uint8Array;

/** Ends a unary call with a status of its own. */
class Refusal extends Error {
  readonly status: CallStatus;
  constructor(end: CallStatus) {
    super(end.details);
    this.status = end;
  }
}

export function workloadApiHandlers(parts: HandlerParts) {
  return {
    fetchX509SVID: stream(parts, 'FetchX509SVID'),
    fetchX509Bundles: stream(parts, 'FetchX509Bundles'),
    fetchJWTBundles: stream(parts, 'FetchJWTBundles'),
    fetchJWTSVID: unary((request: JWTSVIDRequest) => fetchJwtSvid(request, parts)),
    validateJWTSVID: unary((request: ValidateJWTSVIDRequest) => validate(request, parts)),
  };
}

function stream({ injector, state }: HandlerParts, method: StreamMethod) {
  return (call: ServerWritableStream<unknown, Bytes>): void => {
    const intercepted = injector.callOf(call.metadata);
    let last: Bytes | undefined;
    const send = (now: DevState): void => {
      if (now.issued.length === 0) {
        intercepted.end(NO_IDENTITY);
        return;
      }
      const next = composeResponse(method, now);
      if (last !== undefined && Buffer.compare(last, next) === 0) return;
      last = next;
      call.write(next);
    };
    state.follow(send, intercepted.ended);
    send(stateOf(state));
  };
}

function unary<Request>(answer: (request: Request) => Promise<Bytes>) {
  return (call: ServerUnaryCall<Request, Bytes>, done: sendUnaryData<Bytes>): void => {
    const failed = (failure: unknown): void => {
      const { code, details } =
        failure instanceof Refusal
          ? failure.status
          : { code: 'INTERNAL' as const, details: messageOf(failure) };
      done({ code: status[code], details });
    };
    void settle(answer(call.request), (bytes) => done(null, bytes), failed);
  };
}

async function settle<T>(
  promise: Promise<T>,
  good: (value: T) => void,
  bad: (failure: unknown) => void,
): Promise<void> {
  try {
    good(await promise);
  } catch (failure) {
    bad(failure);
  }
}

async function fetchJwtSvid(
  { audience, spiffeId }: JWTSVIDRequest,
  parts: HandlerParts,
): Promise<Bytes> {
  if (audience.length === 0) throw invalid('audience must be specified');
  const wanted = spiffeId === '' ? undefined : requestedId(spiffeId);
  const identities: readonly DevIdentity[] = uniqueByHint(stateOf(parts.state).issued);
  const matching = identities.filter(({ id }) => wanted === undefined || id === wanted);
  if (matching.length === 0) throw new Refusal(NO_IDENTITY);
  const ttl = parts.jwtTtl();
  const svids = await Promise.all(
    matching.map(async ({ id, hint }) => ({
      spiffeId: id,
      hint,
      svid: await parts.domain.issueJwt(id, { audience, ttl }),
    })),
  );
  return toBinary(JWTSVIDResponseSchema, create(JWTSVIDResponseSchema, { svids }));
}

function requestedId(text: string): SpiffeId {
  try {
    return parseSpiffeId(text);
  } catch (failure) {
    throw invalid(`invalid requested SPIFFE ID: ${messageOf(failure)}`);
  }
}

async function validate(
  { audience, svid }: ValidateJWTSVIDRequest,
  parts: HandlerParts,
): Promise<Bytes> {
  if (audience === '') throw invalid('audience must be specified');
  if (svid === '') throw invalid('svid must be specified');
  const state = stateOf(parts.state);
  const bundles = new Map(
    [[state.trustDomain, state.authorities] as const, ...federatedAuthorities(state)].map(
      ([name, authorities]) => [name, parseJwtBundle(name, jwtBundleBytes(authorities))],
    ),
  );
  const valid = await validateJwtSvid(svid, { audience, bundles, now: parts.clock.now() }).catch(
    (failure: unknown) => {
      throw invalid(messageOf(failure));
    },
  );
  const own = trustDomainOf(valid.id) === state.trustDomain;
  const passed = Object.entries(valid.claims).filter(
    ([name]) => own || FOREIGN_CLAIMS.has(name) || parts.allowedForeignClaims.includes(name),
  );
  const claims = { ...Object.fromEntries(passed), aud: [...valid.audience] } as JsonObject;
  return toBinary(
    ValidateJWTSVIDResponseSchema,
    create(ValidateJWTSVIDResponseSchema, { spiffeId: valid.id, claims }),
  );
}

/** Passed on whatever trust domain a token is of. */
const FOREIGN_CLAIMS: ReadonlySet<string> = new Set(['sub', 'aud', 'exp']);

function federatedAuthorities({ federated }: DevState) {
  return [...federated]
    .filter(([, { form }]) => form === 'right')
    .map(([name, one]) => [name, one.authorities] as const);
}

function stateOf(state: Cell<DevState>): DevState {
  const now = state.get();
  if (now === undefined) throw new TypeError('the server serves only once it has a state');
  return now;
}

function invalid(details: string): Refusal {
  return new Refusal({ code: 'INVALID_ARGUMENT', details });
}

function messageOf(failure: unknown): string {
  return failure instanceof Error ? failure.message : String(failure);
}
