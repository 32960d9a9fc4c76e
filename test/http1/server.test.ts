import t from 'tap';
import { Fault } from '../../lib/base/fault.ts';
import { httpLimits } from '../../lib/http/limits.ts';
import type { ServerExchange } from '../../lib/http/server-exchange.ts';
import { HOST, accept, dial, echo, get, head, manualClock, post, serve, until } from './wire.ts';

t.test(
  'requests on one connection are answered in order, one at a time, however they are pipelined (F5)',
  async (t) => {
    let under = 0;
    await using server = await serve(async (x) => {
      t.equal(++under, 1, 'one at a time');
      await new Promise((resolve) => setTimeout(resolve, x.head.target === '/slow' ? 20 : 0));
      await echo(x);
      under--;
    });
    await using raw = await dial(server.port);
    raw.send(
      get('/slow') +
        post('abc') +
        head('POST /c HTTP/1.1', HOST, 'Transfer-Encoding: chunked') +
        '2\r\nde\r\n0\r\n\r\n' +
        get('/last'),
    );
    const text = await raw.sees('/last');
    t.strictSame(
      [...text.matchAll(/x-target: (\S+)/g)].map((found) => found[1]),
      ['/slow', '/', '/c', '/last'],
    );
    t.match(
      text,
      /\r\n\r\nabcHTTP\/1\.1 200 OK\r\nx-target: \/c\r\ncontent-length: 2\r\n\r\ndeHTTP/,
    );
    raw.send(get('/again'));
    await raw.sees('/again');
  },
);

t.test(
  'what cannot be parsed is answered once, and what comes after it is never read (F1, F4, F5)',
  async (t) => {
    const cases: readonly (readonly [string, number])[] = [
      [head('GET / HTTP/1.1', HOST, HOST), 400],
      [head('POST / HTTP/1.1', HOST, 'Content-Length: 3', 'Transfer-Encoding: chunked'), 400],
      ['GET / HTTP/1.1\n\n', 400],
      [head(`GET /${'a'.repeat(9000)} HTTP/1.1`, HOST), 414],
      [get('/', `X: ${'a'.repeat(20_000)}`), 431],
      [post('a', 'Expect: x'), 417],
      [head('get / HTTP/1.1', HOST), 501],
    ];
    for (const [text, status] of cases) {
      let handled = 0;
      await using server = await serve(async (x) => {
        handled++;
        await echo(x);
      });
      await using raw = await dial(server.port);
      raw.send(text + get('/smuggled'));
      const answer = await raw.over();
      t.match(answer, new RegExp(`^HTTP/1\\.1 ${status} [^]*connection: close\r\n`));
      t.equal(answer.split('HTTP/1.1').length, 2, 'one answer');
      t.equal(handled, 0);
      await server.empty();
    }
  },
);

t.test('a malformed body cuts short the handler and the connection (F1)', async (t) => {
  await using server = await serve(echo);
  await using raw = await dial(server.port);
  raw.send(
    `${head('POST / HTTP/1.1', HOST, 'Transfer-Encoding: chunked')}5;x\r\nhello\r\n0\r\n\r\n${get('/smuggled')}`,
  );
  const answer = await raw.over();
  t.match(answer, /^HTTP\/1\.1 400 /);
  t.notMatch(answer, 'smuggled');
});

t.test(
  'a client that waits for 100 gets it from the handler, and only then sends (F8)',
  async (t) => {
    await using server = await serve(async (x) => {
      t.ok(x.head.expectContinue);
      x.inform(103, ['link', '</a>']);
      x.inform(100, []);
      await echo(x);
      t.throws(() => x.inform(100, []), TypeError);
    });
    await using raw = await dial(server.port);
    raw.send(head('POST / HTTP/1.1', HOST, 'Content-Length: 3', 'Expect: 100-continue'));
    t.equal(
      await raw.sees('100 Continue\r\n\r\n'),
      'HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n',
    );
    raw.send('abc');
    await raw.sees(/200 OK[^]*abc$/);
  },
);

t.test(
  'an answer before a body that nobody reads says close, is readable, and ends the connection (F3, F8)',
  async (t) => {
    for (const sent of ['', 'a'.repeat(100_000)]) {
      await using server = await serve(async (x) =>
        x.respond({ status: 413, fields: [], length: undefined }, Buffer.from('no')),
      );
      await using raw = await dial(server.port);
      raw.send(
        head('POST / HTTP/1.1', HOST, 'Content-Length: 200000', 'Expect: 100-continue') + sent,
      );
      const text = await raw.over();
      t.match(text, /^HTTP\/1\.1 413 [^]*connection: close\r\n\r\nno$/);
      t.equal(raw.error, undefined, 'no reset');
      await server.empty();
    }
  },
);

