import t from 'tap';
import { SET_CHECKS } from '../../lib/config/checks/set.ts';
import { destination, problemsOf, SIDECAR } from './documents.ts';

const FORWARD = `${SIDECAR}  forward: { address: 127.0.0.1:15001 }\n`;

const INTERCEPT = `${FORWARD}  intercept: { domains: [example.com] }\n`;

/**
 * Name of the check, documents that it refuses, what it says, and documents next to them that pass.
 */
const CASES: readonly (readonly [
  string,
  readonly string[],
  readonly RegExp[],
  readonly string[],
])[] = [
  [
    'data-classes-are-declared',
    [
      SIDECAR.replace('spec:', 'spec:\n  dataClasses: [low, high]'),
      destination('  dataClass: internal'),
    ],
    [/spec\.dataClass: internal is no data class; write one of low, high/],
    [
      SIDECAR.replace('spec:', 'spec:\n  dataClasses: [low, high]'),
      destination('  dataClass: low'),
    ],
  ],
  [
    'names-are-unique',
    [
      SIDECAR,
      destination('  hosts: [a.internal]', 'one'),
      destination('  hosts: [b.internal]', 'one'),
    ],
    [/^c\.yaml:17:19 metadata\.name: another Destination has the name one \(.*c\.yaml:7:1\)/],
    [SIDECAR, destination('', 'one'), destination('', 'two')],
  ],
  [
    'hosts-do-not-tie',
    [
      SIDECAR,
      destination("  hosts: [q.internal, '*.a.example']\n  ports: [80, 443]", 'one'),
      destination("  hosts: [z.internal, '*.a.example']", 'two'),
    ],
    [
      /spec\.hosts\[1\]: \*\.a\.example on port 80 is also of destination one \(.*c\.yaml:7:1\); leave it/,
    ],
    [
      SIDECAR,
      destination("  hosts: ['*.a.example']", 'one'),
      destination("  hosts: ['*.a.example']\n  ports: [443]", 'two'),
      destination('  hosts: [b.a.example]', 'three'),
    ],
  ],
  [
    'forward-on-loopback',
    [`${SIDECAR}  forward: { address: 0.0.0.0:15001 }\n`],
    [/^c\.yaml:6:23 spec\.forward\.address: whoever reaches this address acts with the identity/],
    [`${SIDECAR}  forward: { address: 0.0.0.0:15001, unsafeNonLoopback: true }\n`],
  ],
  [
    'intercepted-hosts-are-declared',
    [SIDECAR, destination('  tls: { mode: web, intercept: true }')],
    [/spec\.tls\.intercept: the Sidecar document has no intercept: there is no CA/],
    [SIDECAR, destination('  tls: { mode: web, intercept: false }')],
  ],
  [
    'intercepted-hosts-are-declared',
    [
      INTERCEPT,
      destination(
        "  tls: { mode: web, intercept: true }\n  hosts: [example.com, '*.example.com', " +
          "evilexample.com, '*.example.org', 93.184.215.14]",
      ),
    ],
    [
      /spec\.hosts\[2\]: evilexample\.com lies outside intercept\.domains of the Sidecar; add evilexample\.com/,
      /spec\.hosts\[3\]: \*\.example\.org lies outside/,
      /spec\.hosts\[4\]: 93\.184\.215\.14 is an address: a ClientHello cannot name it/,
    ],
    [
      INTERCEPT,
      destination(
        "  tls: { mode: web, intercept: true }\n  hosts: [example.com, '*.example.com', " +
          'a.b.example.com]',
      ),
    ],
  ],
  ...[
    ['/run/c', '/run/c'],
    ['/run/c', '/run/c/trust'],
    ['/run/c/ca', '/run/c/'],
    ['ca', './ca'],
  ].map(([ca, trust]): (typeof CASES)[number] => [
    'intercept-folders-are-apart',
    [
      `${FORWARD}  intercept: { domains: [example.com], ca: { folder: ${ca} }, trust: { ` +
        `folder: ${trust} } }\n`,
    ],
    [/spec\.intercept\.trust\.folder: .* is for the agent to read, and the key of the CA is in/],
    [
      `${FORWARD}  intercept: { domains: [example.com], ca: { folder: ${ca} }, trust: { ` +
        `folder: /run/c-trust } }\n`,
    ],
  ]),
  [
    'intercept-needs-forward',
    [`${SIDECAR}  intercept: { domains: [example.com] }\n`],
    [/spec\.intercept: there is no forward proxy on which a tunnel could be opened/],
    [INTERCEPT],
  ],
  [
    'listeners-do-not-collide',
    [
      `${FORWARD}  health: { address: 0.0.0.0:15001 }\n`,
      destination("  listen: '127.0.0.1:15001'"),
    ],
    [
      /spec\.health\.address: 0\.0\.0\.0:15001 is taken by the forward proxy; use another port/,
      /spec\.listen: 127\.0\.0\.1:15001 is taken by the forward proxy/,
    ],
    [
      `${FORWARD}  health: { address: 0.0.0.0:15021 }\n`,
      destination("  listen: '127.0.0.2:15001'"),
      destination('  listen: 127.0.0.1:0', 'b'),
      destination('  listen: 127.0.0.1:0', 'd'),
    ],
  ],
  [
    'upstream-is-not-us',
    [
      `${FORWARD}  health: { address: 0.0.0.0:15021 }\n`,
      destination('  upstream: { address: 127.0.0.1:15001 }', 'a'),
      destination("  upstream: { address: '127.0.0.9:15021' }", 'b'),
    ],
    [
      /upstream\.address: 127\.0\.0\.1:15001 is the forward proxy of this sidecar/,
      /127\.0\.0\.9:15021 is the health listener of this sidecar/,
    ],
    [
      `${FORWARD}`,
      destination('  upstream: { address: 127.0.0.1:8443 }', 'a'),
      destination("  upstream: { address: '127.0.0.2:15001' }", 'b'),
    ],
  ],
];

for (const [name, wrong, messages, right] of CASES) {
  t.test(name, async (t) => {
    const problems = await problemsOf(t, ...wrong);
    t.match(problems, messages);
    t.equal(problems.length, messages.length, problems.join('\n'));
    t.same(await problemsOf(t, ...right), [], 'the neighbour passes');
  });
}

t.test('every check has a case here, and a sentence', async (t) => {
  t.same(
    [...new Set(CASES.map(([name]) => name))].sort(),
    SET_CHECKS.map(({ name }) => name).sort(),
  );
  for (const { name, doc } of SET_CHECKS) t.match(doc, /^[A-Z`].{20,}\.$/, name);
});

t.test(
  'a Sidecar with a problem of its own does not make up problems of the destinations',
  async (t) => {
    const problems = await problemsOf(
      t,
      SIDECAR.replace('spec:', 'spec:\n  foo: 1'),
      destination(''),
    );
    t.match(problems, [/unknown key "foo"/]);
    t.equal(problems.length, 1);
  },
);
