/**
 * Heads from values to text (latin1, one byte a character). Only what is asked for is written:
 * fields as given, framing and connection options from the typed properties. A field or value that
 * could change the message's meaning is a TypeError, so nothing taken from a token or a tool's name
 * splits a head.
 */
import { TOKEN, VISIBLE, consistsOf } from '../http/grammar.ts';
import type { Fields, OutgoingRequest, OutgoingResponse } from '../http/message.ts';

/** How a body is sent: none, so many bytes, chunked, or until the connection closes. */
export type SendFraming = 'none' | number | 'chunked' | 'until-close';

const REASONS: ReadonlyMap<number, string> = new Map(
  (
    '100 Continue|101 Switching Protocols|103 Early Hints|200 OK|201 Created|202 ' +
    'Accepted|203 Non-Authoritative Information|204 No Content|205 Reset Content|' +
    '206 Partial Content|207 Multi-Status|300 Multiple Choices|301 Moved Permanently|302 ' +
    'Found|303 See Other|304 Not Modified|307 Temporary Redirect|' +
    '308 Permanent Redirect|400 Bad Request|401 Unauthorized|402 Payment Required|403 ' +
    'Forbidden|404 Not Found|405 Method Not Allowed|406 Not Acceptable|' +
    '407 Proxy Authentication Required|408 Request Timeout|409 Conflict|410 Gone|411 ' +
    'Length Required|412 Precondition Failed|413 Content Too Large|' +
    '414 URI Too Long|415 Unsupported Media Type|416 Range Not Satisfiable|417 Expectation ' +
    'Failed|421 Misdirected Request|422 Unprocessable Content|' +
    '423 Locked|424 Failed Dependency|425 Too Early|426 Upgrade Required|428 Precondition ' +
    'Required|429 Too Many Requests|' +
    '431 Request Header Fields Too Large|451 Unavailable For Legal Reasons|500 Internal ' +
    'Server Error|501 Not Implemented|502 Bad Gateway|' +
    '503 Service Unavailable|504 Gateway Timeout|505 HTTP Version Not Supported|507 ' +
    'Insufficient Storage|508 Loop Detected|' +
    '511 Network Authentication Required'
  )
    .split('|')
    .map((line) => [Number(line.slice(0, 3)), line] as const),
);

/** The whole head of a request, empty line included. */
export function requestText(head: OutgoingRequest): string {
  const { framing } = head;
  if (framing.kind === 'until-close')
    throw new TypeError('a request body cannot last until the connection closes');
  if (!consistsOf(head.method, TOKEN)) throw new TypeError('the method to send is not a token');
  if (!consistsOf(head.target, VISIBLE))
    throw new TypeError('the target to send holds a character that is not visible ASCII');
  if (head.upgrade !== undefined && framing.kind !== 'none')
    throw new TypeError('a request to upgrade cannot have a body');
  const send: SendFraming = framing.kind === 'length' ? framing.length : framing.kind;
  return (
    `${head.method} ${head.target} ` +
    `HTTP/1.1\r\n${fieldLines(head.fields)}${framingLine(send)}${upgradeLines(head.upgrade)}\r\n`
  );
}

/** The whole head of a final response or a 101, empty line included. */
export function responseText(head: OutgoingResponse, framing: SendFraming, close: boolean): string {
  const closing = close ? 'connection: close\r\n' : upgradeLines(head.upgrade);
  const status =
    head.reason === undefined ? statusLine(head.status) : reasonLine(head.status, head.reason);
  return `${status}${fieldLines(head.fields)}${framingLine(framing)}${closing}\r\n`;
}

/** An interim response (RFC 9110 section 15.2). */
export function informText(status: number, fields: Fields): string {
  if (status < 100 || status > 199 || status === 101)
    throw new TypeError(`status ${status} is not interim`);
  return `${statusLine(status)}${fieldLines(fields)}\r\n`;
}

/** The trailer section with its empty line. */
export function trailerText(fields: Fields): string {
  return `${fieldLines(fields)}\r\n`;
}

function statusLine(status: number): string {
  const known = REASONS.get(status);
  if (known !== undefined) return `HTTP/1.1 ${known}\r\n`;
  if (!Number.isInteger(status) || status < 100 || status > 599)
    throw new TypeError(`${status} is not a status`);
  return `HTTP/1.1 ${status} \r\n`;
}

/** A status line in words of our own (RFC 9112 section 4). */
function reasonLine(status: number, reason: string): string {
  if (!REASONS.has(status)) throw new TypeError(`${status} has no words of its own`);
  if (!/^[ -~]*$/.test(reason)) throw new TypeError('a reason phrase is printable ASCII');
  return `HTTP/1.1 ${status} ${reason}\r\n`;
}

function framingLine(framing: SendFraming): string {
  if (typeof framing === 'number') return `content-length: ${framing}\r\n`;
  return framing === 'chunked' ? 'transfer-encoding: chunked\r\n' : '';
}

function upgradeLines(token: string | undefined): string {
  if (token === undefined) return '';
  if (!/^[\w!#$%&'*+\-.^`|~]+(\/[\w!#$%&'*+\-.^`|~]+)?$/.test(token))
    throw new TypeError('the protocol to upgrade to is not a token');
  return `connection: upgrade\r\nupgrade: ${token}\r\n`;
}

function fieldLines(fields: Fields): string {
  let text = '';
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] as string;
    const value = fields[i + 1];
    checkName(name);
    if (value === undefined || NOT_VALUE.test(value))
      throw new TypeError(`the value of "${name}" cannot be sent in a head`);
    text += `${name}: ${value}\r\n`;
  }
  return text;
}

/**
 * Anything but a token in lower case (RFC 9110 section 5.6.2), and anything but HTAB, SP, VCHAR and
 * obs-text. Faster here than a walk over a slice's characters.
 */
const NOT_NAME = /[^!#$%&'*+\-.^_`|~0-9a-z]/;
const NOT_VALUE = /[^\t\x20-\x7e\x80-\xff]/;

function checkName(name: string): void {
  if (NOT_NAME.test(name)) throw new TypeError('a field name to send is not a lower-case token');
  switch (name.length) {
    case 0:
      throw new TypeError('a field name to send is empty');
    case 7:
    case 10:
    case 14:
    case 17:
      if (RESERVED.has(name)) throw new TypeError(`"${name}" is written by the serialiser alone`);
      break;
    default:
  }
}

/** Their lengths stand in `checkName`. */
const RESERVED: ReadonlySet<string> = new Set([
  'upgrade',
  'connection',
  'keep-alive',
  'content-length',
  'transfer-encoding',
]);