t.test('a small body that is at hand but not read does not cost the connection', async (t) => {
  await using server = await serve(async (x) => x.respond({ status: 403, fields: [], length: 0 }));
  await using raw = await dial(server.port);
  raw.send(post('abc'));
  t.notMatch(await raw.sees('\r\n\r\n'), 'close');
  raw.send(get());
  await raw.sees(/403[^]*403/);
});

t.test(
  'a client that half-closes after its request gets its answer, and its signal does not abort',
  async (t) => {
    await using server = await serve(async (x) => {
      const { signal } = x.connection;
      await new Promise((resolve) => setTimeout(resolve, 30));
      t.equal(signal.aborted, false);
      await echo(x);
    });
    for (const text of [get('/a'), post('abc'), get('/a') + get('/b')]) {
      await using raw = await dial(server.port);
      raw.socket.end(text, 'latin1');
      const answer = await raw.over();
      t.equal(answer.match(/200 OK/g)?.length, text.match(/HTTP\/1\.1/g)?.length);
      await server.empty();
    }
  },
);

t.test('a client that ends in the middle of a head or a body is told 400, or gone', async (t) => {
  const seen: unknown[] = [];
  await using server = await serve(async (x) => {
    const { signal } = x.connection;
    try {
      await echo(x);
    } catch (failure) {
      seen.push(failure);
      t.ok(signal.aborted, 'the signal has aborted');
      t.equal(signal.reason, failure);
      throw failure;
    }
  });
  await using first = await dial(server.port);
  first.socket.end('GET / HTTP/1.1\r\nHo');
  t.match(await first.over(), /^HTTP\/1\.1 400 /);
  await using second = await dial(server.port);
  second.socket.end(post('abc').slice(0, -1));
  t.match(await second.over(), /^HTTP\/1\.1 499 /);
  t.match(seen, [{ code: 'client-gone' }]);
  await using third = await dial(server.port);
  third.socket.end();
  t.equal(await third.over(), '', 'nothing to answer');
  await server.empty();
});

t.test(
  'a client that resets aborts the signal, cuts its body and cancels what is sent to it',
  async (t) => {
    let gone: Fault | undefined;
    let cancelled: Error | undefined;
    let failure: unknown;
    const endless = {
      length: undefined,
      poll: () => 'later' as const,
      ready: () => new Promise<void>((_, reject) => (stop = reject)),
      trailers: () => [],
      cancel: (reason: Error) => {
        cancelled = reason;
        stop(reason);
      },
    };
    let stop: (reason: Error) => void = () => {};
    await using server = await serve(async (x) => {
      x.connection.signal.addEventListener('abort', () => (gone = x.connection.signal.reason));
      await x
        .respond({ status: 200, fields: [], length: undefined }, endless)
        .catch((caught: unknown) => (failure = caught));
    });
    await using raw = await dial(server.port);
    raw.send(get());
    await raw.sees('chunked');
    raw.socket.resetAndDestroy();
    await until(() => failure !== undefined, 'the answer to fail');
    t.match(gone, { code: 'client-gone' });
    t.equal(cancelled, gone);
    t.equal(failure, gone);
    await server.empty();
  },
);

t.test('HTTP/1.0 is answered without chunks, until close', async (t) => {
  await using server = await serve(async (x) => {
    x.inform(100, []);
    if (x.head.target === '/known')
      return x.respond({ status: 200, fields: [], length: undefined }, Buffer.from('abc'));
    let left = 2;
    const body = {
      length: undefined,
      poll: () => (left-- > 0 ? Buffer.from('ab') : ('end' as const)),
      ready: async () => {},
      trailers: () => [],
      cancel() {},
    };
    return x.respond({ status: 200, fields: [], length: undefined }, body);
  });
  for (const [path, expected] of [
    ['/', 'HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nabab'],
    ['/known', 'HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc'],
  ]) {
    await using raw = await dial(server.port);
    raw.send(head(`GET ${path} HTTP/1.0`, 'Connection: keep-alive'));
    t.equal(await raw.over(), expected);
  }
});

