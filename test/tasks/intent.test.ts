import t from 'tap';
import { parseIntent } from '../../lib/tasks/intent.ts';

t.test('an intent is YAML or JSON, with defaults', async (t) => {
  const wanted = {
    purpose: 'support',
    owner: 'alice',
    onBehalfOf: undefined,
    targets: ['crm', 'api.example.com:443'],
    actions: ['read'],
    dataClasses: undefined,
    lifetime: 300_000,
    maxCalls: undefined,
    isolated: false,
    hold: false,
  };
  const yaml =
    'purpose: support\nowner: alice\ntargets: [crm, "api.example.com:443"]\nactions: ' +
    '[read]\nlifetime: 5m\n';
  t.same(parseIntent('i.yaml', yaml), wanted);
  const json = {
    purpose: 'support',
    owner: 'alice',
    targets: wanted.targets,
    actions: ['read'],
    lifetime: '5m',
  };
  t.same(parseIntent('body', JSON.stringify(json, undefined, 2)), wanted);
});

t.test('a wrong intent is answered with place and fix, and nothing is guessed', async (t) => {
  const whole = 'purpose: a\nowner: b\ntargets: [c]\nactions: [read]\n';
  const cases: readonly (readonly [string, RegExp])[] = [
    ['', /must be one document/],
    [`${whole}---\n${whole}`, /must be one document/],
    [
      'purpose: a\ntargets: [c]\nactions: [read]\n',
      /i:1:1.*nobody answers for the task; write owner/,
    ],
    [`${whole}purpose: b\n`, /i:5:1.*purpose/],
    [`${whole}ttl: 5m\n`, /i:5:1 unknown key "ttl"/],
    [`${whole}uses: 5\n`, /i:5:1 uses: uses is called maxCalls now; write maxCalls/],
    [`${whole}lifetime: 5\n`, /i:5:11 lifetime: 5 is a number/],
    [`${whole}lifetime: 10000h\n`, /lifetime/],
    [`${whole}maxCalls: 0\n`, /maxCalls/],
    [`${whole}isolated: yes\n`, /isolated/],
    [whole.replace('[c]', '[]'), /the list is too short/],
    [whole.replace('[c]', '[c, c]'), /is there twice/],
    [whole.replace('[read]', '[Read]'), /is not an action/],
    [whole.replace('owner: b', 'owner: "b c"'), /is not a person/],
    [whole.replace('owner: b', 'owner: "b\\u202e"'), /is not a person/],
    ['[]', /is not what is wanted/],
    ['{"purpose": "a", "purpose": "b"}', /purpose/],
    ['x'.repeat(70_000), /at most 65536/],
  ];
  for (const [text, message] of cases)
    t.throws(() => parseIntent('i', text), { message }, text.slice(0, 60));
});
