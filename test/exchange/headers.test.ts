import fc from 'fast-check';
import t from 'tap';
import { fieldRules } from '../../lib/exchange/headers.ts';
import type { FieldNames } from '../../lib/policy/model/field-table.ts';
import { SIDECAR, destination as document, load, problemsOf } from '../config/documents.ts';
import { refusal, statusOf } from '../support/agent.ts';
import { policyOf, rule, testDestination } from '../support/destination.ts';
import { call, mcpDestination, mcpServer, post, result } from '../support/mcp.ts';
import { testProxy } from '../support/proxy.ts';
import { until } from '../support/until.ts';
import { rawUpstream } from '../support/upstream.ts';

const rules = fieldRules({ pseudonym: 'chaperone-test' });
const VIA = ['via', '1.1 chaperone-test'];

const STRIPPED =
  `connection keep-alive proxy-connection te trailer transfer-encoding upgrade http2-settings
  proxy-authorization proxy-authenticate host content-length expect max-forwards forwarded
  x-real-ip x-client-ip client-cert client-cert-chain x-forwarded-for x-forwarded-host
  x-forwarded-proto x-forwarded-client-cert x-forwarded-anything x-spiffe-id x-task-id
  chaperone-decision chaperone-anything proxy`.split(/\s+/);

t.test(
  'strips hop-by-hop fields and claims of identity, origin and task, underscores or not (H1, H3, H4, S14)',
  async (t) => {
    for (const name of STRIPPED) {
      for (const spelt of [name, name.replaceAll('-', '_')]) {
        if (name === 'connection') continue;
        t.same(rules.request([spelt, 'spoofed', 'accept', '*/*']), ['accept', '*/*'], spelt);
      }
    }
  },
);

t.test(
  'fields that Connection names are taken away, the others pass in order (H2, RFC 9110 section 7.6.1)',
  async (t) => {
    t.same(
      rules.request(['connection', 'close, X-Hop', 'a', '1', 'x-hop', '2', 'b', '3', 'a', '4']),
      ['a', '1', 'b', '3', 'a', '4'],
    );
    t.same(
      rules.response(['connection', 'x-hop', 'x-hop', '2', 'set-cookie', 'a', 'set-cookie', 'b']),
      ['set-cookie', 'a', 'set-cookie', 'b', ...VIA],
    );
    t.same(rules.response(['connection', 'content-type', 'content-type', 'a/b']), [
      'content-type',
      'a/b',
      ...VIA,
    ]);
  },
);

t.test(
  "an upstream's claims in our name, and where it invites the agent to elsewhere, do not pass",
  async (t) => {
    t.same(
      rules.response([
        'chaperone-decision',
        'x',
        'alt-svc',
        'h3=":443"',
        'proxy-authenticate',
        'Basic',
        'x-kept',
        '1',
      ]),
      ['x-kept', '1', ...VIA],
    );
  },
);

t.test(
  'a request that has been through this process is a loop; one through another is not (H7)',
  async (t) => {
    t.throws(() => rules.request(['via', '1.1 other, 1.1 chaperone-test']), { code: 'loop' });
    t.same(rules.request(['via', '1.1 chaperone-other']), ['via', '1.1 chaperone-other']);
    t.equal(rules.via, VIA[1]);
  },
);

t.test('whatever the agent sends, nothing of the table reaches the upstream (H1, H5)', async () => {
  const name = fc
    .oneof(
      fc.constantFrom(...STRIPPED.filter((one) => one !== 'connection')),
      fc.stringMatching(/^[a-z][a-z_-]{0,12}$/),
    )
    .map((one) => one);
  const spelt = fc
    .tuple(name, fc.boolean())
    .map(([one, under]) => (under ? one.replaceAll('-', '_') : one));
  fc.assert(
    fc.property(fc.array(fc.tuple(spelt, fc.constant('v')), { maxLength: 12 }), (lines) => {
      let sent: string[];
      try {
        sent = rules.request(lines.flat());
      } catch {
        return true;
      }
      const names = sent.filter((_, i) => i % 2 === 0).map((one) => one.replaceAll('_', '-'));
      return names.every(
        (one) => !STRIPPED.includes(one) && !/^(chaperone-|x-forwarded|x-spiffe|x-task)/.test(one),
      );
    }),
  );
});