t.test('one empty line before a request is ignored, and no more', async (t) => {
  await using server = await serve((x) =>
    x.respond({ status: 200, fields: [], length: undefined }, Buffer.from('ok')),
  );
  for (const pieces of [[`\r\n${get()}`], ['\r', '\n', get()], ['\r\n', `${get()}\r\n${get()}`]]) {
    await using raw = await dial(server.port);
    for (const piece of pieces) {
      raw.send(piece);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await raw.sees(
      new RegExp(`^(HTTP/1.1 200 OK[^]*?ok){${pieces.join('').split('GET').length - 1}}$`),
    );
  }
  for (const bad of [
    `\r\n\r\n${get()}`,
    `\n${get()}`,
    `\r${get()}`,
    '\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  ]) {
    await using raw = await dial(server.port);
    raw.send(bad);
    t.match(await raw.over(), /^HTTP\/1.1 400/, JSON.stringify(bad));
  }
  await using slow = await dial(server.port);
  slow.send('\r\n');
  await new Promise((resolve) => setTimeout(resolve, 20));
  slow.send(`\r\n${get()}`);
  t.match(await slow.over(), /^HTTP\/1.1 400/, 'one after the other');
  await using raw = await dial(server.port);
  raw.send('\r\n');
  raw.socket.end();
  t.equal(await raw.over(), '', 'an empty line and nothing more is no request');
});

t.test('HEAD, 204 and 304 have no body whatever is given', async (t) => {
  await using server = await serve(async (x) => {
    const status = Number(x.head.target.slice(1));
    await x.respond({ status, fields: [], length: undefined }, Buffer.from('abc'));
  });
  await using raw = await dial(server.port);
  raw.send(head('HEAD /200 HTTP/1.1', HOST) + get('/204') + get('/304') + get('/200'));
  t.equal(
    await raw.sees(/abc$/),
    'HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nHTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 ' +
      '304 Not Modified\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc',
  );
});

t.test('a body that is not sent is let go of: for HEAD, 204 and 304', async (t) => {
  const reasons: string[] = [];
  await using server = await serve(async (x) => {
    const status = Number(x.head.target.slice(1));
    const body = Object.create(x.body, {
      cancel: { value: ({ message }: Error) => void reasons.push(message) },
    });
    await x.respond({ status, fields: [], length: undefined }, body);
  });
  await using raw = await dial(server.port);
  raw.send(head('HEAD /200 HTTP/1.1', HOST) + get('/204') + get('/304'));
  await raw.sees(/304 Not Modified/);
  t.same(reasons, Array(3).fill('this answer has no body'));
});

t.test('chunks, and trailers only where they are asked for (F7)', async (t) => {
  await using server = await serve(async (x) => {
    await x.respond(
      { status: 200, fields: [], length: undefined, trailers: x.head.target === '/yes' },
      x.body,
    );
  });
  await using raw = await dial(server.port);
  const chunked = (path: string): string =>
    `${head(`POST ${path} HTTP/1.1`, HOST, 'Transfer-Encoding: chunked')}3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n`;
  raw.send(chunked('/yes') + chunked('/no'));
  t.equal(
    await raw.sees(/0\r\n\r\n$/),
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-sum: ' +
      '1\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
  );
});

t.test(
  'an upgraded connection is handed over with its early bytes and without a listener of ours (T4, F5)',
  async (t) => {
    await using server = await serve(async (x) => {
      const connect = x.head.method === 'CONNECT';
      const { socket, early } = x.upgrade(
        connect
          ? { status: 200, fields: [], length: undefined }
          : { status: 101, fields: [], length: undefined, upgrade: 'websocket' },
      );
      for (const event of ['data', 'drain', 'error'])
        t.equal(socket.listenerCount(event), 0, event);
      socket.on('error', () => {});
      socket.on('data', (chunk: Buffer) => socket.end(`${early.toString()}|${chunk.toString()}`));
      socket.resume();
    });
    for (const [text, answer] of [
      [head('CONNECT a.example:443 HTTP/1.1', HOST), 'HTTP/1.1 200 OK\r\n\r\n'],
      [
        get('/', 'Connection: upgrade', 'Upgrade: websocket'),
        'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n',
      ],
    ]) {
      await using raw = await dial(server.port);
      raw.send(`${text}${get('/tunnelled')}`);
      await raw.sees(answer ?? '');
      raw.send('more');
      t.equal(await raw.over(), `${answer}${get('/tunnelled')}|more`);
    }
  },
);

t.test(
  'bytes after a refused CONNECT or a refused upgrade are never read as a request (F5)',
  async (t) => {
    let handled = 0;
    await using server = await serve(async (x) => {
      handled++;
      t.throws(
        () =>
          x.upgrade({
            status: 200,
            fields: [],
            length: 0,
            ...(x.head.method === 'GET' ? {} : { status: 101 }),
          }),
        TypeError,
      );
      await x.respond({ status: 403, fields: [], length: 0 });
    });
    for (const text of [
      head('CONNECT a.example:443 HTTP/1.1', HOST),
      get('/', 'Connection: upgrade', 'Upgrade: websocket'),
    ]) {
      await using raw = await dial(server.port);
      raw.send(text + get('/smuggled'));
      t.equal((await raw.over()).split('HTTP/1.1').length, 2);
    }
    t.equal(handled, 2);
  },
);

t.test('misuse of an exchange is a TypeError, and the client is told 500', async (t) => {
  const misuses: readonly ((x: ServerExchange) => Promise<void>)[] = [
    async (x) => x.respond({ status: 100, fields: [], length: 0 }),
    async (x) => x.respond({ status: 200, fields: [], length: 5 }, Buffer.from('abc')),
    async (x) => x.respond({ status: 200, fields: [], length: 5 }),
    async (x) => x.respond({ status: 200, fields: ['content-length', '3'], length: 0 }),
    async (x) => x.respond({ status: 200, fields: ['x', 'a\r\nb: c'], length: 0 }),
    async (x) => void x.upgrade({ status: 101, fields: [], length: 0, upgrade: 'x' }),
    async () => {
      throw new Error('a bug');
    },
    async () => {},
  ];
  for (const misuse of misuses) {
    await using server = await serve(misuse);
    await using raw = await dial(server.port);
    raw.send(post('abc'));
    t.match(await raw.over(), /^HTTP\/1\.1 500 /);
  }
  await using server = await serve(async (x) => {
    await x.respond({ status: 200, fields: [], length: 0 });
    await t.rejects(x.respond({ status: 200, fields: [], length: 0 }), TypeError);
  });
  await using raw = await dial(server.port);
  raw.send(get());
  await raw.sees('200');
});

t.test(
  'a cut, a body cut and a body of the wrong length look cut to the client, by a reset',
  async (t) => {
    const body = (pieces: readonly (Buffer | Fault)[]) => {
      const left = [...pieces];
      return {
        length: undefined,
        poll() {
          const piece = left.shift();
          if (piece instanceof Fault) throw piece;
          return piece ?? ('end' as const);
        },
        ready: async () => {},
        trailers: () => [],
        cancel() {},
      };
    };
    const cut = new Fault('upstream-cut', 'gone');
    const cases: readonly (readonly [string, (x: ServerExchange) => Promise<void>])[] = [
      [
        'upstream-cut',
        async (x) =>
          x.respond(
            { status: 200, fields: [], length: undefined },
            body([Buffer.from('a'), Buffer.from('b'), cut]),
          ),
      ],
      [
        'internal',
        async (x) => x.respond({ status: 200, fields: [], length: 3 }, body([Buffer.from('a')])),
      ],
      [
        'internal',
        async (x) => x.respond({ status: 200, fields: [], length: 3 }, body([Buffer.from('abcd')])),
      ],
      ['none', async (x) => x.abort(cut)],
    ];
    for (const [code, act] of cases) {
      let failure: unknown;
      await using server = await serve(async (x) =>
        act(x).catch((caught: unknown) => void (failure = caught)),
      );
      await using raw = await dial(server.port);
      raw.send(get());
      await until(() => raw.error !== undefined, 'the reset');
      t.equal(raw.error?.code, 'ECONNRESET');
      if (code === 'none') t.equal(failure, undefined);
      else t.match(failure, { code });
      t.notMatch(raw.text, /0\r\n\r\n$/, 'no proper end');
      await server.empty();
    }
  },
);

t.test(
  'a draining server closes idle connections at once and the others after their answer',
  async (t) => {
    const draining = new AbortController();
    let go: () => void = () => {};
    await using server = await serve(
      async (x) => {
        if (x.head.target === '/slow') await new Promise<void>((resolve) => (go = resolve));
        await echo(x);
      },
      { draining: draining.signal },
    );
    await using idle = await dial(server.port);
    idle.send(get());
    await idle.sees('200');
    await using busy = await dial(server.port);
    busy.send(get('/slow'));
    await until(() => server.connections.size === 2, 'both');
    await new Promise((resolve) => setTimeout(resolve, 20));
    draining.abort(new Fault('shutting-down', 'test'));
    t.notMatch(await idle.over(), 'close');
    go();
    t.match(await busy.over(), /connection: close/);
    await server.empty();
  },
);

t.test('a connection tells who it is and what it carried', async (t) => {
  let written = 0;
  await using server = await serve(async (x) => {
    t.match(x.connection.remote, /^127\.0\.0\.1:\d+$/);
    t.equal(x.connection.local, `127.0.0.1:${server.port}`);
    t.equal(x.connection.bytesRead, post('abc').length);
    await echo(x);
    written = x.connection.bytesWritten;
  });
  await using raw = await dial(server.port);
  raw.send(post('abc'));
  t.equal((await raw.sees(/abc$/)).length, written);
});

t.test('a socket that is closed already is served in no time', async () => {
  const { serveConnection } = await import('../../lib/http1/server.ts');
  const done = Promise.withResolvers<void>();
  await using server = await accept((socket) => {
    socket.destroy();
    const options = {
      limits: httpLimits(),
      clock: manualClock(),
      draining: new AbortController().signal,
      handle: async () => {},
      refuse: () => ({ head: { status: 400, fields: [], length: 0 }, body: Buffer.alloc(0) }),
    };
    serveConnection(socket, options).then(done.resolve, done.reject);
  });
  await using raw = await dial(server.port);
  await done.promise;
  await raw.over();
});
