import { connect, type Socket } from 'node:net';
import t from 'tap';
import { until } from '../../support/until.ts';
import { testSidecarProcess, noProc } from '../../support/sidecar-process.ts';

const MOST = 200;
const USED = 20;
const FLOOD = 5000;
const BATCH = 500;
const MEBIBYTE = 1024 * 1024;

t.setTimeout(180_000);

t.test(
  `of ${FLOOD} connections at once it keeps ${MOST}, those in use among them, in bounded memory, and recovers (R2, R3)`,
  { skip: noProc },
  async (t) => {
    await using s = await testSidecarProcess({
      more: `  listeners: { maxConnections: ${MOST} }\n`,
    });
    t.equal(await s.get('/v1/customers'), 200);
    const used = await Promise.all(Array.from({ length: USED }, () => s.tunnel()));
    const idle = await Promise.all(Array.from({ length: MOST - USED }, () => s.open()));
    await until('they are accepted', () => s.sockets() >= MOST - 1, 10_000);
    const before = s.memory();
    const port = idle[0]?.socket.remotePort ?? 0;
    let closed = 0;
    let most = 0;
    for (let left = FLOOD; left > 0; left -= BATCH) {
      const flood = Array.from({ length: BATCH }, () => flooding(port, () => closed++));
      const target = FLOOD - left + BATCH - MOST;
      await until('the flood is turned away', () => closed >= target, 30_000);
      most = Math.max(most, s.memory() - before);
      for (const socket of flood) socket.destroy();
      await until('all of it is gone', () => flood.every(({ closed: gone }) => gone), 10_000);
    }
    t.ok(most < 64 * MEBIBYTE, `${Math.round(most / MEBIBYTE)} MiB more at most`);
    t.notOk(
      used.some(({ socket }) => socket.destroyed),
      'what is in use stays',
    );
    await until(
      'what said nothing made room',
      () => idle.every(({ socket }) => socket.destroyed),
      20_000,
    );
    used[0]?.write('pong');
    await used[0]?.sees('pong');
    for (const { socket } of used) socket.destroy();
    await until(
      'there is room again',
      async () => (await s.get('/v1/customers').catch(() => 0)) === 200,
      20_000,
    );
    await until('no socket is left of it', () => s.sockets() < 30, 20_000);
  },
);

/** A connection that asks for nothing. */
function flooding(port: number, over: () => void): Socket {
  const socket = connect({ host: '127.0.0.1', port });
  let told = false;
  const tell = (): void => {
    if (!told) over();
    told = true;
  };
  socket
    .on('error', () => {})
    .on('end', tell)
    .on('close', tell)
    .resume();
  return socket;
}