t.test(
  'names beyond number do not fill memory: verdicts are forgotten and given again',
  async (t) => {
    for (let i = 0; i < 5000; i += 1) rules.request([`x-${i}`, 'v', 'x-spiffe-id', 'v']);
    t.same(rules.request(['x-spiffe-id', 'v', 'x-1', 'v']), ['x-1', 'v']);
    const none: FieldNames = { exact: new Set(), prefixes: [] };
    for (let d = 0; d < 20; d += 1) {
      const headers = {
        pass: none,
        strip: { exact: new Set(['x-off']), prefixes: [] },
        only: undefined,
      };
      for (let i = 0; i < 1100; i += 1) rules.request([`x-${d}-${i}`, 'v'], headers);
      t.same(
        rules.request(['x-off', 'v', `x-${'y'.repeat(100)}`, 'v', 'x-off', 'v'], headers).length,
        2,
      );
    }
  },
);

t.test(
  'end to end: Authorization passes, Proxy fields do not, Host is ours and the answer carries the decision (H3, H8)',
  async (t) => {
    await using upstream = await rawUpstream({
      http: (_, response) => {
        response.writeHead(200, {
          'x-upstream': '1',
          'chaperone-decision': 'forged',
          trailer: 'x-sum',
          'keep-alive': 'timeout=1',
        });
        response.addTrailers({ 'x-sum': 'abc' });
        response.end('hello');
      },
    });
    await using proxy = await testProxy({
      destinations: [
        testDestination({
          mode: 'plaintext',
          upstream: { host: '127.0.0.1', port: upstream.port },
        }),
      ],
    });
    const answer = await proxy.ask(
      'GET http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\nAuthorization: Bearer ' +
        't\r\nX_Forwarded_For: 1.2.3.4\r\n' +
        'X-SPIFFE-ID: spiffe://example.org/admin\r\nTE: trailers\r\nConnection: close, ' +
        'TE\r\nProxy-Connection: keep-alive\r\nX-IBAC-Judge: 1\r\n\r\n',
    );
    t.equal(statusOf(answer), 200);
    const sent = upstream.connections[0]?.raw.text ?? '';
    t.match(sent, /\r\nauthorization: Bearer t\r\n/);
    t.notMatch(sent, /forwarded|spiffe|proxy|trailers/i);
    t.notMatch(answer, /forged|trailer|x-sum|keep-alive/i);
    t.match(answer, /\r\nx-upstream: 1\r\n/);
    t.equal(answer.match(/chaperone-decision: [0-9a-f-]{36}/g)?.length, 1);
  },
);

t.test('a request that comes back from its upstream to us is answered 508 (H7)', async (t) => {
  await using upstream = await rawUpstream({ raw: () => {} });
  await using proxy = await testProxy({
    destinations: [
      testDestination({ mode: 'plaintext', upstream: { host: '127.0.0.1', port: upstream.port } }),
    ],
  });
  const first = await proxy.open();
  first.write('GET http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\n\r\n');
  const via = await until('the upstream has the request', () => {
    const socket = upstream.connections[0]?.socket;
    socket?.resume();
    return /via: (.*)\r\n/.exec(upstream.connections[0]?.raw.text ?? '')?.[1];
  });
  const answer = await proxy.ask(
    `GET http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\nVia: 1.0 a, ${via}\r\n\r\n`,
  );
  t.equal(statusOf(answer), 508);
  t.equal(refusal(answer).code, 'loop');
  first.socket.destroy();
});

t.test('a request that goes from one sidecar to another and back is a loop (H7)', async (t) => {
  const loop = (name: string, port: number): ReturnType<typeof testDestination> =>
    testDestination({
      name,
      hosts: ['loop.internal'],
      mode: 'plaintext',
      listen: true,
      upstream: { host: '127.0.0.1', port },
    });
  await using a = await testProxy({ identity: 'none', destinations: [loop('a', 1)] });
  await using proxy = await testProxy({ identity: 'none', destinations: [loop('b', a.port('a'))] });
  a.policy.set(policyOf(loop('a', proxy.port('b'))));
  const answer = await a.get('http://loop.internal/');
  t.equal(statusOf(answer), 508);
  t.equal(a.audit.of('refused').length, 1, 'refused where it came back');
});

