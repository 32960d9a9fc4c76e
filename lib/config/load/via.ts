/**
 * From `via` of the documents to what the proxy dials: roots are read, files must be there, and the
 * default of the Sidecar is given to whom it is for.
 */
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { Fault } from '../../base/fault.ts';
import { isLoopback } from '../../net/ip.ts';
import type { Via } from '../../policy/model/destination.ts';
import type { Problems } from '../../schema/problem.ts';
import { type Step, type Tree, locate, pathText } from '../../schema/tree.ts';
import type { DestinationDocument } from '../documents/schema.ts';
import type { DocumentSet } from '../documents/set.ts';
import type { ViaDocument } from '../documents/via.ts';
import { readRoots } from './roots.ts';

/** Adds what is wrong at `roots[0]` or `basic`. */
type Complain = (steps: readonly Step[], problem: Fault) => void;

/** `direct` where the document says so; undefined where it says nothing. */
async function compileVia(
  written: ViaDocument | undefined,
  absolute: (path: string) => string,
  complain: Complain,
): Promise<Via | 'direct' | undefined> {
  if (written === undefined) return undefined;
  if ('direct' in written) return 'direct';
  const { proxy, roots, basic } = written;
  const texts: string[] = [];
  for (const [i, path] of (roots ?? []).entries()) {
    const read = await readRoots(absolute(path)).catch((failure: unknown) =>
      Fault.from(failure, 'config'),
    );
    if (read instanceof Fault) complain(['roots', i], read);
    else texts.push(...read);
  }
  const file = basic === undefined ? undefined : absolute(basic);
  if (file !== undefined)
    await access(file, constants.R_OK).catch(() => complain(['basic'], unreadable(file)));
  return Object.freeze({
    ...proxy,
    roots: roots === undefined ? undefined : Object.freeze(texts),
    basic: file,
  });
}

function unreadable(file: string): Fault {
  return new Fault('config', `${file} cannot be read`, {
    hint: 'write a file with one line user:password',
  });
}

/**
 * Where a destination says nothing: not for what lies on this machine, nor for private ranges,
 * whose addresses only we can judge.
 */
function takesDefault({ upstream }: DestinationDocument['spec']): boolean {
  if (upstream === undefined) return true;
  return (
    upstream.cidrs.length === 0 &&
    (upstream.address === undefined || !isLoopback(upstream.address.host))
  );
}

export type Ways = ReadonlyMap<Tree, Via | 'direct' | undefined>;

/** What each document says of `via`, the default of the Sidecar under its own. */
export async function collectVias(
  { sidecar, destinations }: DocumentSet,
  beside: (tree: Tree, path: string) => string,
  problems: Problems,
): Promise<Ways> {
  const ways = new Map<Tree, Via | 'direct' | undefined>();
  const collect = async (
    tree: Tree,
    written: ViaDocument | undefined,
    above: readonly Step[],
  ): Promise<void> => {
    const complain: Complain = (below, { message, hint = '' }) => {
      const steps = [...above, ...below];
      problems.add({ at: locate(tree, steps).at, path: pathText(steps), message, fix: hint });
    };
    ways.set(tree, await compileVia(written, (path) => beside(tree, path), complain));
  };
  if (sidecar !== undefined)
    await collect(sidecar.tree, sidecar.document.spec.defaults.via, ['spec', 'defaults', 'via']);
  for (const { tree, document } of destinations) {
    if (document.spec.via !== undefined) await collect(tree, document.spec.via, ['spec', 'via']);
  }
  return ways;
}

export function viaOf(
  tree: Tree,
  { spec }: DestinationDocument,
  { ways, sidecar }: { readonly ways: Ways; readonly sidecar: Tree },
): Via | undefined {
  const found = ways.get(tree) ?? (takesDefault(spec) ? ways.get(sidecar) : undefined);
  return found === 'direct' ? undefined : found;
}

/** Files that are read for it. */
export function rootsOfVia(via: ViaDocument | undefined): readonly string[] {
  return via === undefined || 'direct' in via ? [] : (via.roots ?? []);
}
