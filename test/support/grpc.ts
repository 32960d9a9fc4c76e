/** gRPC on both sides by @grpc/grpc-js, without generated code: messages are bytes. */
import {
  Client,
  credentials,
  Metadata,
  Server,
  ServerCredentials,
  status,
  type ClientDuplexStream,
  type sendUnaryData,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceError,
  type StatusObject,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import type { TestIssuer } from './authority.ts';
import { until } from './until.ts';

export const SERVICE = 'billing.v1.Invoices';

const same = (bytes: Buffer): Buffer => bytes;
const method = (name: string, requestStream: boolean, responseStream: boolean) => ({
  path: `/${SERVICE}/${name}`,
  requestStream,
  responseStream,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
});

export const METHODS = {
  Get: method('Get', false, false),
  Fail: method('Fail', false, false),
  Hang: method('Hang', false, false),
  List: method('List', false, true),
  Watch: method('Watch', false, true),
  Sum: method('Sum', true, false),
  Chat: method('Chat', true, true),
};

export interface GrpcServer extends AsyncDisposable {
  readonly port: number;
  /** Names of methods that were called, with the peer's certificate subject left out. */
  readonly calls: string[];
  readonly cancelled: string[];
}

/** With `authority` over mutual TLS as `/upstream`, otherwise in the clear. */
export async function grpcServer(authority?: TestIssuer): Promise<GrpcServer> {
  const calls: string[] = [];
  const cancelled: string[] = [];
  const server = new Server({ 'grpc.max_receive_message_length': 64 * 1024 * 1024 });
  server.addService(METHODS, implementation(calls, cancelled));
  const port = await bind(server, authority && (await authority.svid('/upstream')), authority);
  return {
    port,
    calls,
    cancelled,
    [Symbol.asyncDispose]: () => {
      server.forceShutdown();
      return Promise.resolve();
    },
  };
}

async function bind(
  server: Server,
  svid: Awaited<ReturnType<TestIssuer['svid']>> | undefined,
  authority: TestIssuer | undefined,
): Promise<number> {
  const secure =
    svid === undefined || authority === undefined
      ? ServerCredentials.createInsecure()
      : ServerCredentials.createSsl(
          Buffer.from(authority.pem),
          [
            {
              private_key: Buffer.from(svid.privateKeyPem),
              cert_chain: Buffer.from(svid.certificatesPem),
            },
          ],
          true,
        );
  return new Promise((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', secure, (error, port) =>
      error === null ? resolve(port) : reject(error),
    ),
  );
}

function implementation(calls: string[], cancelled: string[]): UntypedServiceImplementation {
  const note = (
    name: string,
    call: { on(event: 'cancelled', listener: () => void): unknown },
  ): void => {
    calls.push(name);
    call.on('cancelled', () => cancelled.push(name));
  };
  return {
    Get(call: Unary, done: Done) {
      note('Get', call);
      const trailer = new Metadata();
      trailer.set('x-trailer', 'kept');
      trailer.set('x-seen', String(call.metadata.get('x-asked')[0]));
      trailer.set('x-data-bin', Buffer.from([0, 255]));
      done(null, call.request, trailer);
    },
    Fail(call: Unary, done: Done) {
      note('Fail', call);
      done({ code: status.NOT_FOUND, details: 'no invoice “7”' });
    },
    Hang(call: Unary, _done: Done) {
      note('Hang', call);
    },
    List(call: ServerWritableStream<Buffer, Buffer>) {
      note('List', call);
      for (let i = 0; i < 5; i++) call.write(Buffer.from(`item ${i}`));
      call.end();
    },
    Watch(call: ServerWritableStream<Buffer, Buffer>) {
      note('Watch', call);
      call.write(Buffer.from('first'));
    },
    Sum(call: ServerReadableStream<Buffer, Buffer>, done: Done) {
      let bytes = 0;
      note('Sum', call);
      call.on('data', (chunk: Buffer) => (bytes += chunk.length));
      call.on('end', () => done(null, Buffer.from(String(bytes))));
    },
    Chat(call: ServerDuplexStream<Buffer, Buffer>) {
      note('Chat', call);
      call.on('data', (chunk: Buffer) => call.write(chunk));
      call.on('end', () => call.end());
    },
  };
}

type Unary = ServerUnaryCall<Buffer, Buffer>;
type Done = sendUnaryData<Buffer>;

export interface GrpcAnswer {
  readonly value: string | undefined;
  readonly code: number;
  readonly details: string;
  readonly trailers: Metadata;
}

export interface GrpcStream {
  readonly messages: readonly string[];
  readonly end: StatusObject | undefined;
  write(text: string | Buffer): void;
  close(): void;
  cancel(): void;
  sees(text: string): Promise<void>;
  status(): Promise<StatusObject>;
}

export interface GrpcClient extends AsyncDisposable {
  readonly client: Client;
  unary(
    name: keyof typeof METHODS,
    value: string | Buffer,
    metadata?: Record<string, string>,
  ): Promise<GrpcAnswer>;
  /** All messages are sent, then the one answer is awaited. */
  upload(name: keyof typeof METHODS, values: readonly Buffer[]): Promise<GrpcAnswer>;
  stream(name: keyof typeof METHODS, value?: string): GrpcStream;
}

export function grpcClient(port: number): GrpcClient {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), {
    'grpc.max_receive_message_length': 64 * 1024 * 1024,
    'grpc.enable_retries': 0,
  });
  return {
    client,
    unary(name, value, fields = {}) {
      const metadata = new Metadata();
      for (const [key, text] of Object.entries(fields)) metadata.set(key, text);
      return answered((done) =>
        client.makeUnaryRequest(METHODS[name].path, same, same, Buffer.from(value), metadata, done),
      );
    },
    upload: (name, values) =>
      answered((done) => {
        const call = client.makeClientStreamRequest(METHODS[name].path, same, same, done);
        for (const value of values) call.write(value);
        call.end();
        return call;
      }),
    stream(name, value) {
      const { path } = METHODS[name];
      const both: ClientDuplexStream<Buffer, Buffer> | undefined =
        value === undefined ? client.makeBidiStreamRequest(path, same, same) : undefined;
      const call =
        both ?? client.makeServerStreamRequest(path, same, same, Buffer.from(value ?? ''));
      const messages: string[] = [];
      let end: StatusObject | undefined;
      call.on('data', (bytes: Buffer) => messages.push(bytes.toString()));
      call.on('error', () => {});
      call.on('status', (said: StatusObject) => (end = said));
      return {
        messages,
        get end() {
          return end;
        },
        write: (text) => void both?.write(Buffer.from(text)),
        close: () => void both?.end(),
        cancel: () => call.cancel(),
        sees: async (text) =>
          void (await until(`${text} in ${messages.join()}`, () => messages.includes(text))),
        status: () => until('the status', () => end, 20_000),
      };
    },
    [Symbol.asyncDispose]: () => {
      client.close();
      return Promise.resolve();
    },
  };
}

function answered(
  ask: (done: (error: ServiceError | null, value?: Buffer) => void) => {
    on(event: 'status', listener: (end: StatusObject) => void): unknown;
  },
): Promise<GrpcAnswer> {
  return new Promise((resolve) => {
    let text: string | undefined;
    const call = ask((_, value) => (text = value?.toString()));
    call.on('status', ({ code, details, metadata }) =>
      setImmediate(() => resolve({ value: text, code, details, trailers: metadata })),
    );
  });
}
