/**
 * The calls of the SPIFFE Workload API, one attempt each; lib/identity/watch.ts asks again. Rules:
 * - every call carries the metadata `workload.spiffe.io: true` (Workload Endpoint section 3) and a
 *   plain `:authority`, as a socket's path is none;
 * - every attempt has a channel of its own, so that a socket that was deleted and made again is
 *   dialled by its path, at once, whatever grpc-js remembers;
 * - a call ends by our signal or by the server, never by being forgotten: a stream that is no
 *   longer read is cancelled.
 */
import { create } from '@bufbuild/protobuf';
import type { DescMessage, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import type { ClientReadableStream, ClientUnaryCall, MethodDefinition } from '@grpc/grpc-js';
import { onAbort, reasonOf } from '../base/signal.ts';
import type { Endpoint } from './address.ts';
import {
  JWTBundlesRequestSchema,
  JWTSVIDRequestSchema,
  ValidateJWTSVIDRequestSchema,
  X509SVIDRequestSchema,
} from './gen/workload_pb.ts';
import type {
  JWTBundlesResponse,
  JWTSVIDResponse,
  ValidateJWTSVIDResponse,
  X509SVIDResponse,
} from './gen/workload_pb.ts';
import { LIMITS } from './limits.ts';
import { workloadApiDefinition } from './service.ts';
import { callFault } from './status.ts';

/**
 * Streams yield complete states, as received and not yet judged, and end when the server ends them.
 * Every method throws a Fault `workload-api-*` that keeps the status (`statusOf`), or the reason of
 * its signal.
 */
export interface WorkloadApi {
  readonly endpoint: Endpoint;
  x509Svids(signal: AbortSignal): AsyncIterable<X509SVIDResponse>;
  jwtBundles(signal: AbortSignal): AsyncIterable<JWTBundlesResponse>;
  /** Without `spiffeId`: one JWT-SVID for each identity of ours. */
  fetchJwtSvid(
    request: { readonly audience: readonly string[]; readonly spiffeId?: string },
    signal: AbortSignal,
  ): Promise<JWTSVIDResponse>;
  validateJwtSvid(
    request: { readonly audience: string; readonly token: string },
    signal: AbortSignal,
  ): Promise<ValidateJWTSVIDResponse>;
}

const CHANNEL_OPTIONS = Object.freeze({
  'grpc.default_authority': 'localhost',
  'grpc.max_receive_message_length': LIMITS.messageBytes,
  'grpc.max_send_message_length': LIMITS.messageBytes,
  'grpc.use_local_subchannel_pool': 1,
  'grpc.enable_retries': 0,
  // A host that vanished without a word is found out; no faster than servers bear.
  'grpc.keepalive_time_ms': LIMITS.keepalive.timeMs,
  'grpc.keepalive_timeout_ms': LIMITS.keepalive.timeoutMs,
  'grpc.service_config_disable_resolution': 1,
  // The proxy variables of the environment are for the agent, and may well name ourselves.
  'grpc.enable_http_proxy': 0,
});

function dial(endpoint: Endpoint): Client {
  return new Client(endpoint.target, credentials.createInsecure(), CHANNEL_OPTIONS);
}

function securityHeader(): Metadata {
  const metadata = new Metadata();
  metadata.set('workload.spiffe.io', 'true');
  return metadata;
}

/**
 * Messages of one stream. However the loop over them ends, the call is cancelled and its channel
 * closed.
 */
async function* streamed<Q, R>(
  endpoint: Endpoint,
  method: MethodDefinition<Q, R>,
  request: Q,
  signal: AbortSignal,
): AsyncGenerator<R, void, undefined> {
  if (signal.aborted) throw reasonOf(signal);
  const client = dial(endpoint);
  const call: ClientReadableStream<R> = client.makeServerStreamRequest(
    method.path,
    method.requestSerialize,
    method.responseDeserialize,
    request,
    securityHeader(),
  );
  // The error of a cancelled call comes after nobody reads it any more.
  call.on('error', () => undefined);
  const off = onAbort(signal, () => call.cancel());
  try {
    for await (const message of call) yield message as R;
  } catch (failure) {
    throw signal.aborted ? reasonOf(signal) : callFault(failure, nameOf(method.path));
  } finally {
    off();
    call.cancel();
    client.close();
  }
  if (signal.aborted) throw reasonOf(signal);
}

interface UnaryOptions {
  readonly signal: AbortSignal;
  /** Milliseconds. */
  readonly limit: number;
}

function unary<Q, R>(
  endpoint: Endpoint,
  method: MethodDefinition<Q, R>,
  request: Q,
  { signal, limit }: UnaryOptions,
): Promise<R> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(reasonOf(signal));
      return;
    }
    const client = dial(endpoint);
    const call: ClientUnaryCall = client.makeUnaryRequest<Q, R>(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      request,
      securityHeader(),
      { deadline: Date.now() + limit },
      (failure, response) => {
        off();
        client.close();
        if (response !== undefined && failure === null) resolve(response);
        else reject(signal.aborted ? reasonOf(signal) : callFault(failure, nameOf(method.path)));
      },
    );
    const off = onAbort(signal, () => call.cancel());
  });
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

/** `limit`: milliseconds for a unary call. */
export function workloadApi(endpoint: Endpoint, limit: number = LIMITS.unaryMs): WorkloadApi {
  const methods = workloadApiDefinition();
  const message = <M extends DescMessage>(
    schema: M,
    fields?: MessageInitShape<M>,
  ): MessageShape<M> => create(schema, fields);
  return Object.freeze({
    endpoint,
    x509Svids: (signal: AbortSignal) =>
      streamed(endpoint, methods.fetchX509SVID, message(X509SVIDRequestSchema), signal),
    jwtBundles: (signal: AbortSignal) =>
      streamed(endpoint, methods.fetchJWTBundles, message(JWTBundlesRequestSchema), signal),
    fetchJwtSvid: ({ audience, spiffeId = '' }, signal) =>
      unary(
        endpoint,
        methods.fetchJWTSVID,
        message(JWTSVIDRequestSchema, { audience: [...audience], spiffeId }),
        {
          signal,
          limit,
        },
      ),
    validateJwtSvid: ({ audience, token }, signal) =>
      unary(
        endpoint,
        methods.validateJWTSVID,
        message(ValidateJWTSVIDRequestSchema, { audience, svid: token }),
        {
          signal,
          limit,
        },
      ),
  } satisfies WorkloadApi);
}
