/** Conditions as operators write them, over everything that an agent chooses; thirty kinds. */
import type { Phase } from '../../lib/policy/model/condition.ts';

const WORDS =
  '["drop","delete","truncate","alter","grant","revoke","insert","update","exec","union"]';

export const MCP_CONDITIONS: readonly string[] = [
  `${WORDS}.exists(w, args.sql.lowerAscii().contains(w))`,
  'args.tags.exists(t, t.lowerAscii() == args.kind.lowerAscii())',
  'args.tags.all(t, t != args.kind)',
  'args.sql.matches("(?i)(drop|delete|truncate)\\\\s+(table|from)")',
  'args.tags.exists(t, t.matches("^[a-z]+(-[a-z]+)*$"))',
  'args.tags.exists(t, (t + args.kind).contains("secret"))',
  'args.sql.size() > 1000',
  'args.tags.exists(t, size(t) > 100)',
  '"admin" in args.tags',
  'args.amount > 100.0',
  'type(args.amount) == double && args.amount > 100.0',
  'args.items.exists(i, i.price > 100.0)',
  'args.items.filter(i, i.price > 100.0).size() > 0',
  'args.items.map(i, i.name).exists(n, n.startsWith("x"))',
  'args.items == args.tags',
  'args.items.exists_one(i, i == args.kind)',
  'has(args.filter) && args.filter.kind == args.kind',
  'args.exists(name, name.startsWith("_"))',
  'args.tags.exists(t, t.startsWith(args.kind) || t.endsWith(args.kind))',
  'args.tags.exists(t, args.sql.contains(t))',
  'args.tags.exists(t, double(t) > 100.0 || int(t) > 100)',
  'args.sql.lowerAscii().contains(args.kind.lowerAscii())',
  'args.tags.exists(t, string(args.amount) == t)',
  'args.items.exists(i, has(i.to) && i.to.matches("@example\\\\.com$"))',
  'args.url.matches("^https://([a-z0-9-]+\\\\.)*example\\\\.com(/.*)?$")',
  'args.tags.map(t, t.lowerAscii()).exists(t, t in ["a", "b", "c"])',
  'args == {"sql": "x"}',
  'args.tags.exists(t, t > args.kind)',
  'args.tags.exists(t, bool(t))',
  'args.items.all(i, i.name == i.label && i.name.size() < 64)',
];

export const HTTP_CONDITIONS: readonly string[] = [
  'request.query.exists(q, q.value.lowerAscii().contains("secret"))',
  'request.query.exists(q, q.name.matches("(?i)^(user|account)[_-]?id$"))',
  'request.param("limit").exists(n, int(n) > 100)',
  'request.headers.exists(h, h.values.size() > 1)',
  'request.headers.exists(h, h.name.startsWith("x-") && h.name != "x-request-id")',
  'request.header("x-tenant") != ["blue"]',
  'request.path.matches("^/v[0-9]+/(users|accounts)/[^/]+/(keys|tokens)$")',
  'request.path.lowerAscii().contains("admin")',
  'request.query.filter(q, q.name == "fields").map(q, q.value).exists(v, v.contains("password"))',
  'request.query.all(q, request.param(q.name).size() == 1)',
];

export const CONDITIONS: readonly (readonly [Phase, string])[] = [
  ...MCP_CONDITIONS.map((text) => ['mcp', text] as const),
  ...HTTP_CONDITIONS.map((text) => ['request', text] as const),
];

/** Arguments of so many bytes, each as costly for some of the conditions as can be. */
export function worstArguments(bytes: number): Readonly<Record<string, object>> {
  const long = (text: string): string => text.repeat(Math.floor(bytes / Buffer.byteLength(text)));
  const list = (count: number, member: (i: number) => unknown): unknown[] =>
    Array.from({ length: count }, (_, i) => member(i));
  const part = (count: number, text: string): string =>
    text.repeat(Math.max(1, Math.floor(bytes / count / text.length)));
  const number = `0.${'1'.repeat(120)}`;
  return {
    'one text in both cases': { sql: long('aA'), kind: 'x', tags: ['x'] },
    'one text that is not ASCII': { sql: long('éA'), kind: 'x', tags: ['x'] },
    'many texts beside a long one': {
      sql: 'x',
      kind: part(2, 'aA'),
      tags: list(1900, () => part(3800, 'aA')),
    },
    'equal texts': { kind: part(100, 'b'), tags: list(99, () => part(100, 'b')) },
    'texts that nearly match': {
      sql: long('drop  '),
      tags: list(1900, () => part(1900, 'a-')),
      url: `https://${long('a-a.')}`,
    },
    'texts that are no numbers': { tags: list(2000, () => part(2000, '9')), amount: 1 },
    'objects of another kind': {
      items: list(500, () => ({ price: 'x', name: part(1000, 'x'), label: part(1000, 'x') })),
    },
    'members that are missing': {
      items: list(2000, () => 0),
      tags: list(40, () => ({})),
      kind: 'x',
    },
    'lists of lists': {
      items: list(300, () => [[[[1]]]]),
      tags: list(300, () => [[[[1]]]]),
      kind: [[[[2]]]],
    },
    'a wide object': Object.fromEntries(
      list(2000, (i) => [`n${i}${part(2000, 'x')}`, i]) as [string, unknown][],
    ),
    'wide objects': {
      items: list(2, () =>
        Object.fromEntries(list(900, (i) => [`n${i}`, i]) as [string, unknown][]),
      ),
      tags: [1],
    },
    'long numbers': { amount: number, items: list(1900, () => number), tags: [] },
  };
}
