/**
 * The list of sabotages cannot rot: each still applies, and each test that it names is there. `make
 * sabotage` runs them.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { CORPUS } from '../attacks/corpus.ts';
import { SABOTAGES } from './checks/all.ts';
import { brokenText, ROOT } from './scratch.ts';

/** Sentences of a test file: literals as they are, templates with anything in their gaps. */
function sentencesOf(file: string): readonly RegExp[] {
  const text = readFileSync(join(ROOT, file), 'utf8').replaceAll(/(['`])\s*\+\s*\1/g, '');
  const literals = [
    ...text.matchAll(/'((?:[^'\\\n]|\\.)*)'|"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`/g),
  ];
  return literals.map(([, single, double, template]) => {
    const words = (template ?? single ?? double ?? '').split(/\$\{[^}]*\}/);
    return new RegExp(
      `^${words.join('').trim() === '' ? '(?!)' : ''}` +
        `${words.map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('.*')}$`,
    );
  });
}

t.test('every sabotage applies: its text stands exactly once in its file', async (t) => {
  t.ok(SABOTAGES.length >= 40, `${SABOTAGES.length} checks`);
  for (const one of SABOTAGES)
    t.not(brokenText(one), readFileSync(join(ROOT, one.file), 'utf8'), one.check);
});

t.test('every test that a sabotage names is there', async (t) => {
  const corpus = new Set(CORPUS.map(({ row, title }) => `${row} ${title}`));
  for (const { check, proofs } of SABOTAGES) {
    t.ok(proofs.length > 0, check);
    for (const { file, title } of proofs) {
      const known = file.startsWith('test/attacks/')
        ? corpus.has(title)
        : sentencesOf(file).some((one) => one.test(title));
      t.ok(known, `${file}: ${title}`);
    }
  }
});

t.test('checks are told apart by their words', async (t) => {
  const words = SABOTAGES.map(({ check }) => check);
  t.same(
    words.filter((one, i) => words.indexOf(one) !== i),
    [],
  );
});
