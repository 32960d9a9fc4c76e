import t from 'tap';
import { CONDITION_LIMITS } from '../../lib/policy/conditions/variables.ts';
import { conditions } from '../../lib/policy/conditions/compile.ts';
import { uriProblem } from '../../lib/net/resource.ts';

t.test('a resource URI has a longest length, to the character', async (t) => {
  const uri = (length: number): string => `ticket://${'a'.repeat(length - 'ticket://'.length)}`;
  t.equal(uriProblem(uri(2048)), undefined);
  t.equal(uriProblem(uri(2049)), 'is longer than 2048 characters');
});

t.test(
  'a condition has at most so many nodes, levels, members and characters of a pattern',
  async (t) => {
    const compiler = conditions(['public', 'internal']);
    const compiles = (text: string): boolean => {
      try {
        return compiler.compile(text, 'request') !== undefined;
      } catch {
        return false;
      }
    };
    const least = (good: (size: number) => string, most: number): number => {
      let size = 1;
      while (size <= most && compiles(good(size))) size += 1;
      return size;
    };
    const { nodes, depth, literalMembers, patternCharacters } = CONDITION_LIMITS;
    const flat = (size: number): string =>
      `(${Array.from({ length: size }, () => 'true').join('&&')})`;
    t.ok(
      least((size) => Array.from({ length: size }, () => flat(8)).join('||'), nodes) < nodes / 8,
      'nodes',
    );
    t.ok(
      least((size) => `${'!('.repeat(size)}true${')'.repeat(size)}`, depth + 2) <= depth + 1,
      'levels',
    );
    const members = (size: number): string =>
      `"a" in [${Array.from({ length: size }, () => '"b"').join(',')}]`;
    t.ok(compiles(members(100)));
    t.notOk(compiles(members(literalMembers + 1)), 'members');
    const pattern = (size: number): string => `request.path.matches("${'a'.repeat(size)}")`;
    t.ok(compiles(pattern(patternCharacters)));
    t.notOk(compiles(pattern(patternCharacters + 1)), 'pattern');
  },
);
