/**
 * Real upstreams for tests. Both write down every byte that reached them: `raw` as it was on the
 * wire, `plain` after TLS. Neither resumes sessions unless `tickets` is set. A deny path is proved
 * by `connections` being empty, or by `raw.total` and `plain.total` being 0.
 */
import { constants, type X509Certificate } from 'node:crypto';
import { Duplex } from 'node:stream';
import type { Socket } from 'node:net';
import {
  createSecureContext,
  type SecureContext,
  type SecureContextOptions,
  TLSSocket,
} from 'node:tls';
import { type Answerer, type Answers, answerer } from './answer.ts';
import type { LeafOptions, TestIssuer, TestSvid } from './authority.ts';
import { type ByteLog, byteLog, listen, type Listener, note } from './listener.ts';

/** A connection to a plain TCP upstream. */
export interface RawConnection {
  readonly number: number;
  readonly raw: ByteLog;
  readonly socket: Socket;
}

export interface RawUpstream extends Listener {
  readonly connections: readonly RawConnection[];
  /** Bytes received on all connections. */
  received(): number;
}

export interface RawUpstreamOptions extends Answers<RawConnection> {
  readonly host?: string;
}

/** Plain TCP. */
export async function rawUpstream(options: RawUpstreamOptions = {}): Promise<RawUpstream> {
  const connections: RawConnection[] = [];
  const answers = answerer(options);
  const listener = await listen((socket) => {
    const raw = byteLog();
    const seen: RawConnection = { number: connections.length + 1, raw, socket };
    connections.push(seen);
    note(socket, raw);
    answers.serve(socket, seen);
  }, options.host);
  return withAnswers(listener, answers, {
    connections,
    received: () => sum(connections.map(({ raw }) => raw)),
  });
}

/** A connection to a TLS upstream. What TLS says is undefined until the handshake is done. */
export interface TlsConnection {
  readonly number: number;
  /** Ciphertext as it came. */
  readonly raw: ByteLog;
  /** After TLS. */
  readonly plain: ByteLog;
  readonly socket: TLSSocket;
  /** What TLS runs on. */
  readonly transport: Socket;
  /**
   * `handshaking` until TLS is up; `accepted` or `refused` by our verdict on the client; `failed`
   * when TLS failed.
   */
  readonly state: 'handshaking' | 'accepted' | 'refused' | 'failed';
  /** Why it was refused or failed. */
  readonly problem: string | undefined;
  readonly clientCertificate: X509Certificate | undefined;
  /** Upper-case hexadecimal. */
  readonly serial: string | undefined;
  /** The client's URI SAN. */
  readonly spiffeId: string | undefined;
  readonly serverName: string | undefined;
  readonly alpn: string | undefined;
  readonly protocol: string | undefined;
  readonly resumed: boolean;
}

export interface MtlsUpstream extends Listener {
  readonly svid: TestSvid;
  readonly connections: readonly TlsConnection[];
  /** Application bytes received on all connections. */
  received(): number;
  /** What it shows from the next connection on. */
  present(svid: TestSvid): void;
}

export interface MtlsUpstreamOptions extends Answers<TlsConnection> {
  readonly authority: TestIssuer;
  /** Path of its own SPIFFE ID, or the whole ID; default '/upstream'. */
  readonly id?: string;
  /** What is wrong with its certificate. */
  readonly leaf?: LeafOptions;
  /** Shown instead of one issued by the authority. */
  readonly svid?: TestSvid;
  /** Whose clients are accepted; default the authority alone. */
  readonly trusts?: readonly TestIssuer[];
  /** The only clients accepted, by whole SPIFFE ID; default every verified one. */
  readonly allow?: readonly string[];
  /** `require` (default), `none`: not asked for, `accept`: asked for, whatever comes is served. */
  readonly client?: 'require' | 'none' | 'accept';
  /** Offer session tickets, to prove that nobody takes them. */
  readonly tickets?: boolean;
  readonly alpn?: readonly string[];
  readonly tls?: Pick<SecureContextOptions, 'minVersion' | 'maxVersion' | 'ecdhCurve' | 'ciphers'>;
  readonly host?: string;
}

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };

/** TLS, mutual by default, by node:tls on a socket whose ciphertext is written down too. */
export async function mtlsUpstream(options: MtlsUpstreamOptions): Promise<MtlsUpstream> {
  const connections: TlsConnection[] = [];
  const answers = answerer(options);
  let svid =
    options.svid ?? (await options.authority.svid(options.id ?? '/upstream', options.leaf));
  let context = serverContext(options, svid);
  const listener = await listen((socket) => {
    connections.push(acceptTls(socket, connections.length + 1, { options, context, answers }));
  }, options.host);
  return withAnswers(listener, answers, {
    get svid() {
      return svid;
    },
    connections,
    received: () => sum(connections.map(({ plain }) => plain)),
    present(next: TestSvid) {
      svid = next;
      context = serverContext(options, next);
    },
  });
}

interface TlsParts {
  readonly options: MtlsUpstreamOptions;
  readonly context: SecureContext;
  readonly answers: Answerer<TlsConnection>;
}

