/** A DNS server on a loopback address, which answers A and AAAA questions as it is told. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { isIPv4 } from 'node:net';

/** Addresses, a failure, or no answer at all. */
export type Answer = readonly string[] | 'NXDOMAIN' | 'SERVFAIL' | 'silence';

export interface DnsServer extends AsyncDisposable {
  /** Names asked for so far, with their trailing dot. */
  readonly asked: readonly string[];
  readonly port: number;
}

const HEADER = 12;
const RECURSION = 0x80;
const A = 1;
const AAAA = 28;
const CODES = { NXDOMAIN: 3, SERVFAIL: 2 } as const;

/** Rejects where the address cannot be bound (port 53 is for the privileged). */
export async function dnsServer(
  address: string,
  answer: (name: string, kind: 'A' | 'AAAA') => Answer,
  port = 53,
): Promise<DnsServer> {
  const asked: string[] = [];
  const socket = createSocket('udp4');
  socket.on('message', (question, from) => {
    const { name, end } = nameAt(question);
    asked.push(name);
    const said = answer(name, question.readUInt16BE(end) === A ? 'A' : 'AAAA');
    if (said !== 'silence')
      socket.send(reply(question.subarray(0, end + 4), said), from.port, from.address);
  });
  socket.bind(port, address);
  await once(socket, 'listening');
  return {
    asked,
    port: socket.address().port,
    async [Symbol.asyncDispose]() {
      const closed = once(socket, 'close');
      socket.close();
      await closed;
    },
  };
}

function nameAt(question: Buffer): { readonly name: string; readonly end: number } {
  let name = '';
  let at = HEADER;
  for (let size = question[at] ?? 0; size > 0; size = question[at] ?? 0) {
    name += `${question.toString('latin1', at + 1, at + 1 + size)}.`;
    at += 1 + size;
  }
  return { name, end: at + 1 };
}

/** RFC 1035 section 4: the question with its header turned into an answer's, and the records. */
function reply(question: Buffer, said: Exclude<Answer, 'silence'>): Buffer {
  const head = Buffer.from(question);
  const asksA = head.readUInt16BE(head.length - 4) === A;
  const addresses = typeof said === 'string' ? [] : said.filter((one) => isIPv4(one) === asksA);
  head.writeUInt8(0x81, 2);
  head.writeUInt8(RECURSION | (typeof said === 'string' ? CODES[said] : 0), 3);
  head.writeUInt16BE(addresses.length, 6);
  head.writeUInt32BE(0, 8);
  return Buffer.concat([head, ...addresses.map(record)]);
}

function record(address: string): Buffer {
  const v4 = isIPv4(address);
  const bytes = v4 ? Buffer.from(address.split('.').map(Number)) : v6Bytes(address);
  return Buffer.concat([
    Buffer.from([0xc0, HEADER, 0, v4 ? A : AAAA, 0, 1, 0, 0, 0, 0, 0, bytes.length]),
    bytes,
  ]);
}

/** Of an address with at most one `::`. */
function v6Bytes(address: string): Buffer {
  const [before = '', after] = address.split('::');
  const groups = (text = ''): string[] => text.split(':').filter((group) => group !== '');
  const [left, right] = [groups(before), groups(after)];
  const all = [
    ...left,
    ...Array.from({ length: 8 - left.length - right.length }, () => '0'),
    ...right,
  ];
  return Buffer.from(all.map((group) => group.padStart(4, '0')).join(''), 'hex');
}
