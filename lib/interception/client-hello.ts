/**
 * Reads the ClientHello that opens somebody else's TLS connection (RFC 8446 section 4.1.2), to
 * learn the one server name it asks for. Rules:
 * - pure, strict and bounded: at most 16 KiB of handshake in at most 32 records, reassembled across
 *   them; every length is checked;
 * - values unknown to us (GREASE, RFC 8701) are stepped over, a repeated extension is not;
 * - anything that cannot be one well-formed ClientHello is refused with a Fault `malformed`, at the
 *   first byte that shows it.
 */
import { isIP } from 'node:net';
import { Fault } from '../base/fault.ts';

export interface ClientHello {
  /**
   * Lower-case host name of the server_name extension (RFC 6066 section 3); undefined when there is
   * no such extension.
   */
  readonly serverName: string | undefined;
  /**
   * Whether encrypted_client_hello (RFC 9849) is there: then `serverName` says nothing about the
   * name really asked for.
   */
  readonly ech: boolean;
  /** Protocol names offered by ALPN (RFC 7301), in order. */
  readonly alpn: string[];
  /** It offers nothing newer than TLS 1.1, which nobody may use (RFC 8996). */
  readonly old?: true;
}

export const MAX_HANDSHAKE = 16_384;
export const MAX_RECORDS = 32;

/** The most bytes ever looked at; a caller need buffer no more. */
export const MAX_CLIENT_HELLO_BYTES = MAX_HANDSHAKE + 4 + MAX_RECORDS * 5;

const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const SERVER_NAME = 0;
const ALPN = 16;
const SUPPORTED_VERSIONS = 43;
const TLS_1_2 = 0x0303;
const TLS_1_3 = 0x0304;
const PRE_SHARED_KEY = 41;
const ENCRYPTED_CLIENT_HELLO = 0xfe0d;
/** Its draft ancestor, encrypted_server_name. */
const ENCRYPTED_SERVER_NAME = 0xffce;

/**
 * `more` while `prefix` (all bytes since the start of the connection) is the beginning of a
 * ClientHello.
 */
export function readClientHello(prefix: Buffer): 'more' | ClientHello {
  const message = reassemble(prefix);
  return message === 'more' ? 'more' : parse(message);
}

const refuse = (problem: string): Fault =>
  new Fault('malformed', `the tunnel does not begin with a TLS ClientHello: ${problem}`, {
    hint:
      'inside this tunnel the client itself must speak TLS: use an http:// URL for HTTP ' +
      'without it, protocol: tcp for anything else',
  });

/**
 * Body of the first handshake message, which must be a ClientHello and fill its records exactly.
 */
function reassemble(prefix: Buffer): Buffer | 'more' {
  const parts: Buffer[] = [];
  let have = 0;
  let at = 0;
  for (let records = 0; ; records += 1) {
    const wanted = lengthOf(parts);
    if (wanted !== undefined && have >= wanted) {
      if (have > wanted) throw refuse('bytes follow it in its record');
      return Buffer.concat(parts).subarray(4);
    }
    if (records === MAX_RECORDS) throw refuse(`it takes more than ${MAX_RECORDS} records`);
    const part = record(prefix.subarray(at));
    if (part === 'more') return 'more';
    parts.push(part.bytes);
    have += part.bytes.length;
    at += 5 + part.bytes.length;
    if (!part.whole) {
      lengthOf(parts);
      return 'more';
    }
  }
}

/** Length of the handshake message with its header, once its four bytes are there. */
function lengthOf(parts: readonly Buffer[]): number | undefined {
  const first = parts[0];
  if (first === undefined) return undefined;
  const head = first.length >= 4 ? first : Buffer.concat(parts);
  if (head.length > 0 && head[0] !== CLIENT_HELLO)
    throw refuse(`its first handshake message has type ${head[0]}`);
  if (head.length < 4) return undefined;
  const length = head.readUIntBE(1, 3);
  if (length > MAX_HANDSHAKE)
    throw refuse(`it is ${length} bytes long, at most ${MAX_HANDSHAKE} are read`);
  return length + 4;
}

/** One record of handshake bytes at the front; `whole` is false when more of it is to come. */
function record(bytes: Buffer): { bytes: Buffer; whole: boolean } | 'more' {
  if (bytes.length > 0 && bytes[0] !== HANDSHAKE)
    throw refuse(`its first byte is ${bytes[0]}, no TLS handshake`);
  if (bytes.length > 1 && bytes[1] !== 3)
    throw refuse(`it speaks version ${bytes[1]} of the record protocol`);
  if (bytes.length < 5) return 'more';
  const length = bytes.readUInt16BE(3);
  if (length === 0 || length > MAX_HANDSHAKE) throw refuse(`a record of ${length} bytes`);
  const body = bytes.subarray(5, 5 + length);
  return { bytes: body, whole: body.length === length };
}

