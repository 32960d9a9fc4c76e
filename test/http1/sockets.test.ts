import { Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import t from 'tap';
import { release } from '../../lib/http1/sockets.ts';

t.test('a chunk gives its memory back only when it is all of that memory', async (t) => {
  const socket = new Socket();
  const foreign = Buffer.from(new ArrayBuffer(16_384));
  release(foreign, new PassThrough());
  t.equal(foreign.length, 16_384, "what other streams hand on may be somebody else's");
  const whole = Buffer.from(new ArrayBuffer(16_384)).fill(1);
  release(whole, socket);
  t.equal(whole.length, 0);
  const shared = new ArrayBuffer(16_384);
  const [first, second] = [Buffer.from(shared, 0, 8192).fill(1), Buffer.from(shared, 8192).fill(2)];
  release(first, socket);
  t.equal(first.length, 8192, 'somebody else may be looking at the rest');
  t.equal(second[0], 2);
  const small = Buffer.from(new ArrayBuffer(100));
  release(small, socket);
  t.equal(small.length, 100, 'not worth it');
});