function serverContext(
  { trusts, authority, tls, tickets = false }: MtlsUpstreamOptions,
  svid: TestSvid,
): SecureContext {
  return createSecureContext({
    minVersion: 'TLSv1.2',
    ...tls,
    cert: svid.certificatesPem,
    key: svid.privateKeyPem,
    ca: (trusts ?? [authority]).map(({ pem }) => pem),
    sessionIdContext: 'fake upstream',
    ...(!tickets && { secureOptions: constants.SSL_OP_NO_TICKET }),
  });
}

function acceptTls(
  socket: Socket,
  number: number,
  { options, context, answers }: TlsParts,
): TlsConnection {
  const raw = byteLog();
  const plain = byteLog();
  const { alpn, client = 'require' } = options;
  const secure = new TLSSocket(
    tapped(socket, (chunk) => raw.add(chunk)),
    {
      isServer: true,
      secureContext: context,
      requestCert: client !== 'none',
      rejectUnauthorized: false,
      ...(alpn !== undefined && { ALPNProtocols: [...alpn] }),
    },
  );
  note(secure, plain);
  const seen: Mutable<TlsConnection> = {
    number,
    raw,
    plain,
    socket: secure,
    transport: socket,
    state: 'handshaking',
    ...NOTHING,
  };
  secure.on('error', (problem) => {
    if (seen.state === 'handshaking')
      Object.assign(seen, { state: 'failed', problem: problem.message });
  });
  secure.once('close', () => socket.destroy());
  // A handshake cannot go on with half a connection.
  socket.once(
    'end',
    () =>
      seen.state === 'handshaking' &&
      secure.destroy(new Error('the client left during the handshake')),
  );
  secure.once('secure', () => {
    describe(seen);
    seen.problem = verdict(options, seen);
    seen.state = seen.problem === undefined ? 'accepted' : 'refused';
    if (seen.problem !== undefined) {
      secure.destroy();
      return;
    }
    answers.serve(secure, seen);
  });
  return seen;
}

const NOTHING = {
  problem: undefined,
  clientCertificate: undefined,
  serial: undefined,
  spiffeId: undefined,
  serverName: undefined,
  alpn: undefined,
  protocol: undefined,
  resumed: false,
} as const;

function describe(seen: Mutable<TlsConnection>): void {
  const { socket } = seen;
  const certificate = socket.getPeerX509Certificate();
  seen.clientCertificate = certificate;
  seen.serial = certificate?.serialNumber;
  seen.spiffeId = certificate?.subjectAltName?.match(/URI:(spiffe:[^,]*)/)?.[1];
  seen.serverName = serverNameOf(socket);
  seen.alpn = socket.alpnProtocol === false ? undefined : (socket.alpnProtocol ?? undefined);
  seen.protocol = socket.getProtocol() ?? undefined;
  seen.resumed = socket.isSessionReused();
}

/** node:tls says `false` when the client named no server. */
function serverNameOf(socket: TLSSocket): string | undefined {
  const { servername } = socket as unknown as { readonly servername?: unknown };
  return typeof servername === 'string' ? servername : undefined;
}

function verdict(
  { allow, client = 'require' }: MtlsUpstreamOptions,
  seen: TlsConnection,
): string | undefined {
  if (client !== 'require') return undefined;
  if (seen.clientCertificate === undefined) return 'the client showed no certificate';
  const problem = (seen.socket as unknown as { readonly _handle: TlsHandle })._handle.verifyError();
  if (problem !== null && problem !== undefined) return problem.message;
  if (allow !== undefined && !allow.includes(seen.spiffeId ?? ''))
    return `${seen.spiffeId ?? 'nobody'} is not allowed`;
  return undefined;
}

/** What tls.Server asks too; a TLSSocket of our own making has no public form of it. */
interface TlsHandle {
  verifyError(): Error | null | undefined;
}

/** The raw socket as a stream that shows every received chunk first. */
function tapped(raw: Socket, note: (chunk: Buffer) => void): Duplex {
  const duplex = new Duplex({
    allowHalfOpen: true,
    read: () => void raw.resume(),
    write: (chunk: Buffer, _encoding, done) =>
      void raw.write(chunk, (failure) => done(failure ?? null)),
    final: (done) => void raw.end(() => done()),
    destroy(failure, done) {
      raw.destroy();
      done(failure);
    },
  });
  raw.on('data', (chunk: Buffer) => {
    note(chunk);
    if (!duplex.push(chunk)) raw.pause();
  });
  raw.once('end', () => duplex.push(null));
  raw.once('close', () => duplex.destroy());
  return duplex;
}

function sum(logs: readonly ByteLog[]): number {
  return logs.reduce((total, log) => total + log.total, 0);
}

function withAnswers<T extends object, Seen>(
  listener: Listener,
  answers: Answerer<Seen>,
  more: T,
): Listener & T {
  return Object.defineProperties(
    {
      ...listener,
      async [Symbol.asyncDispose]() {
        answers.close();
        await listener[Symbol.asyncDispose]();
      },
    },
    Object.getOwnPropertyDescriptors(more),
  ) as Listener & T;
}
