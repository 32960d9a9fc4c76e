/**
 * Files and folders to texts. A folder stands for its `*.yaml` and `*.yml`, in order of name,
 * without tests (`*.test.yaml`) and what lies deeper or begins with a dot. A mounted ConfigMap is
 * read through its `..data` link as it stood at one moment, so that no set is half old and half
 * new.
 */
import { readdir, realpath, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { Fault } from '../../base/fault.ts';
import { readBounded, whyUnread } from '../../base/read-file.ts';
import { wholeFile, type Problems } from '../../schema/problem.ts';
import { YAML_LIMITS } from '../../schema/yaml.ts';

export interface Source {
  /** As the user knows it: the path that was given, or one below the folder that was given. */
  readonly file: string;
  readonly text: string;
}

/** Documents, and the tests among them, which a folder does not stand for. */
const DOCUMENTS = /^[^.].*\.ya?ml$/;
const TESTS = /^[^.].*\.test\.ya?ml$/;

/** Where kubelet points to the newest version of a mounted ConfigMap or Secret. */
const CONFIG_MAP_DATA = '..data';

/** All texts that can be read; what cannot is among the problems. */
export async function readSources(
  paths: readonly string[],
  problems: Problems,
): Promise<readonly Source[]> {
  const found = await Promise.all(paths.map((path) => expand(path, problems)));
  const unique = new Map(found.flat().map((file) => [file.file, file] as const));
  const sources = await Promise.all([...unique.values()].map((file) => readSource(file, problems)));
  return sources.filter((source) => source !== undefined);
}

interface Found {
  readonly file: string;
  readonly real: string;
  /** Named itself, and no file of a folder: it may be a pipe. */
  readonly named: boolean;
}

async function expand(path: string, problems: Problems): Promise<readonly Found[]> {
  try {
    if (!(await stat(path)).isDirectory()) return [{ file: path, real: path, named: true }];
    const folder = await dataOf(path);
    const names = (await readdir(folder))
      .filter((name) => DOCUMENTS.test(name) && !TESTS.test(name))
      .sort();
    if (names.length === 0)
      unreadable(
        problems,
        path,
        'the folder holds no *.yaml',
        'name another, or put documents into it',
      );
    return names.map((name) => ({
      file: join(path, name),
      real: join(folder, name),
      named: false,
    }));
  } catch (failure) {
    unreadable(problems, path, `cannot be read (${whyUnread(failure)})`, fixFor(path, failure));
    return [];
  }
}

/** The test files of a folder, in order of name. */
export async function testFiles(folder: string): Promise<readonly string[]> {
  const names = await readdir(await dataOf(folder));
  return names
    .filter((name) => TESTS.test(name))
    .sort()
    .map((name) => join(folder, name));
}

async function dataOf(folder: string): Promise<string> {
  return realpath(join(folder, CONFIG_MAP_DATA)).catch(() => folder);
}

async function readSource(
  { file, real, named }: Found,
  problems: Problems,
): Promise<Source | undefined> {
  try {
    const bytes = await readBounded(real, { most: YAML_LIMITS.bytes, pipes: named });
    // UTF-16 of plain text is UTF-8 too, with a NUL in each character.
    if (bytes.includes(0)) throw new TypeError('NUL');
    return { file, text: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes) };
  } catch (failure) {
    if (failure instanceof TypeError)
      unreadable(problems, file, 'the file is not UTF-8', 'save it as UTF-8');
    else unreadable(problems, file, `cannot be read (${whyUnread(failure)})`, hintOf(failure));
    return undefined;
  }
}

function hintOf(failure: unknown): string {
  return failure instanceof Fault ? (failure.hint ?? READABLE) : READABLE;
}

const READABLE = 'look at the path and its permissions';

/** What `init` writes and commands take where none is named. */
const STARTER = 'chaperone.yaml';

function fixFor(path: string, failure: unknown): string {
  const missing = failure instanceof Error && 'code' in failure && failure.code === 'ENOENT';
  if (!missing || basename(path) !== STARTER) return READABLE;
  return (
    'name another with -c, or write a starter: chaperone ' +
    `init${path === STARTER ? '' : ` ${path}`}`
  );
}

function unreadable(problems: Problems, file: string, message: string, fix: string): void {
  problems.add({ at: wholeFile(file), path: '', message, fix });
}
