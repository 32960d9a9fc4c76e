/** A DNS server on a loopback address, which answers A questions as it is told and AAAA questions with nothing. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';

/** Addresses, a failure, or no answer at all. */
export type Answer = readonly string[] | 'NXDOMAIN' | 'SERVFAIL' | 'silence';

export interface DnsServer extends AsyncDisposable {
  /** Names asked for so far, with their trailing dot. */
  readonly asked: readonly string[];
}

const HEADER = 12;
const RECURSION = 0x80;
const A = 1;
const CODES = { NXDOMAIN: 3, SERVFAIL: 2 } as const;

/** Rejects where the address cannot be bound (port 53 is for the privileged). */
export async function dnsServer(address: string, answer: (name: string) => Answer): Promise<DnsServer> {
  const asked: string[] = [];
  const socket = createSocket('udp4');
  socket.on('message', (question, from) => {
    const { name, end } = nameAt(question);
    asked.push(name);
    const said = answer(name);
    if (said !== 'silence') socket.send(reply(question.subarray(0, end + 4), said), from.port, from.address);
  });
  socket.bind(53, address);
  await once(socket, 'listening');
  return {
    asked,
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
  const addresses = typeof said === 'string' || !asksA ? [] : said;
  head.writeUInt8(0x81, 2);
  head.writeUInt8(RECURSION | (typeof said === 'string' ? CODES[said] : 0), 3);
  head.writeUInt16BE(addresses.length, 6);
  head.writeUInt32BE(0, 8);
  const records = addresses.map((address) =>
    Buffer.from([0xc0, HEADER, 0, A, 0, 1, 0, 0, 0, 0, 0, 4, ...address.split('.').map(Number)]),
  );
  return Buffer.concat([head, ...records]);
}