t.test(
  'Max-Forwards of OPTIONS counts down (RFC 9110 section 7.6.2); of others it does not pass',
  async (t) => {
    await using upstream = await rawUpstream();
    await using proxy = await testProxy({
      identity: 'none',
      destinations: [
        testDestination({
          mode: 'plaintext',
          upstream: { host: '127.0.0.1', port: upstream.port },
        }),
      ],
    });
    const ask = (method: string): Promise<string> =>
      proxy.ask(
        `${method} http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\nMax-Forwards: ` +
          `7\r\nConnection: close\r\n\r\n`,
      );
    t.match(await ask('OPTIONS'), /"max-forwards","6"/);
    t.notMatch(await ask('GET'), /max-forwards/);
  },
);

t.test(
  'a destination may let claims pass, take more off, or let nothing but what it names pass',
  async (t) => {
    const { policy } = await load(
      t,
      SIDECAR,
      document(
        '  headers: { pass: [X-User-Id, x-forwarded-*], strip: [x-debug, x-trace-*] }',
        'gateway',
      ),
      document('  headers: { only: [accept, x-acme-*], pass: [x-user-id] }', 'narrow'),
    );
    const sent = (name: string, ...lines: readonly string[]): readonly string[] =>
      rules
        .request(
          lines.flatMap((one) => [one, 'v']),
          policy.byName.get(name)?.headers,
        )
        .filter((_, i) => i % 2 === 0);
    t.same(sent('gateway', 'x-user-id', 'x-user-email', 'x-forwarded-for', 'accept'), [
      'x-user-id',
      'x-forwarded-for',
      'accept',
    ]);
    t.same(
      sent('gateway', 'x_user_id', 'x_forwarded_for'),
      [],
      'a claim passes in the spelling that is written alone',
    );
    t.same(
      sent('gateway', 'x-debug', 'x_debug', 'x.debug', 'x-trace-id', 'x_trace_id', 'x-tracer'),
      ['x-tracer'],
    );
    t.same(
      sent(
        'gateway',
        'connection',
        'te',
        'proxy-authorization',
        'x-chaperone-x',
        'host',
        'content-length',
      ),
      [],
    );
    t.same(
      sent(
        'narrow',
        'accept',
        'accept-language',
        'x-acme-a',
        'x_acme_b',
        'x-user-id',
        'x-real-ip',
        'authorization',
      ),
      ['accept', 'x-acme-a', 'x-user-id'],
    );
    t.same(
      sent('narrow', 'content-type', 'content-encoding', 'content_type', 'content-language'),
      ['content-type', 'content-encoding'],
      'what describes the body passes with it',
    );
  },
);

const UNPASSABLE =
  'Connection te Proxy-Authorization proxy_authorization transfer-encoding Host ' +
  'content-length upgrade chaperone-decision x-chaperone-* chaperone-* ' +
  'x-http-method-override x-original-url sec-websocket-key expect via2:';

t.test('what must never cross is refused where it is written, in pass and in only', async (t) => {
  for (const name of UNPASSABLE.split(' ')) {
    for (const key of ['pass', 'only']) {
      const problems = await problemsOf(t, SIDECAR, document(`  headers: { ${key}: ['${name}'] }`));
      t.match(problems, [
        /spec\.headers\.(pass|only)\[0\]: .*(it never passes|is not the name of a header field); \S/,
      ]);
    }
  }
  t.match(await problemsOf(t, SIDECAR, document("  headers: { strip: ['*'] }")), [
    /is not the name of a header field/,
  ]);
});

