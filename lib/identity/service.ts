/**
 * Joins the generated descriptors (lib/identity/gen) to grpc-js: one service definition, used by
 * the client and by a server alike. Paths, streaming kinds and codecs all come from the descriptor;
 * nothing is written twice.
 */
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import type { DescMessage, DescMethod, DescService, MessageShape } from '@bufbuild/protobuf';
import type { MethodDefinition } from '@grpc/grpc-js';
import { SpiffeWorkloadAPI } from './gen/workload_pb.ts';

/**
 * grpc-js's definition of every method of a generated service, by the method's name as the
 * generated code spells it.
 */
export type Definition<S extends DescService> = {
  readonly [N in keyof S['method']]: MethodDefinition<
    MessageShape<S['method'][N]['input']>,
    MessageShape<S['method'][N]['output']>
  >;
};

function encoder<M extends DescMessage>(schema: M): (message: MessageShape<M>) => Buffer {
  return (message) => {
    const bytes = toBinary(schema, message);
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  };
}

function decoder<M extends DescMessage>(schema: M): (bytes: Buffer) => MessageShape<M> {
  return (bytes) => fromBinary(schema, bytes);
}

function methodDefinition<I extends DescMessage, O extends DescMessage>(
  service: DescService,
  method: DescMethod & { readonly input: I; readonly output: O },
): MethodDefinition<MessageShape<I>, MessageShape<O>> {
  return {
    path: `/${service.typeName}/${method.name}`,
    originalName: method.localName,
    requestStream:
      method.methodKind === 'client_streaming' || method.methodKind === 'bidi_streaming',
    responseStream:
      method.methodKind === 'server_streaming' || method.methodKind === 'bidi_streaming',
    requestSerialize: encoder(method.input),
    requestDeserialize: decoder(method.input),
    responseSerialize: encoder(method.output),
    responseDeserialize: decoder(method.output),
  };
}

/**
 * The grpc-js definition of a generated service, for `new Client(...).makeServerStreamRequest(...)`
 * and `server.addService(...)`.
 */
function serviceDefinition<S extends DescService>(service: S): Definition<S> {
  const entries = Object.entries(service.method).map(([name, method]) => [
    name,
    methodDefinition(service, method),
  ]);
  return Object.freeze(Object.fromEntries(entries)) as Definition<S>;
}

/**
 * A fresh definition of the SPIFFE Workload API; its paths are `/SpiffeWorkloadAPI/<Method>`,
 * without a package.
 */
export function workloadApiDefinition(): Definition<typeof SpiffeWorkloadAPI> {
  return serviceDefinition(SpiffeWorkloadAPI);
}
