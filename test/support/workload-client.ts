/**
 * A Workload API client that knows nothing of ours but the descriptors: what any gRPC client would
 * see of the server.
 */
import { Client, credentials, Metadata, type ServiceError, type StatusObject } from '@grpc/grpc-js';
import { create } from '@bufbuild/protobuf';
import {
  JWTSVIDRequestSchema,
  type JWTSVIDResponse,
  ValidateJWTSVIDRequestSchema,
  type ValidateJWTSVIDResponse,
} from '../../lib/identity/gen/workload_pb.ts';
import { workloadApiDefinition } from '../../lib/identity/service.ts';
import { until } from './until.ts';

/** A server stream as it was received. */
export interface Received<Message> {
  readonly messages: readonly Message[];
  /** Set when it has ended. */
  readonly status: StatusObject | undefined;
  /** Waits for the n-th message, 1-based. */
  message(number: number): Promise<Message>;
  ended(): Promise<StatusObject>;
  cancel(): void;
}

type Definition = ReturnType<typeof workloadApiDefinition>;
type StreamName = 'fetchX509SVID' | 'fetchX509Bundles' | 'fetchJWTBundles';
type MessageOf<N extends StreamName> = ReturnType<Definition[N]['responseDeserialize']>;

export function workloadClient(endpoint: string) {
  const client = new Client(endpoint, credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
  });
  const methods = workloadApiDefinition();
  return {
    client,
    stream<N extends StreamName>(
      name: N,
      header: readonly string[] = ['true'],
    ): Received<MessageOf<N>> {
      const { path, requestSerialize, responseDeserialize } = methods[
        name
      ] as Definition['fetchX509SVID'];
      const call = client.makeServerStreamRequest(
        path,
        requestSerialize,
        responseDeserialize,
        {} as never,
        metadata(header),
      );
      const messages: MessageOf<N>[] = [];
      let status: StatusObject | undefined;
      call.on('data', (message: MessageOf<N>) => messages.push(message));
      call.on('error', () => 'told by its status');
      call.on('status', (end: StatusObject) => (status = end));
      return {
        messages,
        get status() {
          return status;
        },
        message: (number) => until(`message ${number} of ${name}`, () => messages[number - 1]),
        ended: () => until(`${name} has ended`, () => status),
        cancel: () => call.cancel(),
      };
    },
    fetchJwtSvid(
      audience: readonly string[],
      spiffeId = '',
      header: readonly string[] = ['true'],
    ): Promise<JWTSVIDResponse> {
      const { path, requestSerialize, responseDeserialize } = methods.fetchJWTSVID;
      const request = create(JWTSVIDRequestSchema, { audience: [...audience], spiffeId });
      return answered((done) =>
        client.makeUnaryRequest(
          path,
          requestSerialize,
          responseDeserialize,
          request,
          metadata(header),
          done,
        ),
      );
    },
    validate(audience: string, svid: string): Promise<ValidateJWTSVIDResponse> {
      const { path, requestSerialize, responseDeserialize } = methods.validateJWTSVID;
      const request = create(ValidateJWTSVIDRequestSchema, { audience, svid });
      return answered((done) =>
        client.makeUnaryRequest(
          path,
          requestSerialize,
          responseDeserialize,
          request,
          metadata(['true']),
          done,
        ),
      );
    },
    [Symbol.asyncDispose]: async () => client.close(),
  };
}

function metadata(values: readonly string[]): Metadata {
  const made = new Metadata();
  for (const value of values) made.add('workload.spiffe.io', value);
  return made;
}

function answered<T>(
  act: (done: (failure: ServiceError | null, value?: T) => void) => unknown,
): Promise<T> {
  return new Promise((resolve, reject) => {
    act((failure, value) => {
      if (failure === null && value !== undefined) resolve(value);
      else reject(failure ?? new Error('neither failure nor value'));
    });
  });
}