t.test('headers of a destination hold for what is judged and for what is sent alike', async (t) => {
  await using upstream = await rawUpstream();
  const at = { mode: 'plaintext' as const, upstream: { host: '127.0.0.1', port: upstream.port } };
  const names = (...list: readonly string[]): FieldNames => ({
    exact: new Set(list),
    prefixes: [],
  });
  await using proxy = await testProxy({
    identity: 'none',
    destinations: [
      testDestination({
        ...at,
        headers: { pass: names('x-user-id'), strip: names('x-b'), only: undefined },
        rules: [
          rule('no-b', 'deny', { when: 'request.header("x-b").size() > 0' }),
          rule('user', 'allow', { when: 'request.header("x-user-id") == ["7"]' }),
        ],
      }),
    ],
  });
  const ask = (fields: string): Promise<string> =>
    proxy.ask(
      `GET http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\n${fields}Connection: ` +
        `close\r\n\r\n`,
    );
  const answer = await ask('X-User-Id: 7\r\nX-B: 1\r\nX-Real-IP: 1.2.3.4\r\n');
  t.equal(statusOf(answer), 200);
  t.match(answer, /"x-user-id","7"/);
  t.notMatch(answer, /"x-b"|x-real-ip/);
  t.equal(statusOf(await ask('X_User_Id: 7\r\n')), 403);
});

t.test(
  'a condition over a field that never passes does not load, because it would never hold',
  async (t) => {
    const rules = (when: string): string =>
      `  rules: [{ name: a, effect: deny, http: {}, when: '${when}' }]`;
    const problems = (spec: string): Promise<readonly string[]> =>
      problemsOf(t, SIDECAR, document(spec));
    for (const name of [
      'x-real-ip',
      'TE',
      'content-length',
      'x_forwarded_for',
      'x-http-method-override',
    ])
      t.match(await problems(rules(`request.header("${name}").size() > 0`)), [
        /spec\.rules\[0\]\.when: the field "[a-z_-]+" never passes: .*; decide by something else/,
      ]);
    t.match(await problems(rules('request.header("host") == []')), [/write request\.host$/]);
    t.match(await problems(rules('request.headers.exists(h, h.name == "x-real-ip")')), [
      /"x-real-ip" never passes/,
    ]);
    const claim = rules('request.header("x-real-ip") == ["::1"]');
    t.match(await problems(claim), [/write headers: \{ pass: \[x-real-ip\] \}/]);
    t.same(await problems(`${claim}\n  headers: { pass: [x-real-ip] }`), []);
    t.same(
      (await problems(`${rules('request.header("x-a") == []')}\n  headers: { only: [x-b] }`))
        .length,
      1,
    );
  },
);

t.test(
  'what a policy of now judges is read by it too, though the message began under another',
  async (t) => {
    await using server = await mcpServer(result({ content: [] }));
    const upstream = { host: '127.0.0.1', port: server.port };
    const none: FieldNames = { exact: new Set(), prefixes: [] };
    const old: FieldNames = { exact: new Set(['x-old']), prefixes: [] };
    const headers = { pass: old, strip: none, only: undefined };
    await using proxy = await testProxy({
      identity: 'none',
      destinations: [mcpDestination({ upstream, headers })],
    });
    await post(proxy, call('get_ticket'), { fields: { 'x-old': '0' } });
    t.equal(
      server.asked.at(-1)?.headers['x-old'],
      '0',
      'it passes under the policy that is in force',
    );
    const body = call('get_ticket');
    const line = await proxy.open();
    line.write(
      'POST http://tools.internal/mcp HTTP/1.1\r\nHost: tools.internal\r\nContent-Type: ' +
        'application/json\r\n' +
        `MCP-Protocol-Version: 2025-11-25\r\nX-Old: 1\r\nConnection: ` +
        `close\r\nContent-Length: ${body.length}\r\n\r\n` +
        body.slice(0, 10),
    );
    await until('it is being read', () => proxy.server.live() === 1);
    proxy.policy.set(policyOf(mcpDestination({ upstream, headers: { ...headers, strip: old } })));
    line.write(body.slice(10));
    t.equal(statusOf(await line.ended()), 200);
    const sent = server.asked.findLast((one) => one.body?.method === 'tools/call');
    t.equal(
      server.asked.filter((one) => one.body?.method === 'tools/call').length,
      2,
      'it was sent',
    );
    t.equal(sent?.headers['x-old'], undefined);
  },
);