/** Reads vectors from the front of bytes; every read that does not fit is a Fault. */
interface Reader {
  readonly left: number;
  uint(width: 1 | 2): number;
  take(length: number): Buffer;
  /** A vector whose length field is `width` bytes wide. */
  vector(width: 1 | 2): Buffer;
}

function reader(bytes: Buffer, what: string): Reader {
  let at = 0;
  const take = (length: number): Buffer => {
    if (length > bytes.length - at) throw refuse(`${what} ends early`);
    at += length;
    return bytes.subarray(at - length, at);
  };
  const uint = (width: 1 | 2): number => take(width).readUIntBE(0, width);
  return {
    get left() {
      return bytes.length - at;
    },
    uint,
    take,
    vector: (width) => take(uint(width)),
  };
}

function parse(message: Buffer): ClientHello {
  const hello = reader(message, 'the message');
  const version = hello.uint(2);
  if (version < 0x0301 || version > 0x0303)
    throw refuse(`it says version 0x${version.toString(16)}`);
  hello.take(32);
  if (hello.vector(1).length > 32) throw refuse('its session id is longer than 32 bytes');
  const suites = hello.vector(2);
  if (suites.length < 2 || suites.length % 2 === 1)
    throw refuse('its list of cipher suites is not one');
  if (!hello.vector(1).includes(0)) throw refuse('it does not offer the null compression');
  if (hello.left === 0)
    return { serverName: undefined, ech: false, alpn: [], ...age(version, undefined) };
  const extensions = extensionsOf(hello.vector(2));
  if (hello.left > 0) throw refuse('bytes follow its extensions');
  const name = extensions.get(SERVER_NAME);
  const alpn = extensions.get(ALPN);
  return {
    serverName: name === undefined ? undefined : serverName(name),
    ech: extensions.has(ENCRYPTED_CLIENT_HELLO) || extensions.has(ENCRYPTED_SERVER_NAME),
    alpn: alpn === undefined ? [] : protocols(alpn),
    ...age(version, extensions.get(SUPPORTED_VERSIONS)),
  };
}

/** RFC 8446 section 4.2.1: where the extension is there it alone counts. */
function age(version: number, extension: Buffer | undefined): { readonly old?: true } {
  if (extension === undefined) return version < TLS_1_2 ? { old: true } : {};
  const outer = reader(extension, 'the supported_versions extension');
  const list = reader(outer.vector(1), 'the list of versions');
  const offered: number[] = [];
  while (list.left > 0) offered.push(list.uint(2));
  if (outer.left > 0) throw refuse('bytes follow its list of versions');
  return offered.some((one) => one === TLS_1_2 || one === TLS_1_3) ? {} : { old: true };
}

function extensionsOf(bytes: Buffer): ReadonlyMap<number, Buffer> {
  const list = reader(bytes, 'the list of extensions');
  const extensions = new Map<number, Buffer>();
  while (list.left > 0) {
    if (extensions.has(PRE_SHARED_KEY))
      throw refuse('an extension follows pre_shared_key, which must be last');
    const type = list.uint(2);
    if (extensions.has(type)) throw refuse(`extension ${type} is there twice`);
    extensions.set(type, list.vector(2));
  }
  return extensions;
}

function serverName(extension: Buffer): string {
  const outer = reader(extension, 'the server_name extension');
  const names = reader(outer.vector(2), 'the list of server names');
  if (names.uint(1) !== 0) throw refuse('its server name is of an unknown type');
  const name = names.vector(2).toString('latin1').toLowerCase();
  if (names.left > 0 || outer.left > 0) throw refuse('it asks for more than one server name');
  if (
    name.length > 253 ||
    !/^(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}$/.test(name) ||
    isIP(name) !== 0
  ) {
    throw refuse('its server name is not a host name');
  }
  return name;
}

function protocols(extension: Buffer): string[] {
  const outer = reader(extension, 'the ALPN extension');
  const list = reader(outer.vector(2), 'the list of protocols');
  const names: string[] = [];
  while (list.left > 0) {
    const name = list.vector(1);
    if (name.length === 0) throw refuse('a protocol name is empty');
    names.push(name.toString('latin1'));
  }
  if (names.length === 0 || outer.left > 0)
    throw refuse('its ALPN extension is not a list of names');
  return names;
}
